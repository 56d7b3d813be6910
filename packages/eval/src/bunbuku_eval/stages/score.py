"""`eval.score`: tasks with right answers, asked in several ways; strict and lenient scores apart."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Config, Draft, Report, stage
from bunbuku_contracts.digest import hash_tree
from bunbuku_inference import Answer, Failure, Model, Prompt, Request, Sampling, Score, ScoreRequest
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bunbuku_eval import hub
from bunbuku_eval.answers import Answered, Condition, mark
from bunbuku_eval.contamination import flags_of
from bunbuku_eval.models import CHUNK_REQUESTS, opened, outcomes, require_hugging_face
from bunbuku_eval.prompting import prompt_of, shown
from bunbuku_eval.run import DEFAULT_RUN, EvalRun
from bunbuku_eval.scoreboard import Facts, Scoreboard, publish
from bunbuku_eval.tasks import AnyTask, Made, Question, Task
from bunbuku_eval.tasks.task import Phrasing, examples


class ScoreConfig(Config):
    tasks: tuple[AnyTask, ...] = Field(min_length=1)
    items: PositiveInt = 100
    """At most so many questions a task, chosen by the hash of their ids."""
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0,), min_length=1)
    """Each is a choice of worked examples, and of what is drawn if `temperature` is above 0."""
    item_seed: NonNegativeInt = 0
    """Another seed is another choice of questions."""
    modes: tuple[Literal["generation", "likelihood"], ...] = Field(default=("generation",), min_length=1)
    """`generation` reads what the model writes; `likelihood` takes the choice it finds likeliest, where there are
    choices. They are different questions, and no number is without its mode."""
    styles: tuple[Literal["plain", "chat"], ...] = Field(default=("plain", "chat"), min_length=1)
    """As plain text to go on with, or through the model's chat template."""
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    stop: tuple[str, ...] = ("\n\n", "###")
    """Where an answer in plain style ends."""
    accept_licences: tuple[str, ...] = ()
    """Licences against commercial use or derived works that are known and kept to; tasks under others are refused."""
    bootstrap_rounds: PositiveInt = 1000
    page_rows: PositiveInt = 20_000
    """Answers that the page of items holds, at most; `items.parquet` has all."""

    @model_validator(mode="after")
    def _names_differ(self) -> "ScoreConfig":
        names = [task.label for task in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"`tasks` have a name twice: {', '.join(sorted(names))}; give one a `name`")
        if len(self.seeds) > 1 and self.temperature == 0 and not any(task.shots for task in self.tasks):
            raise ValueError(f"`seeds` {self.seeds} would all give the same: no task has `shots`, and nothing is drawn")
        return self


@dataclass(frozen=True)
class Source:
    """A task with its questions, and what they are worth."""

    task: Task
    asked: list[Question]
    """What is scored."""
    pool: list[Question]
    """What worked examples are taken from."""
    file: str
    sha256: str
    contaminated: dict[str, bool | None]

    @property
    def licence(self) -> str:
        return self.task.licence_of(self.asked)


@dataclass(frozen=True)
class Asked:
    """One question in one way."""

    condition: Condition
    question: Question
    prompt: Prompt
    shots: int


