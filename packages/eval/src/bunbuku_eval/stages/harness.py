"""`eval.harness` and `eval.export`: the bridge to lm-evaluation-harness, by asking it the same and by writing what it reads."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Draft,
    Report,
    RunSettings,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import PositiveInt

from bunbuku_eval import lm_harness
from bunbuku_eval.answers import Answered
from bunbuku_eval.harness_format import by_task, results, samples
from bunbuku_eval.models import require_hugging_face
from bunbuku_eval.stages.compare import read_answers, read_facts
from bunbuku_eval.stages.score import ScoreConfig

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "task", "id", "prompt", "gold", "ours", "theirs")),
        ("same", pa.bool_()),
        ("our_score", pa.float64()),
        ("their_score", pa.float64()),
        ("our_logprobs", pa.list_(pa.float64())),
        ("their_logprobs", pa.list_(pa.float64())),
        ("logprob_gap", pa.float64()),
    ]
)
"""One row a model, way of asking and question."""


class HarnessRun(RunSettings):
    """Where the harness runs its model."""

    device: str = "cpu"
    batch_size: PositiveInt = 8


DEFAULT_RUN = HarnessRun()


class HarnessConfig(Config):
    """Nothing is to be said: the questions, prompts and limits are those of the scores."""


class ExportConfig(Config):
    """Nothing is to be said: everything that was scored is written."""


class Pair(NamedTuple):
    """One question, answered through both."""

    ours: Answered
    theirs: lm_harness.Said

    @property
    def gap(self) -> float | None:
        """How far the choices' log-likelihoods are apart, at most; what is the same for all choices put aside.

        The harness moves white space at the end of a prompt to the completion, which adds the same to each choice.
        """
        if not self.ours.logprobs:
            return None
        ours, theirs = _centred(self.ours.logprobs), _centred(self.theirs.logprobs)
        return max(abs(one - other) for one, other in zip(ours, theirs, strict=True))

    @property
    def same(self) -> bool:
        return self.ours.output.strip() == self.theirs.output.strip()


@stage("eval.harness", bitwise=False)
def harness(
    draft: Draft,
    config: HarnessConfig,
    scores: Artifact[Report],
    checkpoints: dict[str, Artifact[Checkpoint]],
    *,
    run: HarnessRun = DEFAULT_RUN,
) -> Report:
    """Ask the questions of a `score` report through lm-evaluation-harness, and compare answer by answer.

    The prompts are those that were sent, in plain style and at temperature 0; the harness loads the checkpoints with its own model
    class and asks with its own evaluator (the extra `harness`). `items.parquet` has both answers, `harness.json` what it says itself.
    """
    require_hugging_face(checkpoints)
    asked = _asked(scores)
    if strangers := sorted(set(checkpoints) - {one.condition.model for one in asked}):
        raise BunbukuError(
            f"{', '.join(map(repr, strangers))}: no model of {scores.dir} is called so in plain style",
            hint="give --checkpoints the names they were scored under, and score with the style `plain` at temperature 0",
        )
    limits = ScoreConfig.model_validate(scores.manifest.recipe.config)
    rows: list[dict[str, Any]] = []
    told: list[tuple[str | int | float | None, ...]] = []
    written: dict[str, Any] = {}
    scratch = draft.scratch
    for model, checkpoint in checkpoints.items():
        ways = by_task(one for one in asked if one.condition.model == model)
        tasks = [_task(name, own, limits) for name, own in ways.items()]
        folder = scratch / model
        folder.mkdir(parents=True, exist_ok=True)
        said = lm_harness.evaluate(checkpoint.dir, tasks, folder, device=run.device, batch_size=run.batch_size)
        written[model] = {"version": said.version, "results": said.results["results"]}
        for name, own in ways.items():
            pairs = [Pair(*both) for both in zip(own, said.said[name], strict=True)]
            rows += [_row(model, name, pair) for pair in pairs]
            told.append(_told(draft, model, name, pairs))
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    draft.count(path, rows=len(rows), part="items")
    (draft.dir / "harness.json").write_text(json.dumps(written, indent=1, ensure_ascii=False, default=str) + "\n")
    columns = ("model", "task", "questions", "same answer", "our score", "the harness's", "log-likelihoods apart")
    table = Table(columns=columns, rows=tuple(told), caption="The same questions through lm-evaluation-harness")
    write_sections(draft, [Section(title="Through lm-evaluation-harness", paragraphs=(_ON_SCORES,), tables=(table,))])
    return Report(title="The same questions through lm-evaluation-harness", licences=scores.spec.licences)


_ON_SCORES = (
    "Likelihood: accuracy of the likeliest choice, by both. Generation: ours is the strict score, the harness's its `exact_match` of "
    "the text with the right answer. Log-likelihoods of choices are compared without what is the same for all choices of a question."
)


@stage("eval.export")
def export(draft: Draft, config: ExportConfig, scores: Artifact[Report]) -> Report:
    """Write a `score` report in lm-evaluation-harness's format: results and samples, a folder a model."""
    facts = {one.task: one for one in read_facts(scores)}
    answered = list(read_answers(scores))
    made = f"{scores.manifest.run.package} {scores.manifest.run.version}"
    for model in dict.fromkeys(one.condition.model for one in answered):
        folder = draft.dir / model.replace("/", "__")
        folder.mkdir()
        own = [one for one in answered if one.condition.model == model]
        text = json.dumps(results(model, own, facts, made=made), indent=2, ensure_ascii=False)
        (folder / "results.json").write_text(f"{text}\n", encoding="utf-8")
        for name, some in by_task(own).items():
            lines = samples(some, facts)
            path = folder / f"samples_{name}.jsonl"
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            draft.count(path, rows=len(lines), part="samples")
    return Report(title="Scores in lm-evaluation-harness's format", licences=scores.spec.licences)


