"""How several checkpoints become one: pure functions of one tensor from each, in float32 or better.

Most speak of deltas: what a model has beyond the base that all were trained from.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from bunbuku_contracts import Config, ConfigError
from pydantic import Field, NonNegativeInt, model_validator

type Density = Annotated[float, Field(gt=0, le=1)]


class _Weighted(Config):
    weights: dict[str, float] | None = None
    """By the name a model is given on the command line; left out, 1 for each."""

    def of(self, names: Sequence[str]) -> list[float]:
        """The weights of these models in this order."""
        if self.weights is None:
            return [1.0] * len(names)
        if set(self.weights) != set(names):
            raise ConfigError(
                f"`method.weights` names {sorted(self.weights)}, but the models are {sorted(names)}",
                hint="give each model's name a weight",
            )
        return [self.weights[name] for name in names]


class _OfDeltas(_Weighted):
    scale: float = 1.0
    """λ, with which what is added to the base is multiplied."""


class Linear(_Weighted):
    """The weighted mean of the weights (model soups, Wortsman et al. 2022, arXiv:2203.05482)."""

    type: Literal["linear"] = "linear"

    @model_validator(mode="after")
    def _sums_to_something(self) -> Self:
        if self.weights is not None and abs(sum(self.weights.values())) < 1e-8:
            raise ValueError(f"`weights` sum to nothing: {self.weights}")
        return self


class Slerp(Config):
    """On the great circle between two models, tensor by tensor: the first at `t` 0, the second at 1 (Shoemake 1985).

    Tensors that point the same way, or against each other, are interpolated along the straight line.
    """

    type: Literal["slerp"] = "slerp"
    t: Annotated[float, Field(ge=0, le=1)] = 0.5


class TaskArithmetic(_OfDeltas):
    """Base plus the weighted sum of deltas (Ilharco et al. 2022, arXiv:2212.04089)."""

    type: Literal["task_arithmetic"] = "task_arithmetic"


class Ties(_OfDeltas):
    """Trim, elect signs, merge (Yadav et al. 2023, arXiv:2306.01708).

    Of each delta the `density` largest values stay; of each weight the sign wins that has more mass; the mean is over the
    models that agree with it.
    """

    type: Literal["ties"] = "ties"
    density: Density = 0.5


class Dare(_OfDeltas):
    """Drop values of deltas at random and make up for it (Yu et al. 2023, arXiv:2311.03099): those that stay, over `density`.

    What is dropped depends on `seed`, the model's name and the tensor's name alone.
    """

    type: Literal["dare"] = "dare"
    density: Density = 0.5
    elect_signs: bool = False
    """Add up only those that agree in sign, as TIES does."""
    seed: NonNegativeInt = 0


class ModelStock(Config):
    """Between the mean of the models and the base, by the angle between deltas (Jang et al. 2024, arXiv:2403.19522) eq. 7.

    With N models, t = N·cos / (1 + (N - 1)·cos), tensor by tensor; the result is t · mean + (1 - t) · base.
    """

    type: Literal["model_stock"] = "model_stock"


type AnyMethod = Annotated[Linear | Slerp | TaskArithmetic | Ties | Dare | ModelStock, Field(discriminator="type")]


class CombineConfig(Config):
    """How several checkpoints become one."""

    method: AnyMethod


def needs_base(method: AnyMethod) -> bool:
    """Whether a method speaks of deltas."""
    return not isinstance(method, Linear | Slerp)


def check_count(method: AnyMethod, names: Sequence[str]) -> None:
    """Raise unless a method can combine so many models."""
    least, most = {"slerp": (2, 2), "model_stock": (2, math.inf)}.get(method.type, (1, math.inf))
    if not least <= len(names) <= most:
        wanted = "two models" if most == least else f"at least {least} models"
        raise ConfigError(f"`method` {method.type!r} takes {wanted}, but {len(names)} are given: {list(names)}")
    if isinstance(method, _Weighted):
        method.of(names)


def seed_of(seed: int, model: str, tensor: str) -> int:
    """A seed of its own for every tensor of every model, wherever it lies.

    >>> seed_of(0, "甲", "a") != seed_of(0, "乙", "a")
    True
    """
    digest = hashlib.sha256(f"{seed}\n{model}\n{tensor}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
