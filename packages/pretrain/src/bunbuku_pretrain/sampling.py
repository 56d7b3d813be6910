"""Shuffling without a list in memory, and the windows that a long text is cut into.

The documents of a part lie one after the other in its `.bin`. A window is `sequence_length` tokens and the one after
them, as every token but the first is also a label. Windows do not overlap in what they predict; what is left at the
end, less than a window, is not read.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDS = 6

type Whole = NDArray[np.int64]


class Windows:
    """The windows of a token file."""

    def __init__(self, path: Path, *, dtype: str, sequence_length: int) -> None:
        self.tokens: NDArray[np.integer] = np.memmap(path, dtype=np.dtype(dtype), mode="r")
        self.sequence_length = sequence_length

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self.sequence_length)

    def __getitem__(self, index: int) -> Whole:
        """Window `index`, one token longer than a sequence."""
        begin = index * self.sequence_length
        return self.tokens[begin : begin + self.sequence_length + 1].astype(np.int64)


class Scored(NamedTuple):
    """A window to measure on: the last one of a file may be short, its rest filled up and not counted."""

    tokens: Whole
    counted: NDArray[np.float32]


class ScoredWindows:
    """Windows from the beginning that predict every token but the first once, at most so many; read as they are asked for."""

    def __init__(self, windows: Windows, *, most_tokens: int | None) -> None:
        self._windows = windows
        self._predicted = max(0, min(len(windows.tokens) - 1, most_tokens or len(windows.tokens)))

    def __len__(self) -> int:
        return -(-self._predicted // self._windows.sequence_length)

    def __getitem__(self, index: int) -> Scored:
        length, tokens = self._windows.sequence_length, self._windows[index]
        counted = np.zeros(length, dtype=np.float32)
        counted[: min(length, len(tokens) - 1, self._predicted - index * length)] = 1
        return Scored(np.pad(tokens, (0, length + 1 - len(tokens))), counted)


class Order:
    """A permutation of `count` things, drawn from a key: where each lies is computed, nothing is kept.

    >>> order = Order(5, key="seed 7, epoch 0")
    >>> sorted(int(place) for place in order.places(range(5)))
    [0, 1, 2, 3, 4]
    """

    def __init__(self, count: int, *, key: str) -> None:
        self.count = count
        self._half_bits = max(1, -(-(count - 1).bit_length() // 2))
        drawn = hashlib.blake2b(key.encode(), digest_size=8 * ROUNDS).digest()
        self._keys = np.frombuffer(drawn, dtype="<u8").astype(np.uint64)

    def places(self, numbers: range | Whole) -> Whole:
        """Which thing comes at each of these numbers, all of them below `count`."""
        found = np.asarray(numbers, dtype=np.uint64)
        found = self._feistel(found)
        # A permutation of the next power of four, walked until it lands inside: Black and Rogaway 2002 §4.
        while (outside := found >= self.count).any():
            found[outside] = self._feistel(found[outside])
        return found.astype(np.int64)

    def place(self, number: int) -> int:
        """As `places`, of one number."""
        return int(self.places(range(number, number + 1))[0])

    def _feistel(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        bits, mask = np.uint64(self._half_bits), np.uint64((1 << self._half_bits) - 1)
        left, right = values >> bits, values & mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right, key) & mask)
        return left << bits | right


def _mixed(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """Numbers as good as random: the finalizer of SplitMix64 (Steele, Lea and Flood 2014), on `values` plus `key`."""
    mixed = values + key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
