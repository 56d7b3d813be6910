"""Chains of teachers: what an item begins from, the steps that are done on it, and what becomes of it.

A step asks one teacher. Its wording names variables: those of the `Start`, and the replies of other steps by the steps' names,
which is all that says which comes after which. A step's request has a seed of its own, a hash of the step, its teacher, its
wording and the start, so that a change in one step leaves the requests of the others as they were, and their replies are found
in their stores. An item's key is a hash of everything.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Self

import jinja2
from bunbuku_contracts import Config
from bunbuku_inference import Answer, Failure, Message, Request, Sampling
from pydantic import Field, PositiveInt, model_validator

from bunbuku_synth.faculty import DEFAULT, Faculty
from bunbuku_synth.item import Dropped, Item, Turn
from bunbuku_synth.keys import Drawing, Key, key_of, pick
from bunbuku_synth.sources import Language, Library
from bunbuku_synth.tasks.task import Task
from bunbuku_synth.tasks.teaching import TeacherSampling
from bunbuku_synth.templates import render, variables_of


class Wording(Config):
    """What a teacher is asked in one step."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    version: PositiveInt = 1
    system: str = ""
    """What stands before it, if anything."""
    ask: str
    """Variables: those of the start, and the names of steps that come before."""

    @property
    def id(self) -> str:
        """Name and version."""
        return f"{self.name}@{self.version}"

    @property
    def variables(self) -> frozenset[str]:
        """What it names."""
        return variables_of(self.system) | variables_of(self.ask)

    def turns(self, words: Mapping[str, object]) -> tuple[Turn, ...]:
        """What the teacher is asked."""
        system = (Turn("system", render(self.system, words)),) if self.system else ()
        return *system, Turn("user", render(self.ask, words))

    @model_validator(mode="after")
    def _parses(self) -> Self:
        try:
            _ = self.variables
        except jinja2.TemplateSyntaxError as error:
            raise ValueError(f"wording {self.name!r} is not valid Jinja2: {error.message}") from error
        return self


class Step(Config):
    """One question to one teacher."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """Later steps name its reply by it."""
    teacher: str = DEFAULT
    """Which teacher does it."""
    wordings: Annotated[tuple[Wording, ...], Field(min_length=1)]
    """One is drawn for each item."""
    sampling: TeacherSampling = TeacherSampling()
    reply_schema: str | None = None
    """JSON Schema that the reply is held to, where the engine can."""

    @property
    def variables(self) -> frozenset[str]:
        """What its wordings name."""
        return frozenset[str]().union(*(wording.variables for wording in self.wordings))


@dataclass(frozen=True, slots=True)
class Start:
    """What an item begins from."""

    name: str
    """Unique in the task: the source's id and span, or the cell of a grid."""
    words: Mapping[str, str]
    """Variables that steps may name."""
    source: str | None
    licence: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says."""

    words: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables that it adds: under the step's name, and others."""
    reason: str | None = None
    """Why the item is not to be kept; `None` if it may be."""
    repairs: tuple[str, ...] = ()


@dataclass(slots=True)
class Work:
    """An item on its way through the steps."""

    start: Start
    words: dict[str, str]
    wordings: dict[str, Wording] = field(default_factory=dict[str, Wording])
    """By step, as they were drawn."""
    teachers: dict[str, str] = field(default_factory=dict[str, str])
    """By step."""
    repairs: list[str] = field(default_factory=list[str])
    completion_tokens: dict[str, int] = field(default_factory=dict[str, int])
    """What its replies took, by step, whoever paid for them."""
    reason: str | None = None
    last: tuple[Turn, ...] = ()
    """The last thing that was asked, and the reply as it came."""


