"""How alike the experts of a layer are: in their weights, in their answers, and in what they see.

- `weights`: the cosine between their weights, all three matrices flattened into one vector. 1 for copies, about 0 for networks
  trained apart. Skywork-MoE (arXiv:2406.06563, section 4) watches its mean over pairs while training and finds the most uniform
  experts in the worst model; the report gives no formula, this is the plain one. Two experts that hold the same inner
  units in another order have 0.
- `answers`: the cosine between what they answer to the same inputs, averaged over these. The order of units does not matter.
- `units`: linear CKA (Kornblith et al. 2019, arXiv:1905.00414) between the values of their inner units. It does not change
  when units are put in another order or turned, and is not 0 for strangers: wide random networks look at the same
  inputs in much the same way.
"""

# Shapes: E experts, N weights of a block of rows, P inputs, D model, F inner units.

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunbuku_moe_upcycle.function import Doubles, advanced
from bunbuku_moe_upcycle.layout import WEIGHTS, Place
from bunbuku_moe_upcycle.tensors import TensorFolder

type Matrix = NDArray[np.float64]

_BLOCK_WEIGHTS = 2**22
DECIMALS = 6
"""Sums over millions of weights come out of another thread count a little otherwise: what is published is rounded."""


class Alikeness(NamedTuple):
    """Every expert of a layer with every other, by three measures."""

    weights: Matrix
    answers: Matrix
    units: Matrix


MEASURES: dict[str, str] = {
    "weights": "cosine of the weights",
    "answers": "cosine of the answers",
    "units": "CKA of the inner units",
}


def alikeness(weights: TensorFolder, layer: int, experts: int, inputs_PD: Doubles) -> Alikeness:
    """The experts of a layer compared, on these inputs as the layer's norm hands them over."""
    answers, grams = [], []
    for expert in range(experts):
        value = inputs_PD
        for weight in WEIGHTS:
            if weight == "down":
                centred_PF = value - value.mean(axis=0, keepdims=True)
                grams.append((centred_PF @ centred_PF.T).reshape(-1))
            value = advanced(weight, weights.read(Place(layer, expert, weight).name), inputs_PD, value)
        norms_P1 = np.linalg.norm(value, axis=1, keepdims=True)
        answers.append((value / np.maximum(norms_P1, np.finfo(np.float64).tiny)).reshape(-1))
    products = [np.stack(vectors) @ np.stack(vectors).T for vectors in (answers, grams)]
    return Alikeness(expert_cosines(weights, layer, experts), cosines(products[0]), cosines(products[1]))


def expert_cosines(weights: TensorFolder, layer: int, experts: int) -> Matrix:
    """Cosine of every expert's weights with every other's, read in blocks of rows."""
    products_EE = np.zeros((experts, experts))
    for weight in WEIGHTS:
        names = [Place(layer, expert, weight).name for expert in range(experts)]
        rows, columns = weights.stored[names[0]].shape
        step = max(1, _BLOCK_WEIGHTS // (columns * experts))
        for first in range(0, rows, step):
            block_EN = np.stack([weights.read_rows(name, first, first + step) for name in names]).astype(np.float64)
            products_EE += block_EN @ block_EN.T
    return cosines(products_EE)


def cosines(products_EE: Matrix) -> Matrix:
    """Cosines from inner products. A vector of zeros is like nothing but itself.

    >>> cosines(np.array([[4.0, 2.0], [2.0, 4.0]])).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    norms_E = np.sqrt(np.diag(products_EE))
    scale_EE = np.outer(norms_E, norms_E)
    cosines_EE = np.divide(products_EE, scale_EE, out=np.zeros_like(products_EE), where=scale_EE > 0)
    np.fill_diagonal(cosines_EE, 1.0)
    return cosines_EE.round(DECIMALS)


def mean_pairwise(cosines_EE: Matrix) -> float:
    """Mean over all pairs of different experts.

    >>> mean_pairwise(np.array([[1.0, 0.5], [0.5, 1.0]]))
    0.5
    """
    return round(float(cosines_EE[np.triu_indices(len(cosines_EE), k=1)].mean()), DECIMALS)
