"""What a model is worth on a task, with how sure that is: bootstrap over questions, and spread over ways of asking.

A question asked in several phrasings and with several seeds is one observation: its answers hang together, so questions
are what is drawn again. Two models are compared on the same draws, which is far tighter than two intervals apart.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from bunbuku_contracts.intervals import Interval
from numpy.typing import NDArray

from bunbuku_eval.answers import Answered, Condition
from bunbuku_eval.metrics import bleu_counts, bleu_of
from bunbuku_eval.tasks.jhumaneval import pass_at_k
from bunbuku_eval.tasks.task import Metric

type Measure = Literal["strict", "lenient", "format_ok", "degenerate", "parity"]
type Array = NDArray[np.float64]

MEASURES: tuple[Measure, ...] = ("strict", "lenient", "format_ok", "degenerate", "parity")
TEXT_MEASURES = ("strict", "lenient", "parity")
CORRELATIONS = ("pearson", "spearman")


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
    metric: Metric = "exact_match"
    tokenize: str = "char"
    """How sacrebleu cuts words, where the metric is BLEU."""

    @classmethod
    def of(cls, answered: Sequence[Answered], *, metric: Metric = "exact_match", tokenize: str = "char") -> "Grid":
        ids = tuple(dict.fromkeys(one.question.id for one in answered))
        ways = tuple(dict.fromkeys(one.condition for one in answered))
        found = {(one.question.id, one.condition): one for one in answered}
        rows = tuple(tuple(found.get((id, way)) for way in ways) for id in ids)
        return cls(ids, ways, rows, metric, tokenize)

    @property
    def answers(self) -> list[Answered]:
        return [one for row in self.answered for one in row if one is not None]

    @property
    def failed(self) -> int:
        return sum(one.marks is None for one in self.answers)

    def values(self, measure: Measure) -> Array:
        """A number a question and way; `nan` where no answer came back."""
        correlated = self.metric in CORRELATIONS
        return np.array([[_value(one, measure, correlated) for one in row] for row in self.answered], float)

    @property
    def gold(self) -> Array:
        """The right numbers, for tasks scored by a correlation."""
        return np.array([float(next(one for one in row if one).question.gold[0]) for row in self.answered])

    def statistic(self, measure: Measure) -> Callable[[Array], Array]:
        """From weights of the questions, a row a draw, to the measure under each draw."""
        values = self.values(measure)
        if self.metric in CORRELATIONS and measure in TEXT_MEASURES:
            gold, ranked = self.gold, self.metric == "spearman"
            return lambda weights: _mean([_correlations(weights, column, gold, ranked=ranked) for column in values.T])
        if self.metric == "bleu" and measure in ("strict", "lenient"):
            counts = self._ngrams(measure)
            return lambda weights: _mean([bleu_of(weights @ column) / 100 for column in counts])
        return lambda weights: _means(weights, values)

    def _ngrams(self, measure: Measure) -> list[Array]:
        """What corpus BLEU adds up, a row a question, for each way of asking."""
        return [
            bleu_counts(
                [("" if one is None or one.marks is None else text_of(one, measure)) for one in column],
                [() if one is None or one.marks is None else one.question.gold for one in column],
                tokenize=self.tokenize,
            )
            for column in zip(*self.answered, strict=True)
        ]

    def only(self, keep: Callable[[Answered], bool]) -> "Grid":
        """The questions of which an answer passes."""
        rows = [(id, row) for id, row in zip(self.ids, self.answered, strict=True) if any(o and keep(o) for o in row)]
        return replace(self, ids=tuple(id for id, _ in rows), answered=tuple(row for _, row in rows))

    def ways_at(self, places: Sequence[int]) -> "Grid":
        """Some of the ways of asking."""
        return replace(
            self,
            ways=tuple(self.ways[at] for at in places),
            answered=tuple(tuple(row[at] for at in places) for row in self.answered),
        )


def text_of(one: Answered, measure: Measure) -> str:
    """The text that a measure reads: the output, if it keeps to the form, or what was understood."""
    marks = one.marks
    if marks is None:
        return ""
    if measure == "parity":
        return one.output
    if marks.flags:
        return ""
    if measure == "lenient":
        return marks.understood or (one.output if marks.format_ok else "")
    return one.output if marks.format_ok else ""


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
    """By how much a score differs between phrasings, and between seeds: highest less lowest, with its interval."""

    phrasings: Estimate
    seeds: Estimate


def spread(grid: Grid, measure: Measure = "lenient", *, rounds: int, seed: int) -> Spread:
    """How much the ways of asking matter; the same questions are drawn for all ways."""
    weights = np.vstack([np.ones((1, len(grid.ids))), draws(len(grid.ids), rounds=rounds, seed=seed)])

    def range_over(key: Callable[[Condition], object]) -> Estimate:
        groups: dict[object, list[int]] = defaultdict(list)
        for at, way in enumerate(grid.ways):
            groups[key(way)].append(at)
        if not groups:
            return Estimate(math.nan, math.nan, math.nan)
        found = np.stack([grid.ways_at(places).statistic(measure)(weights) for places in groups.values()])
        ranges = found.max(axis=0) - found.min(axis=0)
        return Estimate(float(ranges[0]), *_middle(ranges[1:]))

    return Spread(range_over(lambda way: way.phrasing), range_over(lambda way: way.seed))


def pass_at(grid: Grid, k: int, *, rounds: int, seed: int) -> Estimate:
    """The chance that one of `k` draws is right, strictly, without bias, over the questions with `k` answers or more."""
    values = grid.values("strict")
    found: list[float] = []
    for row in values:
        there = row[~np.isnan(row)]
        if len(there) >= k:
            found.append(pass_at_k(len(there), int((there == 1).sum()), k))
    if not found:
        return Estimate(math.nan, math.nan, math.nan)
    means = np.array(found)
    return Estimate(float(means.mean()), *_middle(draws(len(means), rounds=rounds, seed=seed) @ means / len(means)))


def consistency(grid: Grid, *, rounds: int, seed: int) -> Estimate:
    """How far the answers to a question are the same in all ways of asking: 1 if all are, 0.5 if more than half are."""
    found: list[float] = []
    for row in grid.answered:
        said = [one.marks.understood for one in row if one is not None and one.marks is not None]
        if len(said) < 2:
            continue
        most = max(Counter(one for one in said if one is not None).values(), default=0)
        found.append(1.0 if most == len(said) else 0.5 if most > len(said) / 2 else 0.0)
    if not found:
        return Estimate(math.nan, math.nan, math.nan)
    values = np.array(found)
    return Estimate(float(values.mean()), *_middle(draws(len(values), rounds=rounds, seed=seed) @ values / len(values)))


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


def grids(
    answered: Iterable[Answered], metrics: Mapping[str, tuple[Metric, str]]
) -> dict[tuple[str, str, str, str], Grid]:
    """A grid a model, task, mode and style, in the order of the answers; `metrics` has each task's metric and tokenizer."""
    groups: dict[tuple[str, str, str, str], list[Answered]] = defaultdict(list)
    for one in answered:
        way = one.condition
        groups[way.model, way.task, way.mode, way.style].append(one)
    found = {}
    for key, group in groups.items():
        metric, tokenize = metrics[key[1]]
        found[key] = Grid.of(group, metric=metric, tokenize=tokenize)
    return found


