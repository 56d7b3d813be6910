"""What a training's data is made of: rows and tokens by task, maker, domain, turns and length, and what became of all rows."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from bunbuku_contracts import Section, Table

_MOST_ROWS = 40
_HEADS = ("rows", "tokens", "trained tokens", "share of trained tokens")
_NAMED = ("task", "made by", "domain")
"""Ways to divide rows by what they say of themselves, also those that are not trained."""
_FATES = ("train", "held_out", "dropped.no_answer", "dropped.too_long", "truncated")


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


class Origin(NamedTuple):
    """What a row says of itself."""

    task: str = "-"
    made_by: str = "-"
    domain: str = "-"


@dataclass
class Mix:
    """Sums of trained rows, divided in five ways, and what became of every row.

    >>> mix = Mix()
    >>> mix.add(Facts(turns=1, tokens=20, trained=5), Origin(task="要約", made_by="rule:first-line"))
    >>> mix.ways["task"]["要約"]
    Sums(rows=1, tokens=20, trained=5)
    """

    ways: dict[str, dict[str, Sums]] = field(
        default_factory=lambda: {way: defaultdict(Sums) for way in (*_NAMED, "turns", "length in tokens")}
    )
    fates: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: {way: defaultdict(Counter) for way in _NAMED}
    )

    def add(self, facts: Facts, origin: Origin) -> None:
        """Count a row that is trained."""
        names = (*origin, f"{facts.turns}", length_class(facts.tokens))
        for sums, name in zip(self.ways.values(), names, strict=True):
            sums[name] = sums[name].plus(facts)

    def became(self, fate: str, origin: Origin) -> None:
        """Count what became of a row, trained or not."""
        for rows, name in zip(self.fates.values(), origin, strict=True):
            rows[name][fate] += 1

    def section(self) -> Section:
        """The tables, the largest share first, turns and lengths in their order; then what became of all rows."""
        return Section(
            title="What is trained on",
            paragraphs=("Held-out and dropped rows are counted in the last tables alone.",),
            tables=(
                *(_table(way, sums) for way, sums in self.ways.items()),
                *(_fates(way, rows) for way, rows in self.fates.items()),
            ),
        )


def length_class(tokens: int) -> str:
    """The power of two up to which a row's length goes.

    >>> length_class(64), length_class(65)
    ('up to 64', 'up to 128')
    """
    return f"up to {1 << max(0, tokens - 1).bit_length()}"


def _table(way: str, sums: dict[str, Sums]) -> Table:
    by_size = way in _NAMED
    ordered = sorted(sums.items(), key=lambda item: (-item[1].trained, item[0]) if by_size else _number(item[0]))
    whole = sum(found.trained for found in sums.values())
    rows = [(name, *found, round(found.trained / whole, 4)) for name, found in ordered[:_MOST_ROWS]]
    if rest := [found for _, found in ordered[_MOST_ROWS:]]:
        together = [sum(column) for column in zip(*rest, strict=True)]
        rows.append((f"{len(rest)} others", *together, round(together[2] / whole, 4)))
    return Table(columns=(way, *_HEADS), rows=tuple(rows), caption=f"By {way}")


def _fates(way: str, rows: dict[str, Counter[str]]) -> Table:
    ordered = sorted(rows.items(), key=lambda item: (-item[1].total(), item[0]))
    shown = [(name, *(found[fate] for fate in _FATES)) for name, found in ordered[:_MOST_ROWS]]
    if rest := [found for _, found in ordered[_MOST_ROWS:]]:
        shown.append((f"{len(rest)} others", *(sum(found[fate] for found in rest) for fate in _FATES)))
    heads = (fate.replace("_", " ").replace(".", ": ") for fate in _FATES)
    return Table(columns=(way, *heads), rows=tuple(shown), caption=f"What became of the rows, by {way}")


def _number(name: str) -> tuple[int, str]:
    return int(name.rpartition(" ")[2]), name
