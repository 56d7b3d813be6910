"""How far a number may be from the truth, given how little was measured.

An accuracy gets Wilson's interval. A ratio of sums over documents (bits over bytes) gets a bootstrap over documents, and
so does the difference of two such ratios on the same documents, which is far tighter than either alone.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054


class Interval(NamedTuple):
    low: float
    high: float


def wilson(successes: float, trials: int, *, z: float = Z_95) -> Interval:
    """Wilson's score interval for a proportion (Wilson 1927, JASA 22:209), 95 % unless told otherwise.

    >>> wilson(0, 10)
    Interval(low=0.0, high=0.2775327998628892)
    """
    if trials == 0:
        return Interval(0.0, 1.0)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At none and all the ends are exact, where rounding would leave the share itself just outside.
    low = (centre - spread) / scale if successes > 0 else 0.0
    high = (centre + spread) / scale if successes < trials else 1.0
    return Interval(low, high)


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