def _value(one: Answered | None, measure: Measure, correlated: bool) -> float:
    if one is None or one.marks is None:
        return math.nan
    if correlated and measure == "parity":
        return one.marks.parity_value
    if correlated and measure == "strict":
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


def _correlations(weights: Array, values: Array, gold: Array, *, ranked: bool) -> Array:
    """Correlations under weights, a row each, of values or their ranks; `nan` for a constant side or fewer than two."""
    there = ~np.isnan(values)
    weights, x, y = weights[:, there], values[there], gold[there]
    if ranked:
        x, y = _ranks(weights, x), _ranks(weights, y)
    total = weights.sum(axis=1)
    safe = np.where(total > 0, total, 1.0)[:, None]
    x = x - (weights * x).sum(axis=1, keepdims=True) / safe
    y = y - (weights * y).sum(axis=1, keepdims=True) / safe
    size = np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))
    return np.divide((weights * x * y).sum(axis=1), size, out=np.full(len(total), np.nan), where=size > 1e-12)


def _ranks(weights: Array, values: Array) -> Array:
    """The mean rank of each value among all that are drawn, a row a draw; one that is drawn twice stands there twice."""
    if not len(values):
        return np.zeros_like(weights)
    distinct, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(distinct)))
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)
    middles = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    return middles[:, place]


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
    return replace(grid, ids=tuple(id for id, _ in rows), answered=tuple(row for _, row in rows))


def _move(one: Sequence[Answered | None], other: Sequence[Answered | None]) -> int:
    """1 if only the first is right on most ways of asking, -1 if only the other is."""
    ours, theirs = _right(one), _right(other)
    return 0 if ours is None or theirs is None else int(ours) - int(theirs)


def _right(row: Sequence[Answered | None]) -> bool | None:
    found = [one.marks.lenient for one in row if one is not None and one.marks is not None]
    return sum(found) / len(found) > 0.5 if found else None
