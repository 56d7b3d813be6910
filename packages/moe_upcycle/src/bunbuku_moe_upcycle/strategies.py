"""How an expert is made of the dense feed-forward network, and how the router begins.

A strategy is a config with one method: the weights of one expert from the dense matrix. What is drawn at random depends on
the seed and on the *name* of what is made, never on the order or on the files that the checkpoint is cut into.
"""

# Shapes: D model, F width of the feed-forward network, E experts. Gate and up are [F, D], down is [D, F].

from abc import abstractmethod
from hashlib import blake2b
from typing import Annotated, Literal

import numpy as np
from bunbuku_contracts import Config
from pydantic import Field, NonNegativeFloat, PositiveFloat

from bunbuku_moe_upcycle.layout import Place
from bunbuku_moe_upcycle.tensors import Floats


def generator(seed: int, name: str) -> np.random.Generator:
    """A source of random numbers for what is called `name`, the same wherever and whenever it is made.

    >>> bool(generator(0, "猫").random() == generator(0, "猫").random() != generator(0, "犬").random())
    True
    """
    return np.random.default_rng(int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()))


class Strategy(Config):
    """How the experts differ from the dense network, and so from one another, before training."""

    @abstractmethod
    def expert(self, dense: Floats, place: Place, seed: int) -> Floats:
        """One weight matrix of one expert, of the dense network's matrix at the same place."""


class Copy(Strategy):
    """Every expert is the dense network. The model computes what the dense one did, to rounding.

    Only the router then tells experts apart, by sending them different tokens.
    """

    type: Literal["copy"] = "copy"

    def expert(self, dense: Floats, place: Place, seed: int) -> Floats:
        return dense


class Noise(Strategy):
    """The dense network plus Gaussian noise, drawn anew for each expert.

    `absolute` is what mergekit calls `noise_scale`: a standard deviation as it stands. Weights of a trained model deviate by
    about 0.02, so an absolute 0.001 (Tanuki-8x8B's) is a noise of 5 %, not of 0.1 %. `relative` counts in standard deviations
    of the matrix at hand.
    """

    type: Literal["noise"] = "noise"
    scale: NonNegativeFloat = 0.05
    mode: Literal["absolute", "relative"] = "relative"

    def expert(self, dense: Floats, place: Place, seed: int) -> Floats:
        if self.scale == 0:
            return dense
        deviation = self.scale * (deviation_of(dense) if self.mode == "relative" else 1.0)
        noise = generator(seed, place.name).standard_normal(dense.shape, np.float32)
        noise *= np.float32(deviation)
        noise += dense
        return noise


class Drop(Strategy):
    """Drop-Upcycling (arXiv:2502.19261): a share of each expert's inner units is drawn anew, the rest is the dense network's.

    New weights are Gaussian with the mean and the deviation of those they replace. The paper describes one choice of units
    for an expert's three matrices (`shared`); the code published with it draws one for each matrix (`independent`).
    """

    type: Literal["drop"] = "drop"
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    units: Literal["shared", "independent"] = "shared"

    def expert(self, dense: Floats, place: Place, seed: int) -> Floats:
        units_first = dense.T if place.weight == "down" else dense
        chosen = self._chosen(len(units_first), place, seed)
        dropped = units_first[chosen]
        if not dropped.size:
            return dense
        drawn = generator(seed, place.name).standard_normal(dropped.shape, np.float32)
        made = units_first.copy()
        made[chosen] = drawn * np.float32(deviation_of(dropped)) + dropped.mean(dtype=np.float64).astype(np.float32)
        return made.T if place.weight == "down" else made

    def _chosen(self, units: int, place: Place, seed: int) -> np.ndarray:
        name = place.name if self.units == "independent" else f"{place.layer}/{place.expert}"
        return np.sort(generator(seed, f"units/{name}").permutation(units)[: round(self.ratio * units)])


class NormalRouter(Config):
    """Router weights are Gaussian.

    With `zero_mean`, a weight column sums to zero over the experts, so the logits of every token do too.
    """

    type: Literal["normal"] = "normal"
    std: PositiveFloat = 0.02
    """Of the weights as they are written. A normalised router does not feel it; a plain one does: at 1.0 (mergekit's
    `random`) it sends nearly everything to one expert."""
    zero_mean: bool = True

    def weights(self, shape: tuple[int, int], name: str, seed: int) -> Floats:
        """The router's matrix, experts by model width."""
        drawn_ED = generator(seed, name).standard_normal(shape, np.float32)
        return _centred(drawn_ED * np.float32(self.std)) if self.zero_mean else drawn_ED * np.float32(self.std)


class UniformRouter(Config):
    """Router weights are uniform around zero, as in Drop-Upcycling's runs."""

    type: Literal["uniform"] = "uniform"
    std: PositiveFloat = 0.02
    """The weights lie within √3 times this."""
    zero_mean: bool = True

    def weights(self, shape: tuple[int, int], name: str, seed: int) -> Floats:
        """The router's matrix, experts by model width."""
        half_width = np.float32(self.std * 3**0.5)
        drawn_ED = (2 * generator(seed, name).random(shape, np.float32) - 1) * half_width
        return _centred(drawn_ED) if self.zero_mean else drawn_ED


AnyStrategy = Annotated[Copy | Noise | Drop, Field(discriminator="type")]
AnyRouter = Annotated[NormalRouter | UniformRouter, Field(discriminator="type")]


def deviation_of(weights: Floats) -> float:
    """Standard deviation over all weights, summed in float64, in blocks that keep the copy small."""
    blocks = np.array_split(weights.reshape(-1), max(1, weights.size // 2**22))
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / weights.size
    squares = sum(float(((block.astype(np.float64) - mean) ** 2).sum()) for block in blocks)
    return float(np.float32((squares / weights.size) ** 0.5))


def _centred(weights_ED: Floats) -> Floats:
    """Columns summing to zero over the experts, with the deviation that was asked for."""
    experts = len(weights_ED)
    centred_ED = weights_ED - weights_ED.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    return centred_ED * np.float32((experts / (experts - 1)) ** 0.5)
