"""How far a number may be from the truth, given how little was measured.

An accuracy gets Wilson's interval. A ratio of sums over documents (bits over bytes) gets a bootstrap over documents, and
so does the difference of two such ratios on the same documents, which is far tighter than either alone.
"""

import math

import numpy as np
from bunbuku_contracts.intervals import Interval
from numpy.typing import NDArray


def bootstrap_ratio(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], *, seed: int, rounds: int = 1000
) -> Interval:
    """The middle 95 % of `sum(numerators) / sum(denominators)` over resampled items (Efron 1979, percentile method).

    Items are drawn with replacement, so an item's numerator and denominator stay together.
    """
    size = len(numerators)
    if size == 0:
        return Interval(math.nan, math.nan)
    random = np.random.default_rng(seed)
    ratios = np.empty(rounds)
    for index in range(rounds):
        times = np.bincount(random.integers(0, size, size), minlength=size)
        ratios[index] = (times @ numerators) / (times @ denominators)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Interval(float(low), float(high))
