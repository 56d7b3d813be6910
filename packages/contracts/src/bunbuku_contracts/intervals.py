"""How far a share may be from the truth, given how little was looked at."""

import math
from typing import NamedTuple

Z_95 = 1.959963984540054
"""Standard deviations of a 95 % interval."""


class Interval(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


def wilson(hits: float, trials: float, *, z: float = Z_95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927, JASA 22:209), 95 % unless told otherwise; of no trials everything is possible.

    >>> [round(end, 3) for end in wilson(5, 10)], wilson(0, 10)
    ([0.237, 0.763], Interval(low=0.0, high=0.2775327998628892))
    """
    if not trials:
        return Interval(0.0, 1.0)
    share = hits / trials
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    middle, scale = share + z * z / (2 * trials), 1 + z * z / trials
    # At none and at all the ends are exact; rounding would leave the share outside.
    return Interval((middle - spread) / scale if hits > 0 else 0.0, (middle + spread) / scale if hits < trials else 1.0)
