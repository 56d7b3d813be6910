"""What a rank is fed: the micro-batches of a step, and those of the parts that are held out.

Shapes: B sequences of a micro-batch, S tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bunbuku_pretrain.context import own_stretches
from bunbuku_pretrain.course import Step
from bunbuku_pretrain.job import Job
from bunbuku_pretrain.mcore.runtime import Runtime
from bunbuku_pretrain.reading import Drawn, HeldOut, Sequences, Texts


@dataclass(frozen=True)
class Batch:
    """A micro-batch. `counted` weighs each label in the loss."""

    tokens_BS: torch.Tensor
    labels_BS: torch.Tensor
    counted_BS: torch.Tensor
    pieces_BS: torch.Tensor | None = None
    """Number of the piece of text that a token is of; `None` if each may look at all that comes before it."""

    @classmethod
    def of(cls, drawn: Sequence[Drawn], device: torch.device) -> "Batch":
        tokens, labels, counted = (
            torch.from_numpy(np.stack([getattr(one, name) for one in drawn])).to(device)
            for name in ("tokens", "labels", "counted")
        )
        pieces = [one.pieces for one in drawn if one.pieces is not None]
        apart = torch.from_numpy(np.stack(pieces)).to(device) if pieces else None
        return cls(tokens, labels, counted, apart)

    def share(self, runtime: Runtime) -> "Batch":
        """What this rank has of it, if several share every sequence."""
        if runtime.context_parallel == 1:
            return self
        own = own_stretches(self.tokens_BS.shape[1], runtime.context_rank, runtime.context_parallel)
        parts = (self.tokens_BS, self.labels_BS, self.counted_BS)
        return Batch(*(torch.cat([part[:, stretch] for stretch in own], dim=1) for part in parts))

    @property
    def mask(self) -> torch.Tensor | None:
        """B, 1, S, S: true where a token may not look, as Megatron has it."""
        if self.pieces_BS is None:
            return None
        length = self.pieces_BS.shape[1]
        future_SS = torch.ones(length, length, dtype=torch.bool, device=self.pieces_BS.device).triu(1)
        other_BSS = self.pieces_BS[:, :, None] != self.pieces_BS[:, None, :]
        return (other_BSS | future_SS)[:, None]


class Feed:
    """A rank's share of the data. Together the ranks read the samples of a step in their order."""

    def __init__(self, job: Job, runtime: Runtime) -> None:
        self.job, self.runtime = job, runtime
        self.reading = job.reading
        self._texts = Texts(job.parts, dtype=job.dtype)
        self._measured: dict[str, Sequences] = {}

    @property
    def together(self) -> int:
        """Sequences that all ranks read at once."""
        return self.runtime.data_parallel * self.job.settings.micro_batch_sequences

    def micro_batches(self, step: Step) -> int:
        """Micro-batches that every rank reads in a step."""
        return step.sequences // self.together

    def samples(self, step: Step, number: int) -> tuple[int, int]:
        """The first and the last sample of this rank's micro-batch of that number."""
        begin = step.first_sample + self._begin(number)
        return begin, begin + self.job.settings.micro_batch_sequences - 1

    def training(self, step: Step) -> Iterator[Batch]:
        """This rank's micro-batches of a step."""
        read = self.reading.step(step)
        for number in range(self.micro_batches(step)):
            own = read[self._begin(number) :][: self.job.settings.micro_batch_sequences]
            drawn = [self._draw(part, at, step.sequence_length) for part, at in own]
            yield Batch.of(drawn, self.runtime.device).share(self.runtime)

    def validation_batches(self, held_out: HeldOut) -> int:
        """Micro-batches that every rank reads of a part that is held out."""
        return -(-len(self._sequences(held_out)) // self.together)

    def validation(self, held_out: HeldOut) -> Iterator[Batch]:
        """This rank's share, filled up with sequences that count nothing so that all ranks have as many."""
        length, size = self.job.config.sequence_length, self.job.settings.micro_batch_sequences
        sequences = self._sequences(held_out)
        for number in range(self.validation_batches(held_out)):
            begin = self._begin(number)
            own = [sequences.draw(one) for one in range(begin, min(begin + size, len(sequences)))]
            empty = sequences.draw(0)._replace(counted=np.zeros(length, dtype=np.float32))
            whole = Batch.of(own + [empty] * (size - len(own)), self.runtime.device)
            yield whole.share(self.runtime)

    def _sequences(self, held_out: HeldOut) -> Sequences:
        """Put together once; what is in them is read anew each time."""
        if held_out.part not in self._measured:
            length = self.job.config.sequence_length
            self._measured[held_out.part] = held_out.sequences(length, dtype=self.job.dtype)
        return self._measured[held_out.part]

    def _begin(self, number: int) -> int:
        """Where in a step this rank's micro-batch of that number begins."""
        return number * self.together + self.runtime.data_rank * self.job.settings.micro_batch_sequences

    def _draw(self, part: str, number: int, length: int) -> Drawn:
        pieces = self.reading.tracks[part].pieces(number)
        return self._texts.draw(part, pieces, length, apart=self.job.config.packing == "best_fit")
