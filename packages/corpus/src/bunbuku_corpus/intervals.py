"""How far a share may be from the truth, given how little was looked at."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Z_95 = 1.959963984540054


class Interval(NamedTuple):
    """The ends of a 95 % interval."""

    low: float
    high: float


def wilson(hits: float, trials: float) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927, JASA 22:209); of no trials everything is possible.

    >>> [round(end, 3) for end in wilson(5, 10)]
    [0.237, 0.763]
    """
    if not trials:
        return Interval(0.0, 1.0)
    share, squared = hits / trials, _Z_95**2
    spread = _Z_95 * math.sqrt(share * (1 - share) / trials + squared / (4 * trials**2))
    middle, scale = share + squared / (2 * trials), 1 + squared / trials
    # At none and at all the ends are exact; rounding would leave the share outside.
    return Interval((middle - spread) / scale if hits else 0.0, (middle + spread) / scale if hits < trials else 1.0)


def bootstrap(size: int, statistic: Callable[[NDArray[np.int64]], float], *, seed: int, rounds: int = 500) -> Interval:
    """The middle 95 % of a statistic of resampled items (Efron 1979, percentile method); rounds without one are left out.

    Args:
        size: Number of items.
        statistic: Of the items at these indices, each as often as it is there; `nan` if it has none.
        seed: Of the resampling.
        rounds: Number of resamplings.
    """
    random = np.random.default_rng(seed)
    values = np.array([statistic(random.integers(0, size, size)) for _ in range(rounds)])
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(math.nan, math.nan)
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))
