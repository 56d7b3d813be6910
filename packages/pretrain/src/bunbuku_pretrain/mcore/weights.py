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


def described(model: Any) -> dict[str, Any]:
    """Every weight as a slice of a whole, as checkpoints have them.

    Megatron's modules add an `_extra_state` each: empty in its own, the scales of fp8 in Transformer Engine's, which this
    project takes anew from every tensor. Without them a checkpoint is the same whatever modules wrote it.
    """
    state = model.sharded_state_dict(metadata=sharding())
    return {name: part for name, part in state.items() if not name.endswith("_extra_state")}


def set_weights(model: torch.nn.Module, state: dict[str, Any]) -> None:
    """Set every weight to what was loaded."""
    lacking, unknown = model.load_state_dict(state, strict=False)
    lacking = [name for name in lacking if not name.endswith("_extra_state")]
    assert not lacking and not unknown, (lacking, unknown)


@torch.no_grad()
def fill(model: torch.nn.Module, architecture: Architecture, source: Source) -> None:
    """Set every weight that this rank holds."""
    known = {piece.key: piece for piece in pieces(architecture)}
    whole: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
    filled = 0
    for shard in shards(model):
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


def shards(model: Any) -> Iterator[ShardedTensor]:
    """Every weight that this rank holds, as a slice of a whole."""
    state = described(model)
    apply_factories(state)
    yield from (value for value in nested_values(state) if isinstance(value, ShardedTensor))
