"""How the router begins: at random, or knowing something of the domains that its experts are for.

The slices of one copy (see `Granular`) share a row, so that a token is sent to whole copies. With `zero_mean`, a column of
weights sums to zero over the experts, so the logits of every token do too.
"""

# Shapes: D model, E experts, C copies of the dense network, each of E / C experts.

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from bunbuku_contracts import Config
from pydantic import Field, PositiveFloat, PositiveInt

from bunbuku_moe_upcycle.strategies import generator
from bunbuku_moe_upcycle.tensors import Floats


class RouterStart(Config):
    """The first weights of a layer's router."""

    @abstractmethod
    def rows(self, shape: tuple[int, int], name: str, seed: int, means_CD: Floats | None) -> Floats:
        """A row for each copy; `means_CD` is the mean of what the router hears of each domain, if that was measured."""

    def weights(
        self, shape: tuple[int, int], name: str, seed: int, *, slices: int = 1, means_CD: Floats | None = None
    ) -> Floats:
        """The router's matrix, experts by model width."""
        experts, hidden = shape
        return np.repeat(self.rows((experts // slices, hidden), name, seed, means_CD), slices, axis=0)


class NormalRouter(RouterStart):
    """Router weights are Gaussian."""

    type: Literal["normal"] = "normal"
    std: PositiveFloat = 0.02
    """Of the weights as they are written. A normalised router does not feel it; a plain one does: at 1.0 (mergekit's
    `random`) it sends nearly everything to one expert."""
    zero_mean: bool = True

    def rows(self, shape: tuple[int, int], name: str, seed: int, means_CD: Floats | None) -> Floats:
        drawn_CD = generator(seed, name).standard_normal(shape, np.float32)
        return _centred(drawn_CD * np.float32(self.std)) if self.zero_mean else drawn_CD * np.float32(self.std)


class UniformRouter(RouterStart):
    """Router weights are uniform around zero, as in Drop-Upcycling's runs."""

    type: Literal["uniform"] = "uniform"
    std: PositiveFloat = 0.02
    """The weights lie within √3 times this."""
    zero_mean: bool = True

    def rows(self, shape: tuple[int, int], name: str, seed: int, means_CD: Floats | None) -> Floats:
        half_width = np.float32(self.std * 3**0.5)
        drawn_CD = (2 * generator(seed, name).random(shape, np.float32) - 1) * half_width
        return _centred(drawn_CD) if self.zero_mean else drawn_CD


class HiddenRouter(RouterStart):
    """Each expert's row points to its domain: the mean, over the domain's texts, of what the layer's router hears.

    The domains are the `prompts` that the stage is given, in the order of their names. The mean over domains is taken off, so
    that a router hears what tells them apart; rows are then scaled to `std`. mergekit's `gate_mode: hidden` is similar, with
    the hidden state of the layer before its norm and with nothing taken off.
    """

    type: Literal["hidden"] = "hidden"
    std: PositiveFloat = 0.02
    """Standard deviation of the weights of a row."""
    tokens: PositiveInt = 4096
    """Tokens of each domain that the dense model reads."""

    def rows(self, shape: tuple[int, int], name: str, seed: int, means_CD: Floats | None) -> Floats:
        if means_CD is None or means_CD.shape != shape:
            found = None if means_CD is None else means_CD.shape
            raise ValueError(f"{name}: {shape} weights need as many means, not {found}")
        apart_CD = means_CD - means_CD.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
        deviation_C1 = apart_CD.std(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        return apart_CD * np.float32(self.std) / np.maximum(deviation_C1, np.finfo(np.float32).tiny)


AnyRouter = Annotated[NormalRouter | UniformRouter | HiddenRouter, Field(discriminator="type")]


def _centred(weights_CD: Floats) -> Floats:
    """Columns summing to zero over the copies, with the deviation that was asked for."""
    copies = len(weights_CD)
    centred_CD = weights_CD - weights_CD.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    return centred_CD * np.float32((copies / (copies - 1)) ** 0.5)
