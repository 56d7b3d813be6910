"""`eval.generate`: the same prompts and open questions to every model."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Draft,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from bunbuku_contracts.intervals import wilson
from bunbuku_inference import Failure, Sampling
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bunbuku_eval import browse, hub
from bunbuku_eval.models import CHUNK_REQUESTS, opened, require_hugging_face
from bunbuku_eval.prompting import shown
from bunbuku_eval.prompts import DEFAULT_PROMPTS, Prompt
from bunbuku_eval.run import DEFAULT_RUN, EvalRun
from bunbuku_eval.talking import Asked, Line, talk
from bunbuku_eval.tasks.open.own import OwnTalks
from bunbuku_eval.tasks.talks import AnyTalks, Talk, Talks

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("tokens_seen", pa.int64()),
        ("task", pa.string()),
        ("category", pa.string()),
        ("name", pa.string()),
        ("style", pa.string()),
        ("turn", pa.int32()),
        ("turns", pa.int32()),
        ("prompt", pa.string()),
        ("sent", pa.string()),
        ("history", pa.list_(pa.list_(pa.string()))),
        ("reference", pa.string()),
        ("criteria", pa.string()),
        ("sample", pa.int32()),
        ("seed", pa.int64()),
        ("temperature", pa.float64()),
        ("text", pa.string()),
        ("tokens", pa.int64()),
        ("finish", pa.string()),
        ("flags", pa.list_(pa.string())),
        ("failure", pa.string()),
    ]
)
"""One row a model, question, sample and turn: what was asked in the turn, all that was sent, and what came back."""
PAGE = "items.html"


class GenerateConfig(Config):
    prompts: tuple[Prompt, ...] = DEFAULT_PROMPTS
    tasks: tuple[AnyTalks, ...] = ()
    """Open tasks, whose answers a judge looks at; give `prompts = []` to have them alone."""
    sampling: Sampling = Sampling(max_tokens=48)
    """Greedy unless a temperature is given."""
    chat_sampling: Sampling | None = None
    """For chat prompts, where another way suits them; the same as `sampling` without it."""
    samples: int = Field(default=1, ge=1)
    """Answers a prompt; more than one needs a temperature above 0."""
    seed: NonNegativeInt = 0
    """Each prompt and sample gets a seed of its own from it, the same for every model."""

    def sampling_of(self, prompt: Prompt) -> Sampling:
        return self.chat_sampling if self.chat_sampling and prompt.style == "chat" else self.sampling

    page_rows: PositiveInt = 5000
    """Answers that the page of items holds, at most; `items.parquet` has all."""

    @model_validator(mode="after")
    def _samples_differ(self) -> "GenerateConfig":
        greedy = any(self.sampling_of(prompt).temperature == 0 for prompt in self.prompts)
        greedy |= any(0 in (task.temperature, *task.temperatures.values()) for task in self.tasks) and not self.prompts
        if self.samples > 1 and greedy:
            raise ValueError(f"`samples` {self.samples} would all be the same at temperature 0")
        for what, names in (
            ("prompts", [one.name for one in self.prompts]),
            ("tasks", [one.label for one in self.tasks]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"`{what}` have a name twice: {', '.join(sorted(names))}")
        if not self.prompts and not self.tasks:
            raise ValueError("there are no `prompts` and no `tasks`: nothing would be asked")
        return self


@stage("eval.generate", revision=3, bitwise=False)
def generate(
    draft: Draft,
    config: GenerateConfig,
    checkpoints: dict[str, Artifact[Checkpoint]],
    data: Path | None = None,
    *,
    run: EvalRun = DEFAULT_RUN,
) -> Report:
    """Let every model answer the same prompts and open questions, turn by turn, and lay the texts side by side.

    Give milestones of one run to watch it learn. Empty, looping, foreign and garbled texts are flagged; nothing is picked by
    hand. `--data` is the folder with the files of the open tasks. A judge takes the answers, every turn with what came before it.
    """
    require_hugging_face(checkpoints)
    asked = [_of_prompt(config, prompt) for prompt in config.prompts]
    asked += [one for task in config.tasks for one in _of_task(task, data)]
    found: list[Line] = []
    for name, checkpoint in checkpoints.items():
        seen = checkpoint.manifest.spec.tokens_seen
        lines = [Line(name, seen, one, sample) for one in asked for sample in range(_samples(config, one))]
        with opened(run.engine, checkpoint) as model:
            begun = any(line.answers for line in found)
            talk(model, lines, seed=config.seed, begun=begun, chunks=lambda some, of=name: _chunks(draft, some, of))
        found += lines
    if not any(line.answers for line in found):
        failure = next(one for line in found for _, _, one in line.replies if isinstance(one, Failure))
        raise BunbukuError(
            f"none of {len(found)} questions was answered, the first for this reason: {failure.reason}: {failure.detail}",
            hint="look at the engine's own log",
        )
    _publish(draft, config, found, models=tuple(checkpoints))
    licences = {task.terms if isinstance(task, OwnTalks) else task.licence for task in config.tasks}
    return Report(title=TITLE, page=PAGE, licences=tuple(sorted(licences)))


TITLE = "The same prompts to every model"


def _of_prompt(config: GenerateConfig, prompt: Prompt) -> Asked:
    said = Talk(prompt.name, (prompt.text,))
    return Asked("", said, prompt.style, config.sampling_of(prompt), prompt.japanese, raw=True)


def _of_task(task: Talks, data: Path | None) -> list[Asked]:
    if task.hub is None and data is None:
        raise BunbukuError(
            f"the task {task.label!r} reads {task.file!r}, and no folder was given",
            hint="--data DIR, or give it a `hub`",
        )
    path = hub.fetched(task.hub) if task.hub else hub.inside(data or Path(), task.file)
    references = hub.inside(data or path.parent, task.references_file) if task.references_file else None
    return [
        Asked(
            task.label,
            one,
            task.style,
            Sampling(temperature=task.temperature_of(one), max_tokens=task.max_tokens),
            task.japanese,
            system=task.system,
        )
        for one in task.read(path, references)
    ]


def _samples(config: GenerateConfig, asked: Asked) -> int:
    """At temperature 0 a second answer would be the first again."""
    return config.samples if asked.sampling.temperature > 0 else 1


def _chunks(draft: Draft, lines: list[Line], name: str) -> Iterable[list[Line]]:
    chunks = [lines[at : at + CHUNK_REQUESTS] for at in range(0, len(lines), CHUNK_REQUESTS)]
    return draft.track(chunks, unit="batches", total=len(chunks), label=name)


def _publish(draft: Draft, config: GenerateConfig, found: Sequence[Line], *, models: Sequence[str]) -> None:
    cells: list[tuple[str | float | int | None, ...]] = []
    for model in models:
        own = [line for line in found if line.model == model]
        answers = [(line, one) for line in own for one in line.answers]
        failed = sum(len(line.answers) < len(line.asked.talk.turns) for line in own)
        flagged = sum(bool(line.flags(one)) for line, one in answers)
        ended = sum(one.finish == "stop" for _, one in answers)
        draft.metrics[f"failed.{model}"] = failed
        if answers:
            for name, count in (("flagged", flagged), ("ended", ended)):
                low, high = wilson(count, len(answers))
                key = f"{name}.{model}"
                draft.metrics |= {key: count / len(answers), f"{key}.low": low, f"{key}.high": high}
        cells.append((model, len(answers), failed, _share(flagged, len(answers)), _share(ended, len(answers))))
    rows = [row for line in found for row in _rows(line)]
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    draft.count(path, rows=len(rows), part="items")
    page = browse.page(TITLE, [_browsed(row) for row in rows[: config.page_rows]], total=len(rows))
    (draft.dir / PAGE).write_text(page, encoding="utf-8")
    counts = Table(
        columns=("model", "answers", "questions not answered to the end", "flagged (95 %)", "ended by itself (95 %)"),
        rows=tuple(cells),
        caption="Share of texts with a flag (empty, loop, garbled, salad, not Japanese), and of those the model ended itself",
    )
    said = [f"Every model, the same prompts, {_how(config)}. All texts are shown as they came; none was picked."]
    if failed := sum(int(draft.metrics[f"failed.{model}"]) for model in models):
        said.append(
            f"Incomplete: {failed} of {len(found)} were not answered to the end. Their reasons stand in items.parquet."
        )
    section = Section(
        title=TITLE,
        paragraphs=tuple(said),
        tables=(counts, *(_table(prompt, found) for prompt in config.prompts)),
    )
    write_sections(draft, [section])


def _share(count: int, total: int) -> str | None:
    if not total:
        return None
    low, high = wilson(count, total)
    return f"{count / total:.3f} ({low:.3f} to {high:.3f})"


def _how(config: GenerateConfig) -> str:
    told = {prompt.style: config.sampling_of(prompt) for prompt in config.prompts}
    said = [
        f"{style} prompts "
        + ("greedily" if one.temperature == 0 else f"at temperature {one.temperature:g} and top-p {one.top_p:g}")
        + f", at most {one.max_tokens} tokens"
        for style, one in told.items()
    ]
    return "; ".join([*said, *(f"{task.label} as its task says" for task in config.tasks)])


def _table(prompt: Prompt, found: Sequence[Line]) -> Table:
    rows = tuple(
        (line.model, line.tokens_seen, one.text, ", ".join(line.flags(one)))
        for line in found
        if not line.asked.task and line.asked.talk.id == prompt.name
        for one in line.answers
    )
    return Table(columns=("model", "tokens seen", "text", "flags"), rows=rows, caption=f"{prompt.style}: {prompt.text}")


def _rows(line: Line) -> list[dict[str, object]]:
    talk, rows = line.asked.talk, []
    for turn, (sent, seed, outcome) in enumerate(line.replies):
        failure = f"{outcome.reason}: {outcome.detail}" if isinstance(outcome, Failure) else None
        answer = None if isinstance(outcome, Failure) else outcome
        rows.append(
            {
                "model": line.model,
                "tokens_seen": line.tokens_seen,
                "task": line.asked.task,
                "category": talk.category,
                "name": line.asked.name,
                "style": line.asked.style,
                "turn": turn + 1,
                "turns": len(talk.turns),
                "prompt": talk.turns[turn],
                "sent": shown(sent),
                "history": [list(one) for one in line.history[:turn]],
                "reference": talk.references[turn] if turn < len(talk.references) else "",
                "criteria": talk.criteria,
                "sample": line.sample,
                "seed": seed,
                "temperature": line.asked.sampling.temperature,
                "text": answer.text if answer else "",
                "tokens": answer.completion_tokens if answer else 0,
                "finish": answer.finish if answer else "",
                "flags": list(line.flags(answer)) if answer else [],
                "failure": failure,
            }
        )
    return rows


def _browsed(row: dict[str, object]) -> dict[str, object]:
    """The row as the page of items shows it."""
    return {
        "model": row["model"],
        "task": row["task"] or "prompt",
        "style": row["style"],
        "category": row["category"],
        "id": f"{row['name']}, turn {row['turn']}" if row["turns"] != 1 else row["name"],
        "seed": row["seed"],
        "prompt": row["sent"],
        "gold": [row["reference"]] if row["reference"] else [],
        "output": row["text"],
        "flags": row["flags"],
        "failure": row["failure"],
        "finish": row["finish"],
        "tokens": row["tokens"],
    }