def _asked(scores: Artifact[Report]) -> list[Answered]:
    """What can be asked again as it was."""
    read_facts(scores)
    limits = ScoreConfig.model_validate(scores.manifest.recipe.config)
    drawn = limits.temperature > 0
    return [
        one
        for one in read_answers(scores)
        if one.condition.style == "plain" and (one.condition.mode == "likelihood" or not drawn) and not one.failure
    ]


def _task(name: str, own: Sequence[Answered], limits: ScoreConfig) -> lm_harness.HarnessTask:
    task = next(one for one in limits.tasks if one.label == own[0].condition.task)
    mode = "likelihood" if own[0].condition.mode == "likelihood" else "generation"
    docs = tuple(
        lm_harness.Doc(one.question.id, one.prompt, one.question.choices, next(iter(one.question.gold), ""))
        for one in own
    )
    stop = limits.stop if task.stop is None else task.stop
    return lm_harness.HarnessTask(name, mode, docs, max_tokens=task.max_tokens, stop=stop)


def _row(model: str, name: str, pair: Pair) -> dict[str, Any]:
    ours, theirs = pair
    return {
        "model": model,
        "task": name,
        "id": ours.question.id,
        "prompt": ours.prompt,
        "gold": next(iter(ours.question.gold), ""),
        "ours": ours.output,
        "theirs": theirs.output,
        "same": pair.same,
        "our_score": ours.marks.strict if ours.marks else None,
        "their_score": theirs.right,
        "our_logprobs": list(ours.logprobs),
        "their_logprobs": list(theirs.logprobs),
        "logprob_gap": pair.gap,
    }


def _told(draft: Draft, model: str, name: str, pairs: Sequence[Pair]) -> tuple[str | int | float | None, ...]:
    """A line of the table; the same go to the metrics."""
    same = _mean(pair.same for pair in pairs)
    ours = _mean(pair.ours.marks.strict if pair.ours.marks else 0.0 for pair in pairs)
    theirs = _mean(pair.theirs.right for pair in pairs)
    gaps = [pair.gap for pair in pairs if pair.gap is not None]
    label = f"{model}.{name}"
    draft.metrics |= {f"same.{label}": same, f"ours.{label}": ours, f"theirs.{label}": theirs}
    if gaps:
        draft.metrics[f"logprob_gap.{label}"] = max(gaps)
    return model, name, len(pairs), same, ours, theirs, f"{max(gaps):.1e}" if gaps else None


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _centred(values: Sequence[float]) -> list[float]:
    middle = sum(values) / len(values)
    return [value - middle for value in values]
