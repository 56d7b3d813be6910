"""Ratings from votes: Bradley–Terry with ties, by Newton's method, with bootstrap and sandwich intervals.

The chance that i beats j is the logistic function of `strength[i] - strength[j]` (Bradley and Terry 1952). A tie is half
a win to each, as FastChat has it, or an outcome of its own (Davidson 1970, JASA 65:317). Strengths sum to 0: only their
differences mean anything. What style an answer has, and on which side it stands, can be estimated beside them, so that a
rating says what would be if answers were alike in that.

The likelihood needs only how often each outcome of each pair occurred; all bootstrap draws are fitted at once, as one
stack of small matrices, each from the estimate on the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray

from bunbuku_eval.votes import STYLES, Votes

# Shapes: B draws, M models, D parameters, P distinct outcomes of pairs, N votes, V voters
type Array = NDArray[np.float64]

ELO_SCALE = float(400 / np.log(10))
ELO_CENTRE = 1000.0
RIDGE = 1e-9
"""Keeps a model that never lost finite; shifts no other by anything that can be seen."""
MAX_ROUNDS = 100
MAX_STEP = 3.0
TOLERANCE = 1e-10


class Rating(NamedTuple):
    """One model."""

    model: str
    strength: float
    """Log odds against the mean model."""
    sandwich: tuple[float, float]
    bootstrap: tuple[float, float]
    votes: int
    bounded: bool
    """Whether both better and worse models are known; if not, its strength has no end but by the votes' number."""

    @property
    def elo(self) -> float:
        return elo(self.strength)


@dataclass(frozen=True)
class Ratings:
    """All models, the strongest first, and what was estimated beside them."""

    rows: tuple[Rating, ...]
    effects: dict[str, tuple[float, float, float]]
    """Of style, side and ties, each with its 95 % sandwich interval, in log odds."""
    draws: Array
    """Strengths under each bootstrap draw, by the models' sorted names."""


def elo(strength: float) -> float:
    """A strength on the scale of chess: 1000 is the mean model, 400 more are ten to one.

    >>> elo(0.0), round(elo(float(np.log(10))))
    (1000.0, 1400)
    """
    return ELO_CENTRE + ELO_SCALE * strength


def rate(
    votes: Votes,
    *,
    ties: Literal["half", "davidson"] = "half",
    style: bool = False,
    side: bool = False,
    rounds: int = 100,
    seed: int = 0,
) -> Ratings:
    """Ratings of all models with 95 % intervals.

    Args:
        votes: With at least two models.
        ties: What a tie is.
        style: Estimate what length, headings, lists and bold passages are worth, and rate without them.
        side: Estimate what standing on the left is worth.
        rounds: Bootstrap draws of the votes.
        seed: Of the draws.
    """
    if len(votes.models) < 2 or not len(votes):
        raise BunbukuError(f"{len(votes)} votes on {len(votes.models)} models rate nothing")
    if style and votes.style is None:
        raise BunbukuError(
            "style is controlled by the answers, and the votes have none", hint="give answer_a, answer_b"
        )
    if ties == "half" and not style and not side:
        strengths, draws, variance = _plain(votes, rounds, seed)
        effects: dict[str, tuple[float, float, float]] = {}
    else:
        strengths, draws, variance, effects = _general(
            votes, ties=ties, style=style, side=side, rounds=rounds, seed=seed
        )
    error = np.sqrt(np.maximum(variance, 0)) * _quantile(votes)
    low, high = _middle(draws)
    counts = np.bincount(np.concatenate([votes.a, votes.b]), minlength=len(votes.models))
    bounded = _bounded(votes)
    rows = [
        Rating(
            name,
            float(strengths[at]),
            (float(strengths[at] - error[at]), float(strengths[at] + error[at])),
            (float(low[at]), float(high[at])),
            int(counts[at]),
            bool(bounded[at]),
        )
        for at, name in enumerate(votes.models)
    ]
    return Ratings(tuple(sorted(rows, key=lambda row: (-row.strength, row.model))), effects, draws)


def bradley_terry(wins: Array, *, start: Array | None = None) -> Array:
    """Strengths that make the wins likeliest: `wins[..., i, j]` of i over j, a tie half to each.

    >>> bradley_terry(np.array([[0.0, 3.0], [1.0, 0.0]])).round(4).tolist()  # log 3 apart
    [0.5493, -0.5493]
    """
    size = wins.shape[-1]
    played = wins + np.swapaxes(wins, -1, -2)
    won = wins.sum(axis=-1)
    diagonal = np.arange(size)
    strengths = np.zeros(wins.shape[:-1]) if start is None else np.broadcast_to(start, wins.shape[:-1]).copy()
    for _ in range(MAX_ROUNDS):
        chance = _logistic(strengths[..., :, None] - strengths[..., None, :])
        expected = played * chance
        gradient = won - expected.sum(axis=-1) - RIDGE * strengths
        weight = expected * (1 - chance)
        # The same added everywhere fixes the sum of strengths, which the votes leave open.
        curvature = 1.0 / size - weight
        curvature[..., diagonal, diagonal] += weight.sum(axis=-1) + RIDGE
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        largest = np.abs(step).max(axis=-1, keepdims=True)
        strengths = strengths + step * np.minimum(1.0, MAX_STEP / np.maximum(largest, 1e-300))
        if largest.max() < TOLERANCE:
            break
    return strengths - strengths.mean(axis=-1, keepdims=True)


