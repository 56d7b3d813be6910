"""How often and in which order a part is read: laps over its text.

A *stint* is what a run reads of a part in sequences of one length; phases of equal length make one stint. An epoch is a
permutation of the part. It goes on where a stint ends, so that a stint of another length reads what is left of it first.
What a stint reads of one epoch is a *lap*.

Cut out of one long text, sequences of several lengths meet in blocks of `shuffle_tokens`, a multiple of each: an epoch
permutes the blocks, a lap takes some of them, and permutes the sequences inside those. Where the length changes in the
middle of an epoch, up to one block is left out of that epoch. Packed sequences leave nothing out: what is left of the
epoch's documents is packed anew for the new length.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from bunbuku_contracts import Config
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_pretrain.packing import Packing, Pieces, joined
from bunbuku_pretrain.sampling import Order, Whole


class Stint(Config):
    """Sequences of one length that are read of a part one after the other."""

    part: str
    sequence_length: PositiveInt
    sequences: PositiveInt


class Lap(Config):
    """A stint's sequences of one epoch."""

    part: str
    epoch: NonNegativeInt
    sequence_length: PositiveInt
    first: NonNegativeInt
    """Number of its first sequence, of all that are read of the part."""
    sequences: PositiveInt
    room: PositiveInt
    """Sequences that it permutes, of which it reads the first."""
    place: NonNegativeInt = 0
    """Number of its first block in the epoch's order."""
    blocks: PositiveInt = 1
    """Blocks of the whole part."""
    block_tokens: PositiveInt = 1
    packing: str | None = None
    """Name of the packing that it reads, if sequences are packed."""


def stints(reads: Iterable[Stint]) -> list[Stint]:
    """One after the other what is read of a part, neighbours of one length joined."""
    found: list[Stint] = []
    for read in reads:
        if found and found[-1].sequence_length == read.sequence_length:
            together = found[-1].sequences + read.sequences
            found[-1] = read.model_copy(update={"sequences": together})
        else:
            found.append(read)
    return found


def laps_of_text(reads: Sequence[Stint], *, tokens: int, block_tokens: int) -> Iterator[Lap]:
    """The laps of a part of so many tokens, in sequences cut out of it."""
    blocks = (tokens - 1) // block_tokens
    first = place = 0
    for read in reads:
        left, each = read.sequences, block_tokens // read.sequence_length
        while left:
            epoch, begin = divmod(place, blocks)
            taken = min(blocks - begin, -(-left // each))
            count = min(left, taken * each)
            yield Lap(
                part=read.part,
                epoch=epoch,
                sequence_length=read.sequence_length,
                first=first,
                sequences=count,
                room=taken * each,
                place=begin,
                blocks=blocks,
                block_tokens=block_tokens,
            )
            first, place, left = first + count, place + taken, left - count


def laps_of_packings(
    reads: Sequence[Stint], documents: Pieces, *, seed: int, pack: Callable[[str, Pieces, int], Packing]
) -> Iterator[Lap]:
    """The laps of a part with these documents, packed.

    Args:
        reads: All that is read of the part.
        documents: All that it has.
        seed: Of the order.
        pack: Packs pieces into sequences of so many tokens, and keeps them under the name.
    """
    first, epoch = 0, 0
    rest: Pieces | None = None  # of the epoch; None for all of it
    for number, read in enumerate(reads):
        left, length = read.sequences, read.sequence_length
        while left:
            name = f"{read.part}.{length}" if rest is None else f"{read.part}.{length}.{epoch}.{first}"
            packed = pack(name, documents if rest is None else rest, length)
            count = min(left, len(packed))
            lap = Lap(
                part=read.part, epoch=epoch, sequence_length=length, first=first, sequences=count, room=len(packed),
                packing=name,
            )  # fmt: skip
            yield lap
            first, left, rest = first + count, left - count, None
            if count == len(packed):
                epoch += 1
            elif number + 1 < len(reads):
                numbers = order_of(lap, seed).places(range(count, lap.room))
                rest = joined(packed.sequences(numbers))


def order_of(lap: Lap, seed: int) -> Order:
    """The order of the sequences of a lap."""
    name = lap.packing or f"{lap.part} from {lap.place}"
    return Order(lap.room, key=f"{seed}/{name}/{lap.epoch}/lap")


class Track:
    """All laps of a part: where in its text each of the run's sequences lies."""

    def __init__(self, laps: Sequence[Lap], *, seed: int, load: Callable[[str], Packing]) -> None:
        self.laps = laps
        self.seed = seed
        self._firsts = [lap.first for lap in laps]
        self._load = load
        self._packings: dict[str, Packing] = {}

    def lap(self, number: int) -> Lap:
        """The lap that a sequence is in."""
        return self.laps[bisect_right(self._firsts, number) - 1]

    def pieces(self, number: int) -> Pieces:
        """The text of a sequence."""
        lap = self.lap(number)
        return self.texts(lap, np.array([number - lap.first]))

    def read(self, first: int, last: int) -> Iterator[tuple[int, Pieces]]:
        """The text of the sequences `first` to `last`, epoch by epoch."""
        while first <= last:
            lap = self.lap(first)
            end = min(last + 1, lap.first + lap.sequences)
            yield lap.epoch, self.texts(lap, np.arange(first - lap.first, end - lap.first))
            first = end

    def texts(self, lap: Lap, numbers: Whole) -> Pieces:
        """The text of some sequences of a lap, all together."""
        if lap.packing is not None:
            return self._packing(lap.packing).sequences(order_of(lap, self.seed).places(numbers))
        begins = self._begins(lap, numbers)
        return Pieces(begins, np.full(len(begins), lap.sequence_length))

    def _begins(self, lap: Lap, numbers: Whole) -> Whole:
        each = lap.block_tokens // lap.sequence_length
        # With one sequence a block, the order of the blocks is all the order there is.
        inside = numbers if each == 1 else order_of(lap, self.seed).places(numbers)
        blocks = Order(lap.blocks, key=f"{self.seed}/{lap.part}/{lap.epoch}/blocks")
        found = blocks.places(lap.place + inside // each)
        return found * lap.block_tokens + inside % each * lap.sequence_length

    def _packing(self, name: str) -> Packing:
        if name not in self._packings:
            self._packings[name] = self._load(name)
        return self._packings[name]