class ChainTask(Task, ABC):
    """A task that takes an item through steps. Its subclasses say what items begin from, and what a reply is worth."""

    @abstractmethod
    def starts(self, library: Library, *, seed: int) -> Iterable[Start]:
        """What `count` items begin from, drawn without replacement."""

    @property
    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """In any order."""

    @abstractmethod
    def finish(self, work: Work) -> "Finished":
        """What became of an item all of whose steps are done."""

    def wants(self, step: Step, work: Work) -> bool:
        """Whether a step is to be done on an item."""
        return True

    def read(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        """What a step's reply says."""
        return Reading({step.name: text.strip()}, "empty" if not text.strip() else None)

    @property
    def ordered(self) -> tuple[Step, ...]:
        """The steps, each after those whose replies it names.

        Raises:
            ValueError: Two have one name, or they wait for each other.
        """
        steps = {step.name: step for step in self.steps}
        if len(steps) < len(self.steps):
            raise ValueError("two steps have the same name")
        needs = {name: sorted(self.after(step) & steps.keys() - {name}) for name, step in steps.items()}
        try:
            return tuple(steps[name] for name in TopologicalSorter(needs).static_order())
        except CycleError as error:
            raise ValueError(f"the steps {' → '.join(error.args[1])} wait for each other") from error

    def keeps(self, step: str, work: Work) -> bool:
        """Whether a step's reply is in the finished item, so that its tokens count as accepted."""
        return True

    def after(self, step: Step) -> frozenset[str]:
        """Names that a step needs."""
        return step.variables

    def turns(self, wording: Wording, work: Work) -> tuple[Turn, ...]:
        """What the teacher is asked for one item."""
        return wording.turns(work.words)

    def wording(self, step: Step, work: Work, *, seed: int) -> Wording:
        """The wording of a step for one item, drawn by the item's name."""
        return step.wordings[pick(seed, f"wording:{step.name}:{work.start.name}", len(step.wordings))]


@dataclass(frozen=True, slots=True)
class Finished:
    """A dialogue, or the reason why there is none."""

    messages: tuple[Turn, ...]
    language: Language = "ja"
    reason: str | None = None
    choices: tuple[str, ...] | None = None
    answer: int | None = None


@dataclass
class Outcome:
    """What a chain made."""

    items: list[Item] = field(default_factory=list[Item])
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    tally: Counter[str] = field(default_factory=Counter[str])
    """Reasons and repairs, and tokens, by dotted names."""
    tokens: dict[str, int] = field(default_factory=dict[str, int])
    """Completion tokens of the replies that are in each item, by its id."""


def run_chain(task: ChainTask, starts: Iterable[Start], faculty: Faculty, *, seed: int) -> Outcome:
    """Take every start through the task's steps, a step at a time."""
    works = [Work(start, dict(start.words)) for start in starts]
    outcome = Outcome()
    for step in task.ordered:
        todo = [work for work in works if work.reason is None and task.wants(step, work)]
        requests = [_request(task, step, work, faculty.identity(step.teacher), seed=seed) for work in todo]
        answers = faculty.ask(step.teacher, requests, step=f"{task.type}.{step.name}") if requests else []
        for work, answer in zip(todo, answers, strict=True):
            _take(task, step, work, answer)
    for work in works:
        _settle(task, work, outcome, seed=seed)
    return outcome


def _request(task: ChainTask, step: Step, work: Work, teacher: str, *, seed: int) -> Request:
    wording = task.wording(step, work, seed=seed)
    work.wordings[step.name], work.teachers[step.name] = wording, teacher
    work.last = task.turns(wording, work)
    key = key_of(
        task=task.type,
        step=step.model_dump(mode="json", exclude={"wordings", "teacher"}),
        wording=wording.model_dump(mode="json"),
        teacher=teacher,
        source=work.start.name,
        seed=seed,
    )
    messages = tuple(Message(role=turn.role, content=turn.content) for turn in work.last)
    sampling = Sampling(**step.sampling.model_dump())
    return Request(prompt=messages, sampling=sampling, seed=key.seed, reply_schema=step.reply_schema)


def _take(task: ChainTask, step: Step, work: Work, answer: Answer | Failure) -> None:
    if isinstance(answer, Failure):
        work.reason = f"failed_{answer.reason}"
        return
    work.completion_tokens[step.name] = answer.completion_tokens
    work.last = (work.last[-1], Turn("assistant", answer.text))
    reading = task.read(step, work, answer.text, cut_off=answer.finish == "length")
    work.words |= reading.words
    work.repairs += reading.repairs
    work.reason = reading.reason


def _settle(task: ChainTask, work: Work, outcome: Outcome, *, seed: int) -> None:
    finished = task.finish(work) if work.reason is None else Finished(work.last, reason=work.reason)
    key = _key(task, work, seed=seed)
    for name in work.repairs:
        outcome.tally[f"repaired.{name}"] += 1
    messages = finished.messages if finished.reason is None else work.last
    item = _item(task, work, key, finished, messages)
    outcome.tally["completion_tokens"] += sum(work.completion_tokens.values())
    if finished.reason is None:
        outcome.items.append(item)
        kept = (tokens for step, tokens in work.completion_tokens.items() if task.keeps(step, work))
        outcome.tokens[item.id] = sum(kept)
    else:
        outcome.tally[f"rejected.{finished.reason}"] += 1
        outcome.dropped.append(Dropped(item, finished.reason))


def _key(task: ChainTask, work: Work, *, seed: int) -> Key:
    return key_of(
        task=task.model_dump(mode="json", exclude={"count"}),
        source=work.start.name,
        template={step: wording.model_dump(mode="json") for step, wording in work.wordings.items()},
        teacher=work.teachers,
        seed=seed,
    )


def _item(task: ChainTask, work: Work, key: Key, finished: Finished, messages: tuple[Turn, ...]) -> Item:
    return Item(
        id=key.id,
        messages=messages,
        task=task.type,
        language=finished.language,
        source=work.start.source,
        template="+".join(dict.fromkeys(wording.id for wording in work.wordings.values())),
        generator="teacher",
        teacher="+".join(dict.fromkeys(work.teachers.values())),
        seed=key.seed,
        licence=work.start.licence,
        choices=finished.choices,
        answer=finished.answer,
    )


def draw_starts(
    candidates: Iterable[Start], count: int, *, label: str, seed: int, fits: Callable[[Start], bool] | None = None
) -> list[Start]:
    """`count` of the candidates, drawn without replacement by their names."""
    drawing = Drawing[Start](count, label=label, seed=seed, fits=fits)
    for candidate in candidates:
        drawing.offer(candidate, name=candidate.name)
    return drawing.drawn


def cells(axes: Mapping[str, Sequence[str]], count: int, *, label: str, seed: int) -> Iterator[dict[str, str]]:
    """`count` cells of a grid, each at most once, in an order drawn for `label`; all of them if there are fewer.

    The grid is never made: its cells are numbered, and a permutation of the numbers is walked. So a draw of fewer is the
    beginning of a draw of more.

    >>> found = list(cells({"a": "いろは", "b": "にほ"}, 99, label="x", seed=1))
    >>> len(found), len({(cell["a"], cell["b"]) for cell in found})
    (6, 6)
    """
    size = 1
    for values in axes.values():
        size *= len(values)
    for number in range(min(count, size)):
        at = _permuted(number, size, f"{label}\n{seed}")
        cell: dict[str, str] = {}
        for name, values in axes.items():
            at, place = divmod(at, len(values))
            cell[name] = values[place]
        yield cell


def _permuted(number: int, size: int, salt: str) -> int:
    """Where a number goes in a permutation of those below `size`: a Feistel network of four rounds, walked until inside."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = number >> half, number & mask
        for round_ in range(4):
            seed = int.from_bytes(f"{salt}\n{round_}".encode())
            left, right = right, left ^ pick(seed, str(right), mask + 1)
        number = left << half | right
        if number < size:
            return number
