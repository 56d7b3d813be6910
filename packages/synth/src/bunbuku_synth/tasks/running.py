"""A chain at work: every beginning is taken through the steps, a step at a time, and ends in items or in reasons."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from bunbuku_inference import Answer, Failure, Request

from bunbuku_synth.faculty import Faculty
from bunbuku_synth.item import Dropped, Item, Rival, Turn
from bunbuku_synth.keys import Key, key_of
from bunbuku_synth.tasks.chain import ChainTask, Finished, Start, Step, Work
from bunbuku_synth.tasks.teaching import request_of


@dataclass
class Outcome:
    """What a chain made."""

    items: list[Item] = field(default_factory=list[Item])
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    tally: Counter[str] = field(default_factory=Counter[str])
    """Reasons and repairs, and tokens, by dotted names."""
    tokens: dict[str, int] = field(default_factory=dict[str, int])
    """Completion tokens of the replies that are in each item, by its id."""
    measures: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """What was measured of the works, by name."""


def run_chain(task: ChainTask, starts: Iterable[Start], faculty: Faculty, *, seed: int) -> Outcome:
    """Take every start through the task's steps, a step at a time."""
    works = [Work(start, dict(start.words)) for start in starts]
    outcome = Outcome()
    for step in task.ordered:
        todo = [work for work in works if work.reason is None and task.wants(step, work)]
        requests = [_request(task, step, work, faculty.identity(step.teacher), seed=seed) for work in todo]
        answers = faculty.ask(step.teacher, requests, step=f"{task.label}.{step.name}") if requests else []
        for work, answer in zip(todo, answers, strict=True):
            _take(task, step, work, answer)
    for work in works:
        _settle(task, work, outcome, seed=seed)
    return outcome


def _request(task: ChainTask, step: Step, work: Work, teacher: str, *, seed: int) -> Request:
    wording = task.wording(step, work, seed=seed)
    work.wordings[step.name], work.teachers[step.name] = wording, teacher
    work.last = task.turns(step, wording, work)
    key = key_of(
        task=task.label,
        step=step.model_dump(mode="json", exclude={"wordings", "teacher"}),
        wording=wording.model_dump(mode="json"),
        teacher=teacher,
        source=work.start.name,
        seed=seed,
    )
    return request_of(work.last, step.sampling, seed=key.seed, reply_schema=step.reply_schema)


def _take(task: ChainTask, step: Step, work: Work, answer: Answer | Failure) -> None:
    if isinstance(answer, Failure):
        work.reason = f"failed_{answer.reason}"
        return
    work.completion_tokens[step.name] = answer.completion_tokens
    work.last = (work.last[-1], Turn("assistant", answer.text))
    reading = task.read(step, work, answer.text, cut_off=answer.finish == "length")
    work.words |= reading.words
    work.repairs += reading.repairs
    work.notes += reading.notes
    work.reason = reading.reason


def _settle(task: ChainTask, work: Work, outcome: Outcome, *, seed: int) -> None:
    """Make items of finished work, and count what happened to it."""
    endings = task.finish_all(work)
    for name in work.repairs:
        outcome.tally[f"repaired.{name}"] += 1
    for name in work.notes:
        outcome.tally[f"noted.{name}"] += 1
    for name, value in work.measures.items():
        outcome.measures.setdefault(name, []).append(value)
    outcome.tally["completion_tokens"] += sum(work.completion_tokens.values())
    for finished in endings:
        _end(task, work, finished, outcome, seed=seed)


def _end(task: ChainTask, work: Work, finished: Finished, outcome: Outcome, *, seed: int) -> None:
    key = _key(task, work, finished.part, seed=seed)
    messages = finished.messages if finished.reason is None else work.last
    item = _item(task, work, key, finished, messages)
    if finished.reason is None:
        outcome.items.append(item)
        kept = (
            tokens
            for step, tokens in work.completion_tokens.items()
            if (task.keeps(step, work) if finished.kept is None else step in finished.kept)
        )
        outcome.tokens[item.id] = sum(kept)
    else:
        outcome.tally[f"rejected.{finished.reason}"] += 1
        outcome.dropped.append(Dropped(item, finished.reason))


def _key(task: ChainTask, work: Work, part: str, *, seed: int) -> Key:
    return key_of(
        task=task.model_dump(mode="json", exclude={"count"}),
        source=work.start.name,
        template={step: wording.model_dump(mode="json") for step, wording in work.wordings.items()},
        teacher=work.teachers,
        seed=seed,
        **({"part": part} if part else {}),
    )


def _item(task: ChainTask, work: Work, key: Key, finished: Finished, messages: tuple[Turn, ...]) -> Item:
    return Item(
        id=key.id,
        messages=messages,
        task=task.label,
        language=finished.language,
        source=work.start.source,
        template="+".join(dict.fromkeys(wording.id for wording in work.wordings.values())),
        generator="teacher",
        teacher="+".join(dict.fromkeys(work.teachers.values())),
        seed=key.seed,
        licence=work.start.licence,
        choices=finished.choices,
        answer=finished.answer,
        doubts=finished.doubts,
        rivals=_rivals(work, finished),
    )


def _rivals(work: Work, finished: Finished) -> tuple[Rival, ...] | None:
    if finished.rivals is None:
        return None
    return tuple(Rival(work.words[step], work.teachers[step], by) for step, by in finished.rivals.items())
