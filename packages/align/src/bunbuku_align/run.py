"""Where and how training runs: circumstance, never part of what is asked for."""

import os
from pathlib import Path
from typing import Literal

from bunbuku_contracts import ConfigError, RunSettings
from pydantic import PositiveInt


class AlignRun(RunSettings):
    """Device, threads and memory of a training run. On one machine, the same settings give the same bytes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU if there is one."""
    threads: PositiveInt | None = None
    """Threads of PyTorch on the CPU; left out, PyTorch decides. Sums are ordered by it, so it changes last bits."""
    micro_batch_examples: PositiveInt | None = None
    """Examples (of preferences: pairs) computed at once; gradients are summed up to the batch. Left out, the batch."""
    gradient_checkpointing: bool = False
    """Compute activations again on the way back, instead of keeping them: less memory, about a fifth slower."""
    save_every_steps: PositiveInt = 200
    """Steps between two states that a killed run goes on from. At most two states are on disk, and a third while it is written."""
    reference: Literal["live", "cached"] = "live"
    """Of preferences: ask the reference at every step (the model with its adapter switched off), or once before the first.
    Training without an adapter always asks once. Several epochs are faster so; the numbers agree up to rounding."""
    reference_cache: str | None = None
    """Folder in which its answers are kept for other runs; left out, they go when the run is published."""

    def accumulation(self, batch_examples: int) -> int:
        """Micro batches in a batch.

        >>> AlignRun(micro_batch_examples=4).accumulation(16), AlignRun().accumulation(16)
        (4, 1)
        """
        micro = min(self.micro_batch_examples or batch_examples, batch_examples)
        if batch_examples % micro:
            raise ConfigError(
                f"`batch_examples` {batch_examples} is not a multiple of `micro_batch_examples` {micro}",
                hint="give a micro batch that divides the batch",
            )
        return batch_examples // micro


ANYWHERE = AlignRun()
"""The settings of a run that says nothing of where it runs."""


def disk_bytes(folder: Path) -> int:
    """Bytes of all files under a folder."""
    found = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sum(path.stat().st_size for path in found if path.exists())
