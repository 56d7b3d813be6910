"""Where a weight on disk is found in the model in memory: transformers holds a layer's experts as two tensors.

On disk an expert's projections are tensors of their own, `block_sparse_moe.experts.3.w1.weight`; in memory all experts of
a layer are one tensor `mlp.experts.gate_up_proj` (experts x 2 · width x hidden; w1 above w3) and one `mlp.experts.down_proj`.
"""

import re
from typing import NamedTuple

import torch

_EXPERT = re.compile(r"(.*)\.block_sparse_moe\.experts\.(\d+)\.w([123])\.weight")


class Place(NamedTuple):
    """Where a weight is in memory."""

    parameter: str
    expert: int | None = None
    half: int | None = None
    """Of a tensor that holds two weights, one above the other: which."""

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The weight, a view into the tensor in memory."""
        if self.expert is None:
            return tensor
        found = tensor[self.expert]
        return found if self.half is None else found.chunk(2)[self.half]


def place(name: str) -> Place:
    """Where the weight of this name on disk is in memory.

    >>> place("model.layers.0.block_sparse_moe.experts.3.w3.weight")
    Place(parameter='model.layers.0.mlp.experts.gate_up_proj', expert=3, half=1)
    """
    if found := _EXPERT.fullmatch(name):
        layer, expert, number = found.groups()
        if number == "2":
            return Place(f"{layer}.mlp.experts.down_proj", int(expert))
        return Place(f"{layer}.mlp.experts.gate_up_proj", int(expert), "13".index(number))
    return Place(name.replace(".block_sparse_moe.", ".mlp."))
