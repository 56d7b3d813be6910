"""What the page says in words before it shows numbers: plainly, and only what was measured."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from bunbuku_eval.headline import Headline, Row

SMALL_PARAMETERS = 100_000_000
NAMES_SHOWN = 8

NEGLIGIBLE = 0.0005
"""Bits per byte below which a difference, however sure, is none: half of the last digit that the page shows."""


class Verdict(NamedTuple):
    """A sentence and whether it is good news."""

    mark: Literal["good", "bad", "open"]
    text: str


def lead(headline: Headline, *, artifacts: int, seconds: float) -> list[str]:
    """The first paragraphs."""
    said = [
        f"Drawn from the manifests of {artifacts} artifacts, which took {duration(seconds)} to make. Every number here "
        "was measured in that run; none was typed in."
    ]
    if models := headline.models:
        largest = max(models, key=lambda row: row.parameters or 0)
        most = max(row.tokens_seen for row in models)
        size = f"The largest model has {count(largest.parameters or 0)} weights and the longest training saw {count(most)} tokens."
        if (largest.parameters or 0) < SMALL_PARAMETERS:
            size += (
                " Models of this size talk nonsense: they learn the look of the language, some grammar and common turns "
                "of phrase, and know next to nothing. What is shown is that every stage works and how well, not that "
                "the model is of use."
            )
        said.append(size)
    return said


def verdicts(headline: Headline) -> list[Verdict]:
    """What the differences say, with their intervals taken seriously."""
    said = [*_against_the_table(headline.models), *_against_parents(headline.models), *_against_chance(headline)]
    if not said:
        said.append(Verdict("open", "No two measurements on the same documents were given, so nothing is compared."))
    return said


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(4.21), duration(75), duration(7300)
    ('4.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def count(number: float) -> str:
    """A large number for people.

    >>> count(812), count(5_240_000), count(46_970_000_000)
    ('812', '5.24 M', '46.97 G')
    """
    for unit, size in (("G", 1e9), ("M", 1e6)):
        if abs(number) >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:,.0f}"


def _against_the_table(rows: Sequence[Row]) -> list[Verdict]:
    compared = [(row.name, row.to_baseline) for row in rows if row.to_baseline]
    below = [name for name, change in compared if change.interval.high < 0]
    above = [name for name, change in compared if change.interval.low > 0]
    rest = [name for name, _ in compared if name not in below and name not in above]
    said: list[Verdict] = []
    if below:
        said.append(Verdict("good", f"Need fewer bits per byte than the bigram table: {_names(below)}."))
    if above:
        said.append(Verdict("bad", f"Need more bits per byte than the bigram table: {_names(above)}."))
    if rest:
        said.append(Verdict("open", f"Cannot be told from the bigram table by these documents: {_names(rest)}."))
    return said


def _against_parents(rows: Sequence[Row]) -> list[Verdict]:
    said: list[Verdict] = []
    for row in rows:
        if change := row.to_parent:
            size = f"{abs(change.value):.4f} bits per byte"
            if max(abs(change.interval.low), abs(change.interval.high)) < NEGLIGIBLE:
                same = f"{row.name} needs the bits per byte of {change.to}, which it was made from, to three decimals."
                said.append(Verdict("good", same))
            elif change.interval.high < 0:
                said.append(Verdict("good", f"{row.name} is {size} better than {change.to}, which it was made from."))
            elif change.interval.low > 0:
                said.append(Verdict("bad", f"{row.name} is {size} worse than {change.to}, which it was made from."))
            else:
                said.append(
                    Verdict("open", f"{row.name} and {change.to}, which it was made from, do not differ measurably.")
                )
    return said


def _against_chance(headline: Headline) -> list[Verdict]:
    if headline.chance is None:
        return []
    intervals = {
        f"{row.name} ({accuracy.style})": accuracy.interval for row in headline.models for accuracy in row.accuracies
    }
    above = [name for name, interval in intervals.items() if interval.low > headline.chance]
    asked = f"of {headline.items:,} items with chance {headline.chance:.3f}"
    if above:
        rest = " The others do not." if len(above) < len(intervals) else ""
        return [Verdict("good", f"Choose better than by guessing, {asked}: {_names(above)}.{rest}")]
    return [Verdict("bad", f"No model chooses measurably better than by guessing, {asked}.")]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"