@stage("eval.score", revision=4, bitwise=False)
def score(
    draft: Draft,
    config: ScoreConfig,
    checkpoints: dict[str, Artifact[Checkpoint]],
    data: Path | None = None,
    contamination: dict[str, Artifact[Report]] | None = None,
    *,
    run: EvalRun = DEFAULT_RUN,
) -> Report:
    """Score each model on tasks with right answers, strictly and leniently, in several phrasings and styles.

    `--data` is the folder with the tasks' files. Strict counts an answer only in the form that was asked for, lenient
    finds it in other words; format-ok and degenerate say how often each form was met. Every number has a bootstrap
    interval over questions, and models are compared in pairs on the same questions. `--contamination TASK=DIR` takes
    bunbuku-corpus's audit of a task's file; scores are then given without the items found in the corpus as well.
    """
    require_hugging_face(checkpoints)
    sources = [_source(task, config, data, contamination or {}) for task in config.tasks]
    _no_strangers(contamination or {}, config.tasks)
    _accepted(sources, config.accept_licences)
    answered: list[Answered] = []
    for name, checkpoint in checkpoints.items():
        with opened(run.engine, checkpoint) as model:
            for source in sources:
                begun = any(one.marks is not None for one in answered)
                answered += _answers(draft, config, name, model, source, begun=begun)
    if all(one.marks is None for one in answered):
        raise BunbukuError(
            f"none of {len(answered)} answers came back, the first for this reason: {answered[0].failure}",
            hint="look at the engine's own log",
        )
    facts = tuple(Facts.of(one.task, file=one.file, sha256=one.sha256, licence=one.licence) for one in sources)
    board = Scoreboard(facts, tuple(answered), rounds=config.bootstrap_rounds, seed=config.item_seed)
    return publish(draft, board, models=tuple(checkpoints), page_rows=config.page_rows)


def _source(task: Task, config: ScoreConfig, data: Path | None, audits: dict[str, Artifact[Report]]) -> Source:
    task.prepare()
    if isinstance(task, Made):
        questions = list(task.made())
        asked = task.chosen(questions, items=config.items, seed=config.item_seed)
        return Source(task, asked, questions, "made here", task.digest(), {})
    if task.hub is None and data is None:
        raise BunbukuError(
            f"the task {task.label!r} reads {task.file!r}, and no folder was given",
            hint="--data DIR, or give it a `hub`",
        )
    path = hub.fetched(task.hub) if task.hub else hub.inside(data or Path(), task.file)
    questions = task.read(path)
    pool = _pool(task, data or path.parent, questions)
    asked = task.chosen(questions, items=config.items, seed=config.item_seed)
    if task.shots >= len(pool):
        raise BunbukuError(
            f"the task {task.label!r} wants {task.shots} worked examples and there are {len(pool)} items"
        )
    audit = audits.get(task.label)
    digest = hash_tree(path) if path.is_dir() else _sha256(path)
    origin = f"{task.hub.repository}@{task.hub.revision[:7]}:{task.hub.file}" if task.hub else task.file
    flags = flags_of(audit, questions, task=task.label) if audit else {}
    return Source(task, asked, pool, origin, digest, flags)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pool(task: Task, data: Path, questions: list[Question]) -> list[Question]:
    """What worked examples are taken from."""
    if task.examples_hub:
        return task.read(hub.fetched(task.examples_hub))
    return task.read(hub.inside(data, task.examples_file)) if task.examples_file else questions


def _accepted(sources: Iterable[Source], accepted: Sequence[str]) -> None:
    """Refuse data that may not be used commercially, or passed on, unless somebody says that the use is another.

    The report holds the questions: whoever passes it on passes them on.
    """
    for source in sources:
        for licence in source.licence.split(" AND "):
            if {"NC", "ND"} & set(licence.upper().replace(" ", "-").split("-")) and licence not in accepted:
                raise BunbukuError(
                    f"the task {source.task.label!r} has data under {licence}, and the report would hold them",
                    hint=f'say accept_licences = ["{licence}"] if that is no commercial use, and keep the report to yourself',
                )


def _no_strangers(audits: dict[str, Artifact[Report]], tasks: Iterable[Task]) -> None:
    labels = [task.label for task in tasks]
    if strangers := sorted(set(audits) - set(labels)):
        raise BunbukuError(
            f"--contamination names {', '.join(map(repr, strangers))}, and no task is called so",
            hint=f"tasks are {', '.join(labels)}",
        )


def _answers(
    draft: Draft, config: ScoreConfig, name: str, model: Model, source: Source, *, begun: bool
) -> list[Answered]:
    found: list[Answered] = []
    for mode in config.modes:
        asked = [one for one in _asked(config, name, mode, source) if mode == "generation" or one.question.choices]
        chunks = [asked[at : at + CHUNK_REQUESTS] for at in range(0, len(asked), CHUNK_REQUESTS)]
        label = f"{name}, {source.task.label}, {mode}"
        for chunk in draft.track(chunks, unit="batches", total=len(chunks), label=label):
            started = time.perf_counter()
            ask = _generated if mode == "generation" else _likeliest
            rows = ask(config, model, source, chunk, begun=begun or any(one.marks is not None for one in found))
            seconds = (time.perf_counter() - started) / max(len(rows), 1)
            found += [_answered(one, row, source, seconds) for one, row in zip(chunk, rows, strict=True)]
    return found


