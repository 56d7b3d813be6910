"""Families of problems made from nothing: a problem is drawn by its number, and its answer is right by how it was made."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bunbuku_synth.item import Item, Turn
from bunbuku_synth.keys import key_of, pick, shuffled
from bunbuku_synth.sources import Language, Library
from bunbuku_synth.tasks.arithmetic import LICENCE
from bunbuku_synth.tasks.task import RuleTask


@dataclass(frozen=True, slots=True)
class Dice:
    """Choices made for one problem: each by a label, so that they do not depend on one another's order."""

    seed: int

    def number(self, label: str, least: int, most: int) -> int:
        """A number from `least` to `most`, both included."""
        return least + pick(self.seed, label, most - least + 1)

    def one[T](self, label: str, values: tuple[T, ...]) -> T:
        """One of some values."""
        return values[pick(self.seed, label, len(values))]

    def some[T](self, label: str, values: tuple[T, ...], count: int) -> list[T]:
        """Some different ones, in a drawn order."""
        return shuffled(values, self.seed, label)[:count]


@dataclass(frozen=True, slots=True)
class Posed:
    """A problem in words, and what is said to it."""

    name: str
    """Of the kind and the wording, with a version: `linear@1`."""
    question: str
    answer: str
    choices: tuple[str, ...] | None = None
    right: int | None = None


class Family(RuleTask, ABC):
    """A task whose problems are drawn by their numbers."""

    spreads: ClassVar[bool] = False

    @abstractmethod
    def pose(self, dice: Dice, number: int) -> Posed | None:
        """The problem of one number; `None` if its draw gives none."""

    @property
    def language(self) -> Language:
        """Of the answers."""
        return "ja"

    def write(self, library: Library, *, seed: int, tally: Counter[str]) -> Iterator[Item]:
        for number in range(self.drawn):
            settings = self.model_dump(mode="json", exclude={"count"})
            key = key_of(task=settings, source=number, seed=seed)
            posed = self.pose(Dice(key.seed), number)
            if posed is None:
                tally["no_problem"] += 1
                continue
            yield Item(
                id=key.id,
                messages=(Turn("user", posed.question), Turn("assistant", posed.answer)),
                task=self.type,
                language=self.language,
                source=None,
                template=posed.name,
                generator=self.generator,
                teacher=None,
                seed=key.seed,
                licence=LICENCE,
                choices=posed.choices,
                answer=posed.right,
            )
