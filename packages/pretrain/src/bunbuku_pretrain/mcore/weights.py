"""Filling the part of a model that this rank holds.

Megatron's sharded state dict says of every local tensor which slice of which whole tensor it is, under any layout. The
whole is joined from a source under Hugging Face's names, and the slice copied in.
"""

from collections.abc import Iterator
from typing import Any

import torch
from bunbuku_contracts import Architecture
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensor, apply_factories

from bunbuku_pretrain.layout import pieces
from bunbuku_pretrain.mcore.runtime import data_parallel_group
from bunbuku_pretrain.sources import Source


def sharding() -> dict[str, Any]:
    """How Megatron is to describe a state: reshardable to any layout."""
    return {
        "distrib_optim_sharding_type": "fully_reshardable",
        "singleton_local_shards": False,
        "chained_optim_avoid_prefix": True,
        "dp_cp_group": data_parallel_group(),
    }


@torch.no_grad()
def fill(model: torch.nn.Module, architecture: Architecture, source: Source) -> None:
    """Set every weight that this rank holds."""
    known = {piece.key: piece for piece in pieces(architecture)}
    whole: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
    filled = 0
    for shard in _shards(model):
        depth = shard.prepend_axis_num
        place = tuple(shard.global_offset[:depth])
        if (shard.key, place) not in whole:  # a gated layer has two shards of one whole, one after the other
            piece = known[shard.key]
            tensors = [source.tensor(name) for name in piece.named(*place)]
            whole = {(shard.key, place): piece.join(architecture, tensors)}
        begins = shard.global_offset[depth:]
        target = tuple(slice(begin, begin + size) for begin, size in zip(begins, shard.local_shape, strict=True))
        assert shard.data is not None
        shard.data.copy_(whole[shard.key, place][target])
        filled += shard.data.numel()
    assert filled == sum(parameter.numel() for parameter in model.parameters()), "a weight was not filled"


def _shards(model: Any) -> Iterator[ShardedTensor]:
    state = model.sharded_state_dict(metadata=sharding())
    apply_factories(state)
    yield from (value for value in nested_values(state) if isinstance(value, ShardedTensor))
