"""What a training's data is made of: rows and tokens by task, by maker, by turns and by length."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from bunbuku_contracts import Section, Table

_MOST_ROWS = 40
_HEADS = ("rows", "tokens", "trained tokens", "share of trained tokens")


class Facts(NamedTuple):
    """What is counted of a row."""

    turns: int
    """Answers in it."""
    tokens: int
    trained: int


class Sums(NamedTuple):
    """Of several rows."""

    rows: int = 0
    tokens: int = 0
    trained: int = 0

    def plus(self, facts: Facts) -> "Sums":
        """These and one row more."""
        return Sums(self.rows + 1, self.tokens + facts.tokens, self.trained + facts.trained)


@dataclass
class Mix:
    """Sums of rows, divided in four ways.

    >>> mix = Mix()
    >>> mix.add(Facts(turns=1, tokens=20, trained=5), task="要約", made_by="rule:first-line")
    >>> mix.ways["task"]["要約"]
    Sums(rows=1, tokens=20, trained=5)
    """

    ways: dict[str, dict[str, Sums]] = field(
        default_factory=lambda: {way: defaultdict(Sums) for way in ("task", "made by", "turns", "length in tokens")}
    )

    def add(self, facts: Facts, *, task: str, made_by: str) -> None:
        """Count a row."""
        names = (task, made_by, f"{facts.turns}", length_class(facts.tokens))
        for sums, name in zip(self.ways.values(), names, strict=True):
            sums[name] = sums[name].plus(facts)

    def section(self) -> Section:
        """The tables, the largest share first; turns and lengths in their order."""
        return Section(
            title="What is trained on",
            paragraphs=("Held-out and dropped rows are not counted here.",),
            tables=tuple(_table(way, sums) for way, sums in self.ways.items()),
        )


def length_class(tokens: int) -> str:
    """The power of two up to which a row's length goes.

    >>> length_class(64), length_class(65)
    ('up to 64', 'up to 128')
    """
    return f"up to {1 << max(0, tokens - 1).bit_length()}"


def _table(way: str, sums: dict[str, Sums]) -> Table:
    by_size = way in ("task", "made by")
    ordered = sorted(sums.items(), key=lambda item: (-item[1].trained, item[0]) if by_size else _number(item[0]))
    whole = sum(found.trained for found in sums.values())
    rows = [(name, *found, round(found.trained / whole, 4)) for name, found in ordered[:_MOST_ROWS]]
    if rest := [found for _, found in ordered[_MOST_ROWS:]]:
        together = [sum(column) for column in zip(*rest, strict=True)]
        rows.append((f"{len(rest)} others", *together, round(together[2] / whole, 4)))
    return Table(columns=(way, *_HEADS), rows=tuple(rows), caption=f"By {way}")


def _number(name: str) -> tuple[int, str]:
    return int(name.rpartition(" ")[2]), name
