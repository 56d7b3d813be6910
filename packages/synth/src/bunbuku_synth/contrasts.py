"""Contrasts: how a task's right answer gets a wrong one beside it.

A wrong answer is made by a rule, or written by a model. Either way the task's checker must call it wrong: what is merely
unclear is left out. Rules keep the form of the right answer, so that what differs is whether it is right.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from bunbuku_contracts import Config
from pydantic import Field, NonNegativeInt

from bunbuku_synth import checkers
from bunbuku_synth.checkers import Verdict
from bunbuku_synth.item import Item
from bunbuku_synth.keys import pick, shuffled
from bunbuku_synth.language import content
from bunbuku_synth.numerals import kanji, numbers

_TRIED = 50
"""Answers of other items that are tried for one item."""


@dataclass(frozen=True)
class Others:
    """Items of one template: they have the form of each other's answers."""

    items: tuple[Item, ...]

    def unrelated(self, item: Item, *, seed: int) -> Iterator[Item]:
        """Some that ask about something else: no word that carries meaning is in both questions.

        Words that every question of the template has are the template's own and do not count.
        """
        mine = self._asked[item.id]
        start = pick(seed, "other", len(self.items))
        for other in (self.items[start:] + self.items[:start])[:_TRIED]:
            if not mine & self._asked[other.id]:
                yield other

    @cached_property
    def _asked(self) -> dict[str, frozenset[str]]:
        words = {item.id: content("\n".join(turn.content for turn in item.prompt)) for item in self.items}
        common = frozenset.intersection(*words.values())
        return {id: found - common for id, found in words.items()}


class Contrast(Config, ABC):
    """How answers of one task are contrasted."""

    type: Any
    """A `Literal` in each: its name in TOML, in items and in metrics."""
    by_rule: NonNegativeInt = 100
    """Preferences whose wrong answer a rule makes, at most."""
    by_model: NonNegativeInt = 0
    """Questions that are put to the model; those that it gets certainly wrong become preferences."""

    @abstractmethod
    def verdict(self, item: Item, given: str) -> Verdict:
        """Whether `given` answers an item."""

    @abstractmethod
    def wrong(self, item: Item, others: Others, *, seed: int) -> Iterator[str]:
        """Answers to try as wrong ones, the best first."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """What a wrong answer made by rule is called."""


class TranslateContrast(Contrast):
    """Another sentence's translation."""

    type: Literal["translate"] = "translate"

    @property
    def rule(self) -> str:
        return "another_translation"

    def verdict(self, item: Item, given: str) -> Verdict:
        return checkers.translation(item.said, given)

    def wrong(self, item: Item, others: Others, *, seed: int) -> Iterator[str]:
        return (other.said for other in others.unrelated(item, seed=seed))


class ClozeContrast(Contrast):
    """Another sentence's word."""

    type: Literal["cloze"] = "cloze"

    @property
    def rule(self) -> str:
        return "another_word"

    def verdict(self, item: Item, given: str) -> Verdict:
        return checkers.cloze(item.said, given)

    def wrong(self, item: Item, others: Others, *, seed: int) -> Iterator[str]:
        return (other.said for other in others.unrelated(item, seed=seed))


class MultipleChoiceContrast(Contrast):
    """Another choice."""

    type: Literal["multiple_choice"] = "multiple_choice"

    @property
    def rule(self) -> str:
        return "another_choice"

    def verdict(self, item: Item, given: str) -> Verdict:
        assert item.choices is not None and item.answer is not None, item.id
        return checkers.choice(item.choices, item.answer, given)

    def wrong(self, item: Item, others: Others, *, seed: int) -> Iterator[str]:
        return iter(shuffled(item.choices or (), seed, "wrong"))


class ArithmeticContrast(Contrast):
    """Another number, close by."""

    type: Literal["arithmetic"] = "arithmetic"

    @property
    def rule(self) -> str:
        return "wrong_number"

    def verdict(self, item: Item, given: str) -> Verdict:
        return checkers.arithmetic(item.said, given)

    def wrong(self, item: Item, others: Others, *, seed: int) -> Iterator[str]:
        (start, end, number), *_ = numbers(item.said)
        digits = item.said[start:end].isdigit()
        for step in shuffled((-10, -2, -1, 1, 2, 10), seed, "step"):
            if number + step > 0:
                other = str(number + step) if digits else kanji(number + step)
                yield item.said[:start] + other + item.said[end:]


class SolutionContrast(Contrast, ABC):
    """A solution that comes to another answer. Rules write none: a way that is right and an end that is not would teach nothing good."""

    by_rule: Literal[0] = 0  # pyright: ignore[reportIncompatibleVariableOverride]
    """There is no rule for it."""

    @property
    def rule(self) -> str:
        return "none"

    def verdict(self, item: Item, given: str) -> Verdict:
        return checkers.exact(item.said, given)

    def wrong(self, item: Item, others: Others, *, seed: int) -> Iterator[str]:
        return iter(())


class MathematicsContrast(SolutionContrast):
    """A model's wrong solution of a problem whose exact answer is known."""

    type: Literal["mathematics"] = "mathematics"


class SolveContrast(SolutionContrast):
    """A model's wrong solution of a problem that a teacher solved, and whose solution was verified."""

    type: Literal["solve"] = "solve"

    def verdict(self, item: Item, given: str) -> Verdict:
        """Programs are not run here: what is verified of them is that they passed, not that others fail."""
        return "unclear" if "```" in item.said else super().verdict(item, given)


class SelfRewardContrast(SolutionContrast):
    """A model's solution that comes to another answer than most did."""

    type: Literal["self_reward"] = "self_reward"


class ClassificationContrast(Contrast):
    """Another class, in the form that was asked for."""

    type: Literal["classification"] = "classification"

    @property
    def rule(self) -> str:
        return "another_class"

    def verdict(self, item: Item, given: str) -> Verdict:
        assert item.choices is not None and item.answer is not None, item.id
        return checkers.choice(item.choices, item.answer, given)

    def wrong(self, item: Item, others: Others, *, seed: int) -> Iterator[str]:
        return iter(shuffled(item.choices or (), seed, "wrong"))


class EntailmentContrast(ClassificationContrast):
    """Another relation, in the form that was asked for."""

    type: Literal["entailment"] = "entailment"  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def rule(self) -> str:
        return "another_relation"


AnyContrast = Annotated[
    TranslateContrast
    | ClozeContrast
    | MultipleChoiceContrast
    | ArithmeticContrast
    | MathematicsContrast
    | SolveContrast
    | SelfRewardContrast
    | ClassificationContrast
    | EntailmentContrast,
    Field(discriminator="type"),
]
