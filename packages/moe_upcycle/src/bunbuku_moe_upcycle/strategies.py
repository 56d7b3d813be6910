"""How an expert is made of the dense feed-forward network.

A strategy is a config with one method: a weight matrix of one expert, from the dense matrix at the same place. What is drawn
at random depends on the seed and on the *name* of what is made, never on the order or on the files that the checkpoint is
cut into. `changes` says whether the model still computes what the dense one did.
"""

# Shapes: D model, F width of the feed-forward network, E experts. Gate and up are [F, D], down is [D, F].

from abc import abstractmethod
from hashlib import blake2b
from typing import Annotated, Literal

import numpy as np
from bunbuku_contracts import Config, Experts
from pydantic import Field, NonNegativeFloat

from bunbuku_moe_upcycle.layout import WEIGHTS, Place, Weight
from bunbuku_moe_upcycle.tensors import Floats


def generator(seed: int, name: str) -> np.random.Generator:
    """A source of random numbers for what is called `name`, the same wherever and whenever it is made.

    >>> bool(generator(0, "猫").random() == generator(0, "猫").random() != generator(0, "犬").random())
    True
    """
    return np.random.default_rng(int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()))


class Strategy(Config):
    """How the experts differ from the dense network, and so from one another, before training."""

    @property
    def slices(self) -> int:
        """Experts that one dense network is cut into."""
        return 1

    def part(self, dense: Floats, place: Place) -> Floats:
        """What the expert has of the dense matrix before anything is changed."""
        del place
        return dense

    @abstractmethod
    def expert(self, part: Floats, place: Place, seed: int) -> Floats:
        """One weight matrix of one expert, from its part of the dense network's; the part itself if nothing changes."""

    def changes(self, experts: Experts) -> str | None:
        """Why a model with such experts computes something else than the dense one; `None` if it does not."""
        if experts.gate_order == "softmax_first" and experts.active < experts.count:
            return "`gate_order` 'softmax_first' leaves gates that do not sum to 1"
        return self.alters(experts.active)

    @abstractmethod
    def alters(self, active: int) -> str | None:
        """Why networks made so, `active` of them a token, answer otherwise where gates sum to 1; `None` if they do not."""


class Copy(Strategy):
    """Every expert is the dense network. The model computes what the dense one did, to rounding.

    Only the router then tells experts apart, by sending them different tokens.
    """

    type: Literal["copy"] = "copy"

    def expert(self, part: Floats, place: Place, seed: int) -> Floats:
        return part

    def alters(self, active: int) -> str | None:
        return None


class Noise(Strategy):
    """The dense network plus Gaussian noise, drawn anew for each expert.

    `absolute` is what mergekit calls `noise_scale`: a standard deviation as it stands. Weights of a trained model deviate by
    about 0.02, so an absolute 0.001 (Tanuki-8x8B's) is a noise of 5 %, not of 0.1 %. `relative` counts in standard deviations
    of the matrix at hand.
    """

    type: Literal["noise"] = "noise"
    scale: NonNegativeFloat = 0.05
    mode: Literal["absolute", "relative"] = "relative"

    def expert(self, part: Floats, place: Place, seed: int) -> Floats:
        if self.scale == 0:
            return part
        deviation = self.scale * (deviation_of(part) if self.mode == "relative" else 1.0)
        noise = generator(seed, place.name).standard_normal(part.shape, np.float32)
        noise *= np.float32(deviation)
        noise += part
        return noise

    def alters(self, active: int) -> str | None:
        return f"noise of `scale` {self.scale} changes every weight" if self.scale else None


