"""What a rank is fed: the micro-batches of a step, and those of the validation part.

Shapes: B sequences of a micro-batch, S tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from bunbuku_pretrain.course import Step
from bunbuku_pretrain.job import Job
from bunbuku_pretrain.mcore.runtime import Runtime
from bunbuku_pretrain.sampling import Order, Windows, scored_windows


@dataclass(frozen=True)
class Batch:
    """A micro-batch. `counted` weighs each label in the loss."""

    tokens_BS: torch.Tensor
    labels_BS: torch.Tensor
    counted_BS: torch.Tensor

    @classmethod
    def of(cls, windows: np.ndarray, counted: np.ndarray | None, device: torch.device) -> "Batch":
        tokens = torch.from_numpy(windows).to(device)
        weights = np.ones(windows[:, 1:].shape, dtype=np.float32) if counted is None else counted
        return cls(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.from_numpy(weights).to(device))


class Feed:
    """A rank's share of the data. Together the ranks read the samples of a step in their order."""

    def __init__(self, job: Job, runtime: Runtime) -> None:
        self.job, self.runtime = job, runtime

    @property
    def together(self) -> int:
        """Sequences that all ranks read at once."""
        return self.runtime.data_parallel * self.job.settings.micro_batch_sequences

    def micro_batches(self, step: Step) -> int:
        """Micro-batches that every rank reads in a step."""
        return step.sequences // self.together

    def samples(self, step: Step, number: int) -> tuple[int, int]:
        """The first and the last sample of this rank's micro-batch of that number."""
        size = self.job.settings.micro_batch_sequences
        begin = step.first_sample + number * self.together + self.runtime.data_rank * size
        return begin, begin + size - 1

    def training(self, step: Step) -> Iterator[Batch]:
        """This rank's micro-batches of a step."""
        size = self.job.settings.micro_batch_sequences
        windows, order = self._windows, self._order
        for number in range(self.micro_batches(step)):
            begin = step.first_sample + number * self.together + self.runtime.data_rank * size
            read = [windows[order.window(sample)] for sample in range(begin, begin + size)]
            yield Batch.of(np.stack(read), None, self.runtime.device)

    def validation(self, path: Path) -> list[Batch]:
        """This rank's share, filled up with windows that count nothing so that all ranks have as many."""
        length, size = self.job.config.sequence_length, self.job.settings.micro_batch_sequences
        windows = Windows(path, dtype=self.job.dtype, sequence_length=length)
        scored = list(scored_windows(windows, most_tokens=self.job.config.validation_tokens))
        empty = (np.zeros(length + 1, dtype=np.int64), np.zeros(length, dtype=np.float32))
        batches: list[Batch] = []
        for begin in range(0, len(scored), self.together):
            own = scored[begin : begin + self.together][self.runtime.data_rank * size :][:size]
            rows = [tuple(window) for window in own] + [empty] * (size - len(own))
            tokens, counted = (np.stack(columns) for columns in zip(*rows, strict=True))
            batches.append(Batch.of(tokens, counted, self.runtime.device))
        return batches

    @cached_property
    def _windows(self) -> Windows:
        return Windows(self.job.train, dtype=self.job.dtype, sequence_length=self.job.config.sequence_length)

    @cached_property
    def _order(self) -> Order:
        return Order(len(self._windows), seed=self.job.config.seed)
