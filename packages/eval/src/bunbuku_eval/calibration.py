"""How a judge's ratings and votes read as those of people: its bias, and the line from one to the other.

Fitted on items that both judged; items are drawn again for intervals. A judge that is two points too kind can still be right
about which model is better; one whose ratings do not rise with people's cannot.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from bunbuku_contracts.intervals import Interval, wilson
from numpy.typing import NDArray

type Array = NDArray[np.float64]


class Calibration(NamedTuple):
    """From a judge's ratings to people's: `people = intercept + slope * judge`."""

    items: int
    bias: float
    """Judge less people, on average."""
    bias_interval: Interval
    intercept: float
    slope: float
    """1 where a point of the judge is a point of people; 0 where its ratings say nothing."""
    slope_interval: Interval
    error: float
    """Root mean square of what the line leaves."""

    def people(self, rating: float) -> float:
        """What people would have said, by the line."""
        return self.intercept + self.slope * rating


def calibrate(judge: Sequence[float], people: Sequence[float], *, seed: int = 0, rounds: int = 1000) -> Calibration:
    """The line from a judge's ratings to people's on the same items; undefined (`nan`) where the judge's do not vary.

    >>> found = calibrate([5.0, 7.0, 9.0, 10.0], [3.0, 5.0, 7.0, 8.0])
    >>> round(found.bias, 6), round(found.slope, 6), round(found.people(8.0), 6)
    (2.0, 1.0, 6.0)
    """
    x, y = np.asarray(judge, float), np.asarray(people, float)
    if len(x) < 2:
        missing = Interval(math.nan, math.nan)
        bias = float((x - y).mean()) if len(x) else math.nan
        return Calibration(len(x), bias, missing, math.nan, math.nan, missing, math.nan)
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(x), np.full(len(x), 1 / len(x)), size=rounds).astype(float)
    intercept, slope = (float(one[0]) for one in _line(np.ones((1, len(x))), x, y))
    drawn_bias = weights @ (x - y) / len(x)
    left = y - intercept - slope * x
    error = float(np.sqrt((left @ left) / len(x))) if not math.isnan(slope) else math.nan
    bias = float((x - y).mean())
    return Calibration(len(x), bias, _middle(drawn_bias), intercept, slope, _middle(_line(weights, x, y)[1]), error)


def _line(weights: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Intercept and slope by least squares under weights, a row each."""
    total = weights.sum(axis=1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    spread = weights @ (x * x) / total - mean_x**2
    slope = np.divide(
        weights @ (x * y) / total - mean_x * mean_y, spread, out=np.full(len(total), np.nan), where=spread > 1e-12
    )
    return mean_y - slope * mean_x, slope


def _middle(values: Array) -> Interval:
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(math.nan, math.nan)
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def believed(pairs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], tuple[float, Interval, int]]:
    """Of each verdict of a judge, how often people say each thing, with Wilson's interval and how often the judge says it.

    >>> believed([("a", "a"), ("a", "b"), ("b", "b")])["b", "b"][0]
    1.0
    """
    found: dict[tuple[str, str], tuple[float, Interval, int]] = {}
    for said in sorted({one for one, _ in pairs}):
        own = [people for judge, people in pairs if judge == said]
        for people in sorted({other for _, other in pairs}):
            count = own.count(people)
            found[said, people] = count / len(own), wilson(count, len(own)), len(own)
    return found