def _plain(votes: Votes, rounds: int, seed: int) -> tuple[Array, Array, Array]:
    """Strengths, their draws, and their variances, where models alone are estimated."""
    size = len(votes.models)
    # Who stood on the left makes no difference here, and half as many cells are drawn twice as fast.
    swapped = votes.a > votes.b
    pair = np.where(swapped, votes.b * size + votes.a, votes.a * size + votes.b)
    cell = pair * 3 + (2 * np.where(swapped, 1 - votes.outcome, votes.outcome)).astype(np.int64)
    counts = np.bincount(cell, minlength=size * size * 3)
    there = np.flatnonzero(counts)
    strengths = bradley_terry(_wins(counts[there][None].astype(float), there, size)[0])
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(votes), counts[there] / len(votes), size=rounds).astype(float)
    draws = bradley_terry(_wins(drawn, there, size), start=strengths) if rounds else np.empty((0, size))
    return strengths, draws, _sandwich(votes, strengths)


def _wins(counts: Array, cells: NDArray[np.int64], size: int) -> Array:
    """Counts [B, P] of outcomes as wins [B, M, M]."""
    pair, outcome = np.divmod(cells, 3)
    a, b = np.divmod(pair, size)
    wins = np.zeros((len(counts), size * size))
    share = outcome / 2
    # A cell is there once for each outcome of a pair: within one outcome no place repeats.
    for value in range(3):
        some = outcome == value
        wins[:, a[some] * size + b[some]] += counts[:, some] * share[some]
        wins[:, b[some] * size + a[some]] += counts[:, some] * (1 - share[some])
    return wins.reshape(-1, size, size)


def _sandwich(votes: Votes, strengths: Array) -> Array:
    """Variances of the strengths that hold even where the model does not (Huber 1967; White 1982), by voter if known."""
    size = len(strengths)
    chance = _logistic(strengths[votes.a] - strengths[votes.b])
    weight = np.bincount(votes.a * size + votes.b, chance * (1 - chance), size * size).reshape(size, size)
    weight = weight + weight.T
    inverse = np.linalg.inv(np.diag(weight.sum(axis=1) + RIDGE) - weight + 1.0 / size)
    residual = votes.outcome - chance
    if votes.voter is None:
        square = np.bincount(votes.a * size + votes.b, residual**2, size * size).reshape(size, size)
        square = square + square.T
        meat = np.diag(square.sum(axis=1)) - square
    else:
        groups = len(votes.voters)
        scores = np.bincount(votes.voter * size + votes.a, residual, groups * size)
        scores = (scores - np.bincount(votes.voter * size + votes.b, residual, groups * size)).reshape(groups, size)
        meat = scores.T @ scores * _small(votes)
    return np.diag(inverse @ meat @ inverse)


def _general(
    votes: Votes, *, ties: str, style: bool, side: bool, rounds: int, seed: int
) -> tuple[Array, Array, Array, dict[str, tuple[float, float, float]]]:
    """The same with effects beside the models, vote by vote."""
    size, count = len(votes.models), len(votes)
    names: list[str] = []
    design = np.zeros((count, size))
    design[np.arange(count), votes.a] = 1.0
    design[np.arange(count), votes.b] = -1.0
    if style and votes.style is not None:
        spread = np.sqrt((votes.style**2).mean(axis=0))
        known = spread > 0
        design = np.hstack([design, votes.style[:, known] / spread[known]])
        names += [name for name, there in zip(STYLES, known, strict=True) if there]
    if side:
        design = np.hstack([design, np.ones((count, 1))])
        names.append("left side")
    davidson = ties == "davidson" and bool((votes.outcome == 0.5).any())
    names += ["tie"] * davidson
    values, curvature, scores = _newton(design, votes.outcome, np.ones(count), size=size, davidson=davidson)
    random = np.random.default_rng(seed)
    draws = np.empty((rounds, size))
    for at in range(rounds):
        weights = np.bincount(random.integers(0, count, count), minlength=count).astype(float)
        drawn = _newton(design, votes.outcome, weights, size=size, davidson=davidson, start=values)[0]
        draws[at] = drawn[:size] - drawn[:size].mean()
    inverse = np.linalg.inv(curvature)
    if votes.voter is not None:
        grouped = np.zeros((len(votes.voters), scores.shape[1]))
        np.add.at(grouped, votes.voter, scores)
        meat = grouped.T @ grouped * _small(votes)
    else:
        meat = scores.T @ scores
    covariance = inverse @ meat @ inverse
    error = np.sqrt(np.maximum(np.diag(covariance), 0)) * _quantile(votes)
    effects = {
        name: (float(values[at]), float(values[at] - error[at]), float(values[at] + error[at]))
        for at, name in enumerate(names, start=size)
    }
    return values[:size] - values[:size].mean(), draws, np.diag(covariance)[:size], effects


