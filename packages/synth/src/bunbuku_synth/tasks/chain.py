"""Chains of teachers: what an item begins from, the steps that are done on it, and what becomes of it.

A step asks one teacher. Its wording names variables: those of the `Start`, and the replies of other steps by the steps' names,
which is all that says which comes after which. A step's request has a seed of its own, a hash of the step, its teacher, its
wording and the start, so that a change in one step leaves the requests of the others as they were, and their replies are found
in their stores. An item's key is a hash of everything.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Self

import jinja2
from bunbuku_contracts import Config
from pydantic import Field, PositiveInt, model_validator

from bunbuku_synth.faculty import DEFAULT
from bunbuku_synth.item import Doubt, Turn, WorseBy
from bunbuku_synth.keys import Drawing, pick
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
    notes: tuple[str, ...] = ()
    """What is to be counted besides."""


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
    notes: list[str] = field(default_factory=list[str])
    measures: dict[str, float] = field(default_factory=dict[str, float])
    """What was measured of it, by name: the run's metrics have how it is spread."""
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

    def finish_all(self, work: Work) -> Sequence["Finished"]:
        """The same where one beginning may lead to several items; also of work that was given up on the way."""
        return (self.finish(work) if work.reason is None else Finished(work.last, reason=work.reason),)

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

    def turns(self, step: Step, wording: Wording, work: Work) -> tuple[Turn, ...]:
        """What the teacher is asked in a step for one item."""
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
    doubts: tuple[Doubt, ...] | None = None
    part: str = ""
    """Tells several items of one beginning apart."""
    kept: frozenset[str] | None = None
    """Steps whose replies are in it; `None` leaves it to the task's `keeps`."""
    rivals: Mapping[str, WorseBy] | None = None
    """Steps whose replies answer the same question worse, and what shows that; `None` where it is asked once."""


def draw_starts(
    candidates: Iterable[Start], count: int, *, label: str, seed: int, fits: Callable[[Start], bool] | None = None
) -> list[Start]:
    """`count` of the candidates, drawn without replacement by their names."""
    drawing = Drawing[Start](count, label=label, seed=seed, fits=fits)
    for candidate in candidates:
        drawing.offer(candidate, name=candidate.name)
    return drawing.drawn
