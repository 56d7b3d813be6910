"""Whether the experts of a layer still compute what the dense network did, found out while they are being written.

A few random inputs, as they come out of the layer's norm, go through the dense network and through router and experts as they
are stored. Arithmetic is in float64, so what is found is the change of the function and not the rounding of the sums.
"""

# Shapes: P inputs, T inputs that an expert gets, D model, F width of a network, E experts.

from dataclasses import dataclass, field

import numpy as np
from bunbuku_contracts import BunbukuError, Experts
from numpy.typing import NDArray

from bunbuku_moe_upcycle.layout import Place, Weight
from bunbuku_moe_upcycle.strategies import generator
from bunbuku_moe_upcycle.tensors import Floats

type Doubles = NDArray[np.float64]

EXACT = 1e-6
"""Largest change, relative to the largest answer of a layer, that counts as none."""
_INPUTS = 8
_BLOCK_WEIGHTS = 2**20


def gates(logits_PE: Doubles, experts: Experts) -> Doubles:
    """Weight of every expert for every input, 0 where it is not chosen.

    Logits are normalised if asked, the largest are chosen, and softmax is over those or over all: see `Experts.gate_order`.
    """
    rule = experts.normalization
    if rule is not None:
        deviation_P1 = logits_PE.std(axis=1, keepdims=True, ddof=rule.ddof)
        logits_PE = rule.scale * (logits_PE - logits_PE.mean(axis=1, keepdims=True)) / (deviation_P1 + rule.eps)
    chosen_PK = np.argsort(-logits_PE, axis=1, kind="stable")[:, : experts.active]
    weights_PE = np.exp(logits_PE - logits_PE.max(axis=1, keepdims=True))
    top_PK = np.take_along_axis(weights_PE, chosen_PK, axis=1)
    over_P1 = (weights_PE if experts.gate_order == "softmax_first" else top_PK).sum(axis=1, keepdims=True)
    made_PE = np.zeros_like(logits_PE)
    np.put_along_axis(made_PE, chosen_PK, top_PK / over_P1, axis=1)
    return made_PE


def silu(values: Doubles) -> Doubles:
    """Swish with slope 1, x · sigmoid(x).

    >>> silu(np.array([-1000.0, 0.0, 1.0, 1000.0])).round(3).tolist()
    [-0.0, 0.0, 0.731, 1000.0]
    """
    return values / (1.0 + np.exp(np.minimum(-values, 700.0)))


def through(inputs_TD: Doubles, matrix_FD: Floats) -> Doubles:
    """`inputs @ matrix.T` in float64, in blocks that keep the wider copy of the matrix small."""
    step = max(1, _BLOCK_WEIGHTS // matrix_FD.shape[1])
    blocks = [inputs_TD @ matrix_FD[at : at + step].astype(np.float64).T for at in range(0, len(matrix_FD), step)]
    return np.concatenate(blocks, axis=1)


def heard_by(layer: int, gain_D: Floats, inputs: int = _INPUTS) -> Doubles:
    """Random inputs as they come out of a norm with this gain, the same for a layer every time."""
    drawn_PD = generator(0, f"probe/{layer}").standard_normal((inputs, len(gain_D)))
    return drawn_PD / np.sqrt((drawn_PD**2).mean(axis=1, keepdims=True)) * gain_D.astype(np.float64)


def advanced(weight: Weight, matrix: Floats, inputs_TD: Doubles, inner_TF: Doubles | None) -> Doubles:
    """One matrix further: the activated gate, then its product with `up`, then the answer."""
    if weight == "gate":
        return silu(through(inputs_TD, matrix))
    assert inner_TF is not None
    return inner_TF * through(inputs_TD, matrix) if weight == "up" else through(inner_TF, matrix)


@dataclass
class _Layer:
    number: int
    inputs_PD: Doubles
    gates_PE: Doubles
    answers_PD: Doubles
    dense: dict[Weight, Doubles] = field(default_factory=dict)
    inner: dict[int | None, Doubles] = field(default_factory=dict)
    """By expert; of those that are copies so far there is nothing to keep."""


@dataclass
class FunctionProbe:
    """Follows a model's tensors as they are made: of a layer the router, then gate, up and down of every network."""

    experts: Experts
    exact: bool
    """Whether a change is an error."""
    errors: dict[int, float] = field(default_factory=dict)
    """Largest change of each layer's answers, relative to the largest answer of the dense network."""
    _layer: _Layer | None = None

    @property
    def error(self) -> float:
        """Of the layer that changed most."""
        return max(self.errors.values(), default=0.0)

    def begin(self, layer: int, gain_D: Floats, router_ED: Floats) -> None:
        """A layer's router is there: draw inputs and send them to their experts."""
        inputs_PD = heard_by(layer, gain_D)
        gates_PE = gates(inputs_PD @ router_ED.astype(np.float64).T, self.experts)
        self._layer = _Layer(layer, inputs_PD, gates_PE, np.zeros_like(inputs_PD))

    def add(self, place: Place, dense: Floats, made: Floats) -> None:
        """A matrix of an expert or of the shared network is made; it is the very array `dense` where nothing was changed.

        Raises:
            BunbukuError: With it the layer is whole, its answers are others, and they were to be the same.
        """
        layer, weight = self._layer, place.weight
        assert layer is not None
        if weight not in layer.dense:
            before: Weight = "gate" if weight == "up" else "up"
            layer.dense[weight] = advanced(weight, dense, layer.inputs_PD, layer.dense.get(before))
        shared = place.expert is None
        gates_P = np.ones(len(layer.gates_PE)) if shared else layer.gates_PE[:, place.expert]
        here = np.flatnonzero(gates_P)
        inner = layer.inner.get(place.expert)
        if made is dense and (weight == "gate" or inner is None):
            value = layer.dense[weight][here]
        else:
            if inner is None and weight != "gate":
                inner = layer.dense["gate" if weight == "up" else "up"][here]
            value = advanced(weight, made, layer.inputs_PD[here], inner)
            layer.inner[place.expert] = value
        if weight == "down":
            layer.answers_PD[here] += gates_P[here, None] * value
            layer.inner.pop(place.expert, None)
            if place.expert == self.experts.count - 1:
                self._compare(layer)

    def _compare(self, layer: _Layer) -> None:
        wanted_PD = layer.dense["down"]
        error = float(
            np.abs(layer.answers_PD - wanted_PD).max() / max(np.abs(wanted_PD).max(), np.finfo(np.float64).tiny)
        )
        self.errors[layer.number] = error
        if self.exact and error > EXACT:
            raise BunbukuError(
                f"layer {layer.number} answers otherwise than the dense network, by {error:.2g} of its largest answer, "
                f"and `exact` allows {EXACT:.0e}",
                hint="weights in half precision round a factor that is no power of two: begin with float32, or leave "
                "`exact` out",
            )
