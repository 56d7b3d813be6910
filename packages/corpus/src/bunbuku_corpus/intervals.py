"""How far a number of a sample may be from the truth, found by resampling."""

import math
from collections.abc import Callable

import numpy as np
from bunbuku_contracts.intervals import Interval
from numpy.typing import NDArray


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
