"""Votes: two models, which was preferred, and by whom. From CSV, Parquet or any file of rows, into arrays.

A spreadsheet needs `model_a`, `model_b` and `winner`; `voter`, `category`, `answer_a` and `answer_b` are taken if they
are there. `winner` is `a`, `b`, `tie` or `both_bad`, or as FastChat and its arena write it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray

from bunbuku_eval.reading import read_rows

type Winner = Literal["a", "b", "tie", "both_bad"]
type Style = Literal["length", "headers", "lists", "bold"]

OUTCOMES: Mapping[Winner, float] = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
SPELT: Mapping[str, Winner] = {
    **{name: name for name in OUTCOMES},
    **{"model_a": "a", "model_b": "b", "left": "a", "right": "b", "A": "a", "B": "b"},
    **{"tie (bothbad)": "both_bad", "bothbad": "both_bad", "draw": "tie", "引き分け": "tie", "両方悪い": "both_bad"},
}
STYLES: tuple[Style, ...] = ("length", "headers", "lists", "bold")
_MARKS: Mapping[Style, re.Pattern[str]] = {
    "headers": re.compile(r"^#{1,6}\s", re.MULTILINE),
    "lists": re.compile(r"^\s*(?:[-*+]|\d+[.)])\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}


@dataclass(frozen=True)
class Votes:
    """Votes as arrays, one entry a vote."""

    models: tuple[str, ...]
    """Sorted, so that nothing depends on the order of the votes."""
    a: NDArray[np.int64]
    """Which model stood on the left."""
    b: NDArray[np.int64]
    outcome: NDArray[np.float64]
    """1 if the left one won, 0 if the right one did, 0.5 for a tie."""
    voters: tuple[str, ...] = ()
    voter: NDArray[np.int64] | None = None
    categories: tuple[str, ...] = ()
    category: NDArray[np.int64] | None = None
    style: NDArray[np.float64] | None = None
    """For each vote how much more of each of `STYLES` the left answer has, -1 to 1."""

    def __len__(self) -> int:
        return len(self.a)

    @classmethod
    def of(
        cls,
        model_a: Sequence[str],
        model_b: Sequence[str],
        outcome: Sequence[float],
        *,
        voters: Sequence[str] | None = None,
    ) -> "Votes":
        """Votes from lists."""
        (models, a, b) = _pair_codes(pa.array(model_a), pa.array(model_b))
        names, codes = _codes(pa.array(voters)) if voters is not None else ((), None)
        return cls(models, a, b, np.asarray(outcome, float), names, codes)

    def where(self, keep: NDArray[np.bool_]) -> "Votes":
        """Those that are kept; the models stay the same."""
        return Votes(
            self.models,
            self.a[keep],
            self.b[keep],
            self.outcome[keep],
            self.voters,
            None if self.voter is None else self.voter[keep],
            self.categories,
            None if self.category is None else self.category[keep],
            None if self.style is None else self.style[keep],
        )

    def swapped(self) -> "Votes":
        """The same votes with left and right exchanged."""
        style = None if self.style is None else -self.style
        return Votes(
            self.models,
            self.b,
            self.a,
            1 - self.outcome,
            self.voters,
            self.voter,
            self.categories,
            self.category,
            style,
        )


class OneSided(NamedTuple):
    """A voter whose votes say more of the side than of the answers."""

    voter: str
    left: int
    right: int
    chance: float
    """How likely so uneven a split is if sides are random."""


def one_sided(votes: Votes, *, level: float = 0.01) -> list[OneSided]:
    """Voters who take one side more often than random sides allow, at `level` over all voters together (Bonferroni).

    Sides are drawn at random, so whatever a voter likes, half of it stands on the left. Ties say nothing of sides.
    """
    if votes.voter is None:
        return []
    from scipy.stats import binomtest  # slow to import

    left = np.bincount(votes.voter[votes.outcome == 1], minlength=len(votes.voters))
    right = np.bincount(votes.voter[votes.outcome == 0], minlength=len(votes.voters))
    found: list[OneSided] = []
    for at, name in enumerate(votes.voters):
        if left[at] + right[at]:
            chance = float(binomtest(int(left[at]), int(left[at] + right[at])).pvalue)
            if chance * len(votes.voters) < level:
                found.append(OneSided(name, int(left[at]), int(right[at]), chance))
    return found


def without(votes: Votes, voters: Iterable[str]) -> Votes:
    """The votes of everybody else."""
    dropped = set(voters)
    if votes.voter is None or not dropped:
        return votes
    keep = np.array([name not in dropped for name in votes.voters])
    return votes.where(keep[votes.voter])


def seen(votes: Votes) -> Votes:
    """The votes with only the models that have some."""
    there = np.unique(np.concatenate([votes.a, votes.b]))
    if len(there) == len(votes.models):
        return votes
    places = np.zeros(len(votes.models), dtype=np.int64)
    places[there] = np.arange(len(there))
    return replace(votes, models=tuple(votes.models[at] for at in there), a=places[votes.a], b=places[votes.b])


def read_votes(path: Path) -> Votes:
    """The votes of a file.

    Raises:
        BunbukuError: A column is missing, a winner is none, or a model is set against itself.
    """
    if path.suffix == ".parquet" and path.is_file():
        table = pq.read_table(path)
    else:
        rows = list(read_rows(path))
        table = pa.Table.from_pylist(rows) if rows else pa.table({})
    return votes_of(table, path)


def votes_of(table: pa.Table, path: Path | str) -> Votes:
    """The votes of a table that came from `path`.

    Raises:
        BunbukuError: A column is missing, a winner is none, or a model is set against itself.
    """
    if not table.num_rows:
        raise BunbukuError(f"{path} has no votes")
    for name in ("model_a", "model_b", "winner"):
        if name not in table.column_names:
            raise BunbukuError(f"{path} has no column {name!r}", hint=f"it has {', '.join(table.column_names)}")
        if table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py() + 1  # pyright: ignore[reportAttributeAccessIssue]
            raise BunbukuError(f"row {row} of {path} has no {name!r}", hint="mend the row, or take it out")
    models, a, b = _pair_codes(table["model_a"], table["model_b"])
    if (same := np.flatnonzero(a == b)).size:
        raise BunbukuError(f"row {same[0] + 1} of {path} sets {models[a[same[0]]]!r} against itself")
    voters, voter = _column(table, "voter")
    categories, category = _column(table, "category")
    style = _style(table) if {"answer_a", "answer_b"} <= set(table.column_names) else None
    return Votes(models, a, b, _outcomes(table["winner"], path), voters, voter, categories, category, style)


def style_of(text: str) -> tuple[float, ...]:
    r"""How much of each of `STYLES` an answer has: characters, headings, list items, bold passages.

    >>> style_of("# 題\n- **一**\n- 二")
    (15.0, 1.0, 2.0, 1.0)
    """
    return (float(len(text)), *(float(len(_MARKS[name].findall(text))) for name in STYLES[1:]))


def _style(table: pa.Table) -> NDArray[np.float64]:
    """(left - right) / (left + right + 1), as FastChat has it; there it is then centred, which sides must not be."""
    left, right = (
        np.array([style_of(str(text or "")) for text in table[name].to_pylist()]) for name in ("answer_a", "answer_b")
    )
    return (left - right) / (left + right + 1)


def _outcomes(column: Any, path: Path | str) -> NDArray[np.float64]:
    names, codes = _codes(column)
    for at, name in enumerate(names):
        if name not in SPELT:
            row = int(np.flatnonzero(codes == at)[0]) + 1
            raise BunbukuError(f"row {row} of {path} has the winner {name!r}", hint="a, b, tie or both_bad")
    return np.array([OUTCOMES[SPELT[name]] for name in names])[codes]


def _column(table: pa.Table, name: str) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    if name not in table.column_names:
        return (), None
    return _codes(table[name].cast(pa.string()).fill_null(""))


def _pair_codes(one: Any, other: Any) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Sorted names, and for both columns where each name stands among them."""
    (names_a, codes_a), (names_b, codes_b) = _codes(one), _codes(other)
    models = tuple(sorted({*names_a, *names_b}))
    places = {name: at for at, name in enumerate(models)}
    left, right = (np.array([places[name] for name in names], dtype=np.int64) for names in (names_a, names_b))
    return models, left[codes_a], right[codes_b]


def _codes(column: Any) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_dictionary(array.type):
        array = pc.dictionary_encode(array.cast(pa.string()))  # pyright: ignore[reportAttributeAccessIssue]
    names = tuple(array.dictionary.to_pylist())
    return names, array.indices.to_numpy(zero_copy_only=False).astype(np.int64)