def _asked(config: ScoreConfig, model: str, mode: str, source: Source) -> list[Asked]:
    task = source.task
    # Without worked examples and without drawing, another seed would be the same question again.
    seeds = config.seeds if task.shots or (config.temperature and mode == "generation") else config.seeds[:1]
    asked: list[Asked] = []
    for style in config.styles:
        for phrasing in task.phrasings:
            for seed in seeds:
                condition = Condition(model, task.label, mode, style, phrasing.name, seed)
                asked += [_ask(condition, phrasing, question, source) for question in source.asked]
    return asked


def _ask(condition: Condition, phrasing: Phrasing, question: Question, source: Source) -> Asked:
    shots = examples(source.pool, shots=source.task.shots, seed=condition.seed, apart_from=question)
    return Asked(condition, question, prompt_of(phrasing, question, shots, style=condition.style), len(shots))


class Reply(NamedTuple):
    """What came back, or why nothing did."""

    output: str = ""
    failure: str = ""
    finish: str = ""
    tokens: int = 0
    logprobs: tuple[float, ...] = ()


def _generated(
    config: ScoreConfig, model: Model, source: Source, asked: Sequence[Asked], *, begun: bool
) -> list[Reply]:
    requests = [
        Request(
            prompt=one.prompt,
            sampling=Sampling(
                temperature=config.temperature,
                top_p=config.top_p,
                max_tokens=source.task.max_tokens,
                stop=_stop(config, source.task) if isinstance(one.prompt, str) else (),
            ),
            seed=_seed(one),
        )
        for one in asked
    ]
    return [_reply(outcome) for outcome in outcomes(model.try_generate, requests, begun=begun)]


def _stop(config: ScoreConfig, task: Task) -> tuple[str, ...]:
    return config.stop if task.stop is None else task.stop


def _reply(outcome: Answer | Failure) -> Reply:
    if isinstance(outcome, Failure):
        return Reply(failure=f"{outcome.reason}: {outcome.detail}")
    return Reply(outcome.text, finish=outcome.finish, tokens=outcome.completion_tokens)


def _likeliest(
    config: ScoreConfig, model: Model, source: Source, asked: Sequence[Asked], *, begun: bool
) -> list[Reply]:
    requests = [ScoreRequest(prompt=one.prompt, completion=choice) for one in asked for choice in one.question.choices]
    replies: list[Reply] = []
    remaining = iter(outcomes(model.try_score, requests, begun=begun))
    for one in asked:
        scores = [next(remaining) for _ in one.question.choices]
        failed = [score for score in scores if isinstance(score, Failure)]
        if failed:
            replies.append(Reply(failure=f"{failed[0].reason}: {failed[0].detail}"))
            continue
        values = tuple(score.logprob for score in scores if isinstance(score, Score))
        best = max(range(len(values)), key=lambda at: values[at])
        replies.append(Reply(one.question.choices[best], logprobs=values))
    return replies


def _answered(asked: Asked, reply: Reply, source: Source, seconds: float) -> Answered:
    return Answered(
        asked.condition,
        asked.question,
        shown(asked.prompt),
        asked.shots,
        reply.output,
        None if reply.failure else mark(source.task, asked.question, reply.output),
        reply.failure,
        reply.finish,
        reply.tokens,
        seconds,
        source.contaminated.get(asked.question.id),
        reply.logprobs,
    )


def _seed(asked: Asked) -> int:
    """Of the question and the way it is asked, and the same for every model."""
    way = asked.condition
    text = f"{way.seed}\0{way.task}\0{way.phrasing}\0{way.style}\0{asked.question.id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
