"""Where a rank runs: device, communication backend, parallel groups, number formats. No other module of a rank asks for these.

A rank is one process of a launch. `start` gives it a `Runtime`, after which Megatron's groups exist and its shims are
installed; the same code then trains on one laptop core and on a cluster.
"""

import datetime
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from bunbuku_contracts import BunbukuError
from megatron.core import parallel_state
from megatron.core.tensor_parallel.random import initialize_rng_tracker

from bunbuku_pretrain.mcore import shims
from bunbuku_pretrain.precision import has_transformer_engine
from bunbuku_pretrain.training import TrainRun


@dataclass(frozen=True)
class Runtime:
    """A started rank."""

    device: torch.device
    rank: int
    world: int
    data_parallel: int
    """Ranks that read different sequences."""
    data_rank: int
    first_stage: bool
    last_stage: bool
    copies_of_loss: int
    """Ranks that compute the loss of the same or of another sequence: all of the last pipeline stage."""
    context_parallel: int = 1
    """Ranks that share every sequence."""
    context_rank: int = 0
    transformer_engine: bool = False
    """Whether its modules compute the layers, else Megatron's own do."""

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """Sum of `value` over all ranks, on every rank."""
        if self.world > 1:
            dist.all_reduce(value)
        return value

    def largest(self, value: torch.Tensor) -> torch.Tensor:
        """The largest of each number over all ranks, on every rank."""
        if self.world > 1:
            dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return value

    @property
    def peak_memory_bytes(self) -> int:
        """Most memory that this rank has had so far: of its GPU, or of the process where there is none."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB

    def settle(self) -> None:
        """Return when the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def wait(self) -> None:
        """Return when every rank has come here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def started(settings: TrainRun) -> Iterator[Runtime]:
    """Bring up this rank from the environment that the launch gave it, and take it down at the end."""
    _quieten()
    on_gpu = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
    if on_gpu and not torch.cuda.is_available():
        raise BunbukuError("`device` is 'cuda', and torch finds no GPU here", hint="set `device` to 'cpu' or 'auto'")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    local_rank = int(os.environ["LOCAL_RANK"])
    if on_gpu:
        torch.cuda.set_device(local_rank)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=datetime.timedelta(seconds=settings.collective_timeout_seconds)
    )
    try:
        shims.install()
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=settings.tensor_parallel,
            pipeline_model_parallel_size=settings.pipeline_parallel,
            context_parallel_size=settings.context_parallel,
            expert_model_parallel_size=settings.expert_parallel,
            # Second groups of each kind, for gloo: only the distributed optimizer gathers its state through them.
            create_gloo_process_groups=settings.distributed_optimizer,
        )
        # Nothing draws random numbers while training: there is no dropout, weights come by name, the order by seed.
        initialize_rng_tracker(inference_rng_tracker=True)
        yield _describe(
            torch.device("cuda", local_rank) if on_gpu else torch.device("cpu"),
            transformer_engine=on_gpu and settings.layers != "local" and has_transformer_engine(),
        )
    finally:
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()


def _describe(device: torch.device, *, transformer_engine: bool) -> Runtime:
    data_parallel = parallel_state.get_data_parallel_world_size()
    return Runtime(
        device=device,
        rank=dist.get_rank(),
        world=dist.get_world_size(),
        data_parallel=data_parallel,
        data_rank=parallel_state.get_data_parallel_rank(),
        first_stage=parallel_state.is_pipeline_first_stage(),
        last_stage=parallel_state.is_pipeline_last_stage(),
        copies_of_loss=data_parallel * parallel_state.get_tensor_model_parallel_world_size(),
        context_parallel=parallel_state.get_context_parallel_world_size(),
        context_rank=parallel_state.get_context_parallel_rank(),
        transformer_engine=transformer_engine,
    )


def token_dispatcher(settings: TrainRun) -> str:
    """How a mixture's tokens travel to their experts: each to its own, or where that cannot be, all to all ranks.

    Under tensor and expert parallelism at once the ranks hold unequal numbers of tokens, and gloo gathers only equal
    ones (transformer/moe/token_dispatcher.py, `token_dispatch`).
    """
    both = settings.tensor_parallel > 1 and settings.expert_parallel > 1
    return "allgather" if both and dist.get_backend() == "gloo" else "alltoall"


def data_parallel_group() -> Any:
    """The group that Megatron's checkpoints call `dp_cp_group`."""
    return parallel_state.get_data_parallel_group(with_context_parallel=True)


def _quieten() -> None:
    logging.getLogger("megatron").setLevel(logging.ERROR)
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
