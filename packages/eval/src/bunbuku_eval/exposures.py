"""Facts with how often a corpus says them and how right a model is on them, and the exposure at which half are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

type Array = NDArray[np.float64]
MIN_FACTS = 8
LONGEST_STEP = 3.0
PENALTY = 1e-3
"""On the slope, so that facts which one exposure parts cleanly still have a slope."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact, asked of one model in one way."""

    key: tuple[str, str, str, str]
    id: str
    exposures: int
    strict: float
    lenient: float

    @property
    def row(self) -> dict[str, object]:
        named = dict(zip(("model", "task", "mode", "style"), self.key, strict=True))
        return {**named, "id": self.id, "exposures": self.exposures, "strict": self.strict, "lenient": self.lenient}


class Half(NamedTuple):
    """The exposure at which half of the facts are known, with its 95 % interval."""

    exposures: float
    low: float
    high: float


def half_known(facts: Sequence[Fact], *, rounds: int, seed: int) -> Half | None:
    """By logistic regression on log(1 + exposures), with a bootstrap over facts.

    `None` where it cannot be told: too few facts, all known or none, or knowledge that does not rise with exposure in more
    than a fortieth of the draws.
    """
    x = np.log1p(np.array([float(one.exposures) for one in facts]))
    y = np.array([one.lenient for one in facts])
    if len(facts) < MIN_FACTS or np.ptp(x) == 0 or y.min() >= 0.5 or y.max() < 0.5:
        return None
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(facts), np.full(len(facts), 1 / len(facts)), size=rounds).astype(float)
    whole, drawn = _half(np.ones((1, len(facts))), x, y)[0], _half(draws, x, y)
    if np.isnan(whole) or np.isnan(drawn).mean() > 1 / 40:
        return None
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    # The other ends of what was seen are all that can be said beyond it.
    most = float(np.expm1(x.max()))
    return Half(*(float(np.clip(np.expm1(one), 0.0, most)) for one in (whole, low, high)))


def _half(weights: Array, x: Array, y: Array, *, steps: int = 80) -> Array:
    """Where the curve is a half, for each row of weights (Newton's method on all rows at once); `nan` if it does not rise."""
    intercept, slope = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-np.clip(intercept[:, None] + slope[:, None] * x, -30, 30)))
        left = weights * (y - chance)
        bend = weights * chance * (1 - chance)
        first, second = left.sum(axis=1), left @ x - PENALTY * slope
        a, b, c = bend.sum(axis=1) + 1e-9, bend @ x, bend @ (x * x) + PENALTY
        size = a * c - b * b
        size = np.where(np.abs(size) < 1e-12, 1e-12, size)
        move = np.stack([(c * first - b * second) / size, (a * second - b * first) / size])
        # Far steps are shortened without turning, or the two would part.
        move *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.abs(move).max(axis=0), 1e-12))
        intercept += move[0]
        slope += move[1]
    return np.where(slope > 1e-6, -intercept / np.where(slope > 1e-6, slope, 1.0), np.nan)
