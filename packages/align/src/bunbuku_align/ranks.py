"""What the ranks of a training know of each other. A process alone is the first of one."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

_PATIENCE = timedelta(hours=1)
"""How long a rank waits for the others: one may be writing a large state."""


@contextmanager
def joined(*, gpu: bool) -> Iterator[None]:
    """This process as the rank that its environment says, on its own GPU if there are any."""
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def first() -> bool:
    """Whether this rank is the one that writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait() -> None:
    """Return when every rank has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def agreed[T](value: T) -> T:
    """What the first rank says."""
    if not distributed.is_initialized():
        return value
    said = [value]
    distributed.broadcast_object_list(said)
    return said[0]


def divided[T, R](items: Sequence[T], compute: Callable[[Sequence[T]], list[R]]) -> list[R]:
    """What `compute` makes of the items, of which each rank gives it a part; in the items' order, on every rank."""
    if not distributed.is_initialized():
        return compute(items)
    ranks = distributed.get_world_size()
    parts: list[list[R]] = [[] for _ in range(ranks)]
    distributed.all_gather_object(parts, compute(items[distributed.get_rank() :: ranks]))
    return [parts[place % ranks][place // ranks] for place in range(len(items))]


def as_forward[R](model: nn.Module, compute: Callable[[], R]) -> R:
    """What `compute` makes of parts of a model; those of a divided one are put together as in its forward pass."""
    if not isinstance(model, FSDPModule):
        return compute()
    whole: Any = model
    whole.computed = compute
    try:
        register_fsdp_forward_method(whole, "computed")
        return whole.computed()
    finally:
        del whole.computed  # it would hold the batch that it was of
