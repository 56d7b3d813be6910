"""Where and how training runs: circumstance, never part of what is asked for."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from bunbuku_contracts import ConfigError, RunSettings
from bunbuku_contracts.launch import AnyLauncher, Local
from pydantic import Field, PositiveInt, model_validator


class Copies(RunSettings):
    """Every rank holds the whole model and its optimiser, and they add up their gradients."""

    type: Literal["copies"] = "copies"

    @property
    def trainer(self) -> dict[str, Any]:
        """What transformers' training arguments say of it: nothing."""
        return {}


class Fsdp(RunSettings):
    """Weights, gradients and the optimiser's state lie divided over the ranks: FSDP2 (`fully_shard`) of PyTorch."""

    type: Literal["fsdp"] = "fsdp"
    gather_once: bool = False
    """Keep a layer whole from the forward pass to the backward pass: faster, and of the weights nothing is saved (ZeRO-2)."""
    cpu_offload: bool = False
    """Keep in the memory of the machine what a GPU does not use at the moment."""

    @property
    def trainer(self) -> dict[str, Any]:
        """What transformers' training arguments say of it."""
        config = {
            "version": 2,
            "reshard_after_forward": not self.gather_once,
            "cpu_offload": self.cpu_offload,
            "state_dict_type": "SHARDED_STATE_DICT",
        }
        return {"fsdp": True, "fsdp_config": config}


class DeepSpeed(RunSettings):
    """The optimiser's state (ZeRO-1), and gradients too (ZeRO-2), lie divided over the ranks. GPUs, and DeepSpeed installed."""

    type: Literal["deepspeed"] = "deepspeed"
    stage: Literal[1, 2] = 2
    cpu_offload: bool = False
    """Keep the optimiser's state in the memory of the machine."""

    @property
    def trainer(self) -> dict[str, Any]:
        """What transformers' training arguments say of it; what is `auto` they fill in."""
        zero: dict[str, Any] = {"stage": self.stage}
        if self.cpu_offload:
            zero["offload_optimizer"] = {"device": "cpu"}
        filled_in = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
        config = {"zero_optimization": zero, "zero_allow_untested_optimizer": True, "bf16": {"enabled": "auto"}}
        return {"deepspeed": config | dict.fromkeys(filled_in, "auto")}


AnySharding = Annotated[Copies | Fsdp | DeepSpeed, Field(discriminator="type")]


class AlignRun(RunSettings):
    """Devices, threads and memory of a training run. On one machine, the same settings give the same bytes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU if there is one."""
    ranks: PositiveInt = 1
    """Processes that share every batch, each with a GPU of its own where there are GPUs."""
    launcher: AnyLauncher = Local()
    """Where several are started: on this machine, or by `srun` on the nodes of a Slurm job."""
    sharding: AnySharding = Copies()
    """What of the model several ranks divide among themselves."""
    threads: PositiveInt | None = None
    """Threads of PyTorch on the CPU; left out, PyTorch decides. Sums are ordered by it, so it changes last bits."""
    micro_batch_examples: PositiveInt | None = None
    """Examples (of preferences: pairs) that a rank computes at once; gradients are summed up to the batch. Left out, its share
    of the batch."""
    gradient_checkpointing: bool = False
    """Compute activations again on the way back, instead of keeping them: less memory, about a fifth slower."""
    save_every_steps: PositiveInt = 200
    """Steps between two states that a killed run goes on from. At most two states are on disk, and a third while it is written."""
    reference: Literal["live", "cached"] = "live"
    """Of preferences: ask the reference at every step (the model with its adapter switched off), or once before the first.
    Training without an adapter always asks once. Several epochs are faster so; the numbers agree up to rounding."""
    reference_cache: str | None = None
    """Folder in which its answers are kept for other runs; left out, they go when the run is published."""

    @model_validator(mode="after")
    def _several_share(self) -> Self:
        if self.ranks == 1 and not isinstance(self.sharding, Copies):
            raise ValueError(f"`sharding` {self.sharding.type} divides a model over ranks, and `ranks` is 1")
        return self

    def accumulation(self, batch_examples: int) -> int:
        """Micro batches of a rank in a batch.

        >>> AlignRun(micro_batch_examples=4).accumulation(16), AlignRun().accumulation(16), AlignRun(ranks=2).accumulation(16)
        (4, 1, 1)
        """
        if batch_examples % self.ranks:
            raise ConfigError(
                f"`batch_examples` {batch_examples} is not a multiple of `ranks` {self.ranks}",
                hint="every rank computes as many examples of a batch: give ranks that divide it",
            )
        share = batch_examples // self.ranks
        micro = min(self.micro_batch_examples or share, share)
        if share % micro:
            each = f" ({share} a rank)" if self.ranks > 1 else ""
            raise ConfigError(
                f"`batch_examples` {batch_examples}{each} is not a multiple of `micro_batch_examples` {micro}",
                hint="give a micro batch that divides the batch",
            )
        return share // micro


ANYWHERE = AlignRun()
"""The settings of a run that says nothing of where it runs."""


def disk_bytes(folder: Path) -> int:
    """Bytes of all files under a folder."""
    found = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sum(path.stat().st_size for path in found if path.exists())
