"""What every task is: a config that writes items, or that asks a teacher for them.

A rule task yields candidates in the order of their draw, as many as it can; `select` takes what the run wants of them.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from bunbuku_contracts import Config
from pydantic import PositiveInt

from bunbuku_synth.item import Dropped, Item
from bunbuku_synth.keys import Key, key_of, pick
from bunbuku_synth.language import normalized
from bunbuku_synth.sources import Library
from bunbuku_synth.templates import Template


class Task(Config, ABC):
    """A kind of item."""

    type: Any
    """A `Literal` in each: its name in TOML, in items and in metrics."""
    count: PositiveInt
    """How many items to make."""

    @property
    def label(self) -> str:
        """What items, metrics and stores call it."""
        return self.type

    @property
    def most(self) -> int:
        """How many items it may come to."""
        return self.count

    spreads: ClassVar[bool] = True
    """Whether right choices are to be spread over their places; not where they are so by how the items are drawn."""
    asks_again: ClassVar[bool] = False
    """Whether a question may come again with another answer: where many texts about one thing are wanted."""


class RuleTask(Task, ABC):
    """A task whose right answer is known from how the item was built."""

    @property
    def generator(self) -> str:
        """What items say about who wrote them."""
        return f"rule:{self.type}"

    @abstractmethod
    def write(self, library: Library, *, seed: int, tally: Counter[str]) -> Iterator[Item]:
        """Candidates in the order of their draw; what cannot be made is counted in `tally` under its reason."""

    def key(self, source: object, template: Template, *, seed: int) -> Key:
        """Names the item of one source in one template: everything that says what it will be, and not how many."""
        settings = self.model_dump(mode="json", exclude={"count", "templates"})
        return key_of(task=settings, source=source, template=template.model_dump(mode="json"), seed=seed)

    @property
    def drawn(self) -> int:
        """How many sources are drawn: more than items, since some candidates are turned down."""
        return 4 * self.count + 64


def choose[T: Template](templates: Sequence[T], *, seed: int, name: str) -> T:
    """The template for one source, drawn by its name."""
    return templates[pick(seed, f"template:{name}", len(templates))]


class Places:
    """Shares out `count` items evenly among the places of the right choice."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: Counter[int] = Counter()

    def take(self, place: int, choices: int) -> bool:
        """Whether one more item may have its right choice at `place`; counts it if so."""
        share, left = divmod(self._count, choices)
        if self._taken[place] > share or (self._taken[place] == share and self._larger(share) >= left):
            return False
        self._taken[place] += 1
        return True

    def _larger(self, share: int) -> int:
        return sum(taken > share for taken in self._taken.values())


def select(
    candidates: Iterable[Item],
    count: int,
    *,
    seen: set[str],
    spread: bool = True,
    asks_again: bool = False,
) -> tuple[list[Item], list[Dropped]]:
    """The first `count` candidates whose question was not seen before, in the order of their ids; and those that were turned down.

    Where they have choices and `spread` is wanted, the right ones are spread evenly: between two places the counts differ
    by one at most.
    """
    taken: list[Item] = []
    dropped: list[Dropped] = []
    places = Places(count)
    for item in candidates:
        if len(taken) == count:
            break
        question = "\n".join(normalized(turn.content) for turn in (item.messages if asks_again else item.prompt))
        if question in seen:
            dropped.append(Dropped(item, "duplicate"))
        elif spread and item.choices and item.answer is not None and not places.take(item.answer, len(item.choices)):
            dropped.append(Dropped(item, "place_is_full"))
        else:
            seen.add(question)
            taken.append(item)
    return sorted(taken, key=lambda item: item.id), dropped