class Drop(Strategy):
    """Drop-Upcycling (arXiv:2502.19261): a share of each expert's inner units is drawn anew, the rest is the dense network's.

    New weights are Gaussian with the mean and the deviation of those they replace. The paper describes one choice of units
    for an expert's three matrices (`shared`); the code published with it draws one for each matrix (`independent`).
    """

    type: Literal["drop"] = "drop"
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    units: Literal["shared", "independent"] = "shared"

    def expert(self, part: Floats, place: Place, seed: int) -> Floats:
        units_first = part.T if place.weight == "down" else part
        chosen = self._chosen(len(units_first), place, seed)
        dropped = units_first[chosen]
        if not dropped.size:
            return part
        drawn = generator(seed, place.name).standard_normal(dropped.shape, np.float32)
        made = units_first.copy()
        made[chosen] = drawn * np.float32(deviation_of(dropped)) + dropped.mean(dtype=np.float64).astype(np.float32)
        return made.T if place.weight == "down" else made

    def alters(self, active: int) -> str | None:
        return f"`ratio` {self.ratio} of the inner units is drawn anew" if self.ratio else None

    def _chosen(self, units: int, place: Place, seed: int) -> np.ndarray:
        name = place.name if self.units == "independent" else f"{place.layer}/{place.expert}"
        return np.sort(generator(seed, f"units/{name}").permutation(units)[: round(self.ratio * units)])


class Granular(Strategy):
    """Finer experts: the dense network is cut into `parts` slices of its inner units, and each expert is one of them.

    Experts `n * parts` to `n * parts + parts - 1` are the slices of one copy. The router begins with the same row for all of
    them, so that a token is sent to whole copies (He et al. 2024, arXiv:2410.07524, "virtual groups"). A slice then counts
    with the share `1 / parts` of its copy's gate, which `scaling` makes up for.
    """

    type: Literal["granular"] = "granular"
    parts: Annotated[int, Field(ge=2)] = 2
    scaling: Literal["balanced", "down", "megatron", "none"] = "balanced"
    """Where the factor `parts` goes: its square root on `up` and on `down`; all of it on `down`; or, as in Megatron-core
    0.19, its cube root on all three matrices, which changes the function, since SiLU is not homogeneous."""
    change: Annotated[Copy | Noise | Drop, Field(discriminator="type")] = Copy()
    """What is done to a slice afterwards."""

    @property
    def slices(self) -> int:
        return self.parts

    def part(self, dense: Floats, place: Place) -> Floats:
        units_first = dense.T if place.weight == "down" else dense
        width = len(units_first) // self.parts
        assert place.expert is not None
        first = place.expert % self.parts * width
        slice_ = units_first[first : first + width] * np.float32(self._factor(place.weight))
        return slice_.T if place.weight == "down" else slice_

    def expert(self, part: Floats, place: Place, seed: int) -> Floats:
        return self.change.expert(part, place, seed)

    def alters(self, active: int) -> str | None:
        if active % self.parts:
            return f"`active` {active} is no multiple of `parts` {self.parts}, so that a token meets part of a copy"
        if self.scaling in ("megatron", "none"):
            return f"`scaling` {self.scaling!r} does not make up for the gates of the slices"
        return self.change.alters(active)

    def _factor(self, weight: Weight) -> float:
        powers = {
            "balanced": (0, 1 / 2, 1 / 2),
            "down": (0, 0, 1),
            "megatron": (1 / 3, 1 / 3, 1 / 3),
            "none": (0, 0, 0),
        }
        return self.parts ** dict(zip(WEIGHTS, powers[self.scaling], strict=True))[weight]


class Branches(Strategy):
    """Each expert is the network of another checkpoint (Branch-Train-MiX, Sukhbaatar et al. 2024, arXiv:2403.07816).

    Expert 0 is that of `checkpoint`, the next ones those of `branches` by name, and from the start again. What is no
    feed-forward network is the mean over all of them.
    """

    type: Literal["branches"] = "branches"

    def expert(self, part: Floats, place: Place, seed: int) -> Floats:
        return part

    def alters(self, active: int) -> str | None:
        return "the experts are networks of different checkpoints"


AnyStrategy = Annotated[Copy | Noise | Drop | Granular | Branches, Field(discriminator="type")]


def deviation_of(weights: Floats) -> float:
    """Standard deviation over all weights, summed in float64, in blocks that keep the copy small."""
    blocks = np.array_split(weights.reshape(-1), max(1, weights.size // 2**22))
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / weights.size
    squares = sum(float(((block.astype(np.float64) - mean) ** 2).sum()) for block in blocks)
    return float(np.float32((squares / weights.size) ** 0.5))