class _Fit(NamedTuple):
    values: Array
    curvature: Array
    scores: Array


def _newton(
    design: Array, outcome: Array, weights: Array, *, size: int, davidson: bool, start: Array | None = None
) -> _Fit:
    """Parameters, curvature and each vote's score.

    Davidson's model is a choice of three by linear forms: half the difference for a win, minus that for a loss, and one
    constant for a tie; without it, a tie is half a win and half a loss of the logistic model.
    """
    count = design.shape[1]
    if davidson:
        design = np.hstack([design, np.zeros((len(design), 1))])
    values = np.zeros(count + davidson) if start is None else start.copy()
    fixed = np.zeros((count + davidson,) * 2)
    fixed[:size, :size] = 1.0 / size
    fixed[np.diag_indices(count + davidson)] += RIDGE
    for _ in range(MAX_ROUNDS):
        margin = design @ values
        if davidson:
            scores, curvature = _davidson(design, outcome, weights, margin, float(values[-1]))
        else:
            chance = _logistic(margin)
            scores = (outcome - chance)[:, None] * design
            curvature = (design * (weights * chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(curvature + fixed, weights @ scores - RIDGE * values)
        largest = float(np.abs(step).max())
        values = values + step * min(1.0, MAX_STEP / max(largest, 1e-300))
        if largest < TOLERANCE:
            break
    return _Fit(values, curvature + fixed, scores)  # pyright: ignore[reportPossiblyUnboundVariable]


def _davidson(design: Array, outcome: Array, weights: Array, margin: Array, tie: float) -> tuple[Array, Array]:
    logits = np.stack([margin / 2, np.full_like(margin, tie), -margin / 2])
    chances = np.exp(logits - logits.max(axis=0))
    win, even, loss = chances / chances.sum(axis=0)
    said = np.where(outcome == 1, 0.5, np.where(outcome == 0, -0.5, 0.0))
    expected = (win - loss) / 2
    variance = (win + loss) / 4 - expected**2
    scores = (said - expected)[:, None] * design
    scores[:, -1] = (outcome == 0.5) - even
    curvature = (design * (weights * variance)[:, None]).T @ design
    curvature[:, -1] = design.T @ (weights * -expected * even)
    curvature[-1, :] = curvature[:, -1]
    curvature[-1, -1] = float(weights @ (even * (1 - even)))
    return scores, curvature


def _middle(draws: Array) -> tuple[Array, Array]:
    """The middle 95 % of draws; by order statistics of one more than there are, or few draws would say too little."""
    if not len(draws):
        empty = np.full(draws.shape[1], np.nan)
        return empty, empty
    low, high = np.quantile(draws, [0.025, 0.975], axis=0, method="weibull")
    return low, high


def _bounded(votes: Votes) -> NDArray[np.bool_]:
    """Which models are in the largest group whose members all beat each other, if by way of others (Ford 1957)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    size = len(votes.models)
    left, right = votes.a * size + votes.b, votes.b * size + votes.a
    beaten = np.bincount(left, votes.outcome, size * size) + np.bincount(right, 1 - votes.outcome, size * size)
    graph = csr_array(beaten.reshape(size, size))
    _, group = connected_components(graph, directed=True, connection="strong")
    sizes = np.bincount(group)
    return (group == sizes.argmax()) & (sizes.max() > 1)


def _small(votes: Votes) -> float:
    """The correction for few voters."""
    groups = len(np.unique(votes.voter)) if votes.voter is not None else len(votes)
    return groups / max(groups - 1, 1)


def _quantile(votes: Votes) -> float:
    """97.5 % of Student's distribution: by voters if they are known, else by votes."""
    from scipy.stats import t as student

    groups = len(np.unique(votes.voter)) if votes.voter is not None else len(votes)
    return float(student.ppf(0.975, max(groups - 1, 1)))


def ranks(ratings: Ratings) -> Sequence[int]:
    """For each row the best place its interval leaves it: one more than the models that are surely better."""
    return [1 + sum(other.sandwich[0] > row.sandwich[1] for other in ratings.rows) for row in ratings.rows]


def _logistic(margin: Array) -> Array:
    """The chance that goes with a difference of strengths. SciPy is slow to import, so only what rates waits for it."""
    from scipy.special import expit

    return expit(margin)
