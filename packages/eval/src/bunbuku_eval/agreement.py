"""How far two series of verdicts on the same things agree."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from bunbuku_contracts.intervals import Interval, wilson

from bunbuku_eval.metrics import spearman


class Agreement(NamedTuple):
    """Of two judges, or of one with itself."""

    items: int
    exact: float
    interval: Interval
    """Wilson's, of `exact`."""
    within_one: float
    """Share of ratings that are at most one apart; `nan` for verdicts that are no numbers."""
    kappa: float
    """Cohen's: agreement beyond what their habits alone give (Cohen 1960)."""


def agreement(pairs: Sequence[tuple[Hashable, Hashable]]) -> Agreement:
    """Agreement of verdicts in pairs.

    >>> found = agreement([("a", "a"), ("b", "b"), ("a", "b"), ("b", "b")])
    >>> found.exact, found.kappa
    (0.75, 0.5)
    """
    if not pairs:
        return Agreement(0, math.nan, Interval(math.nan, math.nan), math.nan, math.nan)
    total = len(pairs)
    same = sum(one == other for one, other in pairs)
    numbers = [(one, other) for one, other in pairs if isinstance(one, float) and isinstance(other, float)]
    near = fmean(abs(one - other) <= 1 for one, other in numbers) if numbers else math.nan
    ours, theirs = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    habit = sum(ours[value] * theirs[value] for value in ours) / total**2
    kappa = (same / total - habit) / (1 - habit) if habit < 1 else math.nan
    return Agreement(total, same / total, wilson(same, total), near, kappa)


def rank_agreement(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Spearman's correlation over the models both have; undefined for fewer than two."""
    shared = sorted(set(one) & set(other))
    return spearman([one[name] for name in shared], [other[name] for name in shared])
