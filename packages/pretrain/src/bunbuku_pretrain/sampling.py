"""Which tokens a step reads: a shuffled walk over windows of one long stream, the same on any number of ranks.

The documents of a part lie one after the other in its `.bin`. A window is `sequence_length` tokens and the one after
them, as every token but the first is also a label. Windows do not overlap in what they predict; what is left at the
end, less than a window, is not read. An epoch is a permutation of all windows, drawn from the seed and its number.
Sample `n` of a run is a function of the seed alone, so nothing is remembered when a run goes on.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDS = 6


class Windows:
    """The windows of a token file."""

    def __init__(self, path: Path, *, dtype: str, sequence_length: int) -> None:
        self.tokens: NDArray[np.integer] = np.memmap(path, dtype=np.dtype(dtype), mode="r")
        self.sequence_length = sequence_length

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self.sequence_length)

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """Window `index`, one token longer than a sequence."""
        begin = index * self.sequence_length
        return self.tokens[begin : begin + self.sequence_length + 1].astype(np.int64)


class Scored(NamedTuple):
    """A window to measure on: the last one of a file may be short, its rest filled up and not counted."""

    tokens: NDArray[np.int64]
    counted: NDArray[np.float32]


def scored_windows(windows: Windows, *, most_tokens: int | None) -> Iterator[Scored]:
    """Windows from the beginning that predict every token but the first once, at most so many."""
    length = windows.sequence_length
    left = min(len(windows.tokens) - 1, most_tokens or len(windows.tokens))
    for index in range(-(-left // length)):
        tokens = windows[index]
        counted = np.zeros(length, dtype=np.float32)
        counted[: min(length, len(tokens) - 1, left - index * length)] = 1
        yield Scored(np.pad(tokens, (0, length + 1 - len(tokens))), counted)


class Order:
    """The order in which the windows are read, epoch after epoch.

    >>> order = Order(5, seed=7)
    >>> sorted(order.window(sample) for sample in range(5, 10))
    [0, 1, 2, 3, 4]
    """

    def __init__(self, count: int, *, seed: int) -> None:
        self.count = count
        self._half_bits = max(1, -(-(count - 1).bit_length() // 2))
        self._seed = seed

    def window(self, sample: int) -> int:
        """Number of the window that sample `sample` of the run is."""
        epoch, place = divmod(sample, self.count)
        while True:  # a permutation of the next power of four, walked until it lands inside: Black and Rogaway 2002 §4
            place = self._feistel(place, epoch)
            if place < self.count:
                return place

    def _feistel(self, value: int, epoch: int) -> int:
        mask = (1 << self._half_bits) - 1
        left, right = value >> self._half_bits, value & mask
        for turn in range(ROUNDS):
            key = f"{self._seed}/{epoch}/{turn}/{right}".encode()
            mixed = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
            left, right = right, left ^ (mixed & mask)
        return left << self._half_bits | right
