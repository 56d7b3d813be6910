"""What a model is worth on a task, with how sure that is: bootstrap over questions, and spread over ways of asking.

A question asked in several phrasings and with several seeds is one observation: its answers hang together, so questions
are what is drawn again. Two models are compared on the same draws, which is far tighter than two intervals apart.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunbuku_eval.answers import Answered, Condition
from bunbuku_eval.intervals import Interval

type Measure = Literal["strict", "lenient", "format_ok", "degenerate", "parity"]
type Array = NDArray[np.float64]

MEASURES: tuple[Measure, ...] = ("strict", "lenient", "format_ok", "degenerate", "parity")


class Estimate(NamedTuple):
    """A number and its 95 % interval; `nan` where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Grid:
    """The answers of one model to one task in one mode and style: questions down, ways of asking across."""

    ids: tuple[str, ...]
    ways: tuple[Condition, ...]
    answered: tuple[tuple[Answered | None, ...], ...]
    correlated: bool

    @classmethod
    def of(cls, answered: Sequence[Answered], *, correlated: bool) -> "Grid":
        ids = tuple(dict.fromkeys(one.question.id for one in answered))
        ways = tuple(dict.fromkeys(one.condition for one in answered))
        found = {(one.question.id, one.condition): one for one in answered}
        rows = tuple(tuple(found.get((id, way)) for way in ways) for id in ids)
        return cls(ids, ways, rows, correlated)

    @property
    def answers(self) -> list[Answered]:
        return [one for row in self.answered for one in row if one is not None]

    @property
    def failed(self) -> int:
        return sum(one.marks is None for one in self.answers)

    def values(self, measure: Measure) -> Array:
        """A number a question and way; `nan` where no answer came back."""
        return np.array([[_value(one, measure, self.correlated) for one in row] for row in self.answered], float)

    @property
    def gold(self) -> Array:
        """The right numbers, for tasks scored by a correlation."""
        return np.array([float(next(one for one in row if one).question.gold[0]) for row in self.answered])

    def statistic(self, measure: Measure) -> Callable[[Array], Array]:
        """From weights of the questions, a row a draw, to the measure under each draw."""
        values = self.values(measure)
        if self.correlated and measure in ("strict", "lenient", "parity"):
            gold = self.gold
            return lambda weights: _mean([_correlations(weights, column, gold) for column in values.T])
        return lambda weights: _means(weights, values)

    def only(self, keep: Callable[[Answered], bool]) -> "Grid":
        """The questions of which an answer passes."""
        rows = [(id, row) for id, row in zip(self.ids, self.answered, strict=True) if any(o and keep(o) for o in row)]
        return Grid(tuple(id for id, _ in rows), self.ways, tuple(row for _, row in rows), self.correlated)


def estimate(grid: Grid, measure: Measure, *, rounds: int, seed: int) -> Estimate:
    """The measure with the middle 95 % of its bootstrap over questions."""
    if not grid.ids:
        return Estimate(math.nan, math.nan, math.nan)
    statistic = grid.statistic(measure)
    value = float(statistic(np.ones((1, len(grid.ids))))[0])
    if math.isnan(value):
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, *_middle(statistic(draws(len(grid.ids), rounds=rounds, seed=seed))))


class Spread(NamedTuple):
    """By how much the lenient score differs between phrasings, and between seeds: highest less lowest."""

    phrasings: float
    seeds: float


def spread(grid: Grid, measure: Measure = "lenient") -> Spread:
    """How much the ways of asking matter."""
    whole = np.ones((1, len(grid.ids)))

    def range_over(key: Callable[[Condition], object]) -> float:
        groups: dict[object, list[int]] = defaultdict(list)
        for at, way in enumerate(grid.ways):
            groups[key(way)].append(at)
        found = [
            float(
                Grid(
                    grid.ids,
                    tuple(grid.ways[at] for at in places),
                    tuple(tuple(row[at] for at in places) for row in grid.answered),
                    grid.correlated,
                ).statistic(measure)(whole)[0]
            )
            for places in groups.values()
        ]
        return max(found) - min(found) if found and not any(map(math.isnan, found)) else math.nan

    return Spread(range_over(lambda way: way.phrasing), range_over(lambda way: way.seed))


class Comparison(NamedTuple):
    """One model less another on the same questions."""

    difference: Estimate
    better: int
    """Questions that only the first gets right."""
    worse: int
    """Questions that only the other gets right."""

    @property
    def sure(self) -> bool:
        return self.difference.low > 0 or self.difference.high < 0


def compare(one: Grid, other: Grid, measure: Measure = "lenient", *, rounds: int, seed: int) -> Comparison:
    """`one` less `other`, with a bootstrap over the questions they share, drawn alike for both."""
    shared = set(one.ids) & set(other.ids)
    one, other = (_ordered(grid, shared) for grid in (one, other))
    if not shared:
        return Comparison(Estimate(math.nan, math.nan, math.nan), 0, 0)
    ours, theirs = one.statistic(measure), other.statistic(measure)
    whole, drawn = np.ones((1, len(one.ids))), draws(len(one.ids), rounds=rounds, seed=seed)
    value = float((ours(whole) - theirs(whole))[0])
    middle = _middle(ours(drawn) - theirs(drawn)) if not math.isnan(value) else Interval(math.nan, math.nan)
    moves = [_move(a, b) for a, b in zip(one.answered, other.answered, strict=True)]
    return Comparison(Estimate(value, *middle), moves.count(1), moves.count(-1))


def flipped(one: Sequence[Answered | None], other: Sequence[Answered | None]) -> bool:
    """Whether a question that one model gets right is wrong with the other."""
    return _move(one, other) != 0


def draws(size: int, *, rounds: int, seed: int) -> Array:
    """How often each of `size` things is drawn, a row a round."""
    random = np.random.default_rng(seed)
    return random.multinomial(size, np.full(size, 1 / size), size=rounds).astype(float)


def grids(answered: Iterable[Answered], correlated: Callable[[str], bool]) -> dict[tuple[str, str, str, str], Grid]:
    """A grid a model, task, mode and style, in the order of the answers."""
    groups: dict[tuple[str, str, str, str], list[Answered]] = defaultdict(list)
    for one in answered:
        way = one.condition
        groups[way.model, way.task, way.mode, way.style].append(one)
    return {key: Grid.of(group, correlated=correlated(key[1])) for key, group in groups.items()}


def _value(one: Answered | None, measure: Measure, correlated: bool) -> float:
    if one is None or one.marks is None:
        return math.nan
    if correlated and measure in ("strict", "parity"):
        return one.marks.strict_value
    if correlated and measure == "lenient":
        return one.marks.lenient_value
    return float(getattr(one.marks, measure))


def _means(weights: Array, values: Array) -> Array:
    """Weighted means over questions of their means over ways; a question without an answer is left out."""
    there = ~np.isnan(values)
    counts = there.sum(axis=1)
    means = np.where(there, values, 0.0).sum(axis=1) / np.maximum(counts, 1)
    weights = weights * (counts > 0)
    total = weights.sum(axis=1)
    return np.divide(weights @ means, total, out=np.full(len(total), np.nan), where=total > 0)


def _correlations(weights: Array, values: Array, gold: Array) -> Array:
    """Pearson's correlation under weights, a row each; `nan` where a side is constant or has fewer than two points."""
    there = ~np.isnan(values)
    weights, x, y = weights[:, there], values[there], gold[there]
    total = weights.sum(axis=1)
    safe = np.where(total > 0, total, 1.0)
    mean_x, mean_y = weights @ x / safe, weights @ y / safe
    variance_x = weights @ (x * x) / safe - mean_x**2
    variance_y = weights @ (y * y) / safe - mean_y**2
    covariance = weights @ (x * y) / safe - mean_x * mean_y
    size = np.sqrt(np.maximum(variance_x, 0) * np.maximum(variance_y, 0))
    return np.divide(covariance, size, out=np.full(len(total), np.nan), where=size > 1e-12)


def _mean(rows: Sequence[Array]) -> Array:
    return np.mean(np.stack(rows), axis=0)


def _middle(values: Array) -> Interval:
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(math.nan, math.nan)
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def _ordered(grid: Grid, ids: set[str]) -> Grid:
    rows = sorted(
        ((id, row) for id, row in zip(grid.ids, grid.answered, strict=True) if id in ids), key=lambda one: one[0]
    )
    return Grid(tuple(id for id, _ in rows), grid.ways, tuple(row for _, row in rows), grid.correlated)


def _move(one: Sequence[Answered | None], other: Sequence[Answered | None]) -> int:
    """1 if only the first is right on most ways of asking, -1 if only the other is."""
    ours, theirs = _right(one), _right(other)
    return 0 if ours is None or theirs is None else int(ours) - int(theirs)


def _right(row: Sequence[Answered | None]) -> bool | None:
    found = [one.marks.lenient for one in row if one is not None and one.marks is not None]
    return sum(found) / len(found) > 0.5 if found else None
