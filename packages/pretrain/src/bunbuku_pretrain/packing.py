"""Documents put together into sequences whole, so that few are cut and little is filled up.

A document of n tokens is n - 1 predictions: every token but the last is read, every token but the first is a label. A
sequence holds the predictions of several documents, each to itself. A document with more predictions than a sequence
holds is cut into full sequences and a rest; the cuts lose context and no token, since what is the last label before a
cut is the first token after it.

The rest is best-fit decreasing (Ding et al. 2024, arXiv:2404.10830): the longest piece first, each into the sequence
where the least room remains. Pieces of equal length are placed together, so that time grows with the number of
lengths, hardly with the number of documents.
"""

import os
from collections import defaultdict, deque
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bunbuku_pretrain.sampling import Whole


class Pieces(NamedTuple):
    """Predictions of one document each: the token that the first is made from, and how many there are."""

    begins: Whole
    lengths: Whole


def whole_documents(lengths: NDArray[np.integer]) -> Pieces:
    """Every document that predicts anything, of documents of so many tokens that lie one after the other."""
    ends = np.cumsum(lengths, dtype=np.int64)
    counted = lengths > 1
    return Pieces((ends - lengths)[counted], lengths[counted].astype(np.int64) - 1)


def cut(pieces: Pieces, capacity: int) -> Pieces:
    """Pieces that each fit into a sequence: full sequences, and what remains."""
    times = -(-pieces.lengths // capacity)
    number = np.arange(int(times.sum())) - np.repeat(np.cumsum(times) - times, times)
    begins = np.repeat(pieces.begins, times) + number * capacity
    left = np.repeat(pieces.lengths, times) - number * capacity
    return Pieces(begins, np.minimum(left, capacity))


def joined(pieces: Pieces) -> Pieces:
    """Pieces in the order of the text, neighbours of one document made one again."""
    order = np.argsort(pieces.begins)
    begins, lengths = pieces.begins[order], pieces.lengths[order]
    # Between two documents there is a token that predicts nothing, so what touches is of one document.
    if not len(begins):
        return pieces
    starts = np.flatnonzero(np.concatenate([[True], begins[1:] != (begins + lengths)[:-1]]))
    return Pieces(begins[starts], np.add.reduceat(lengths, starts))


def best_fit(lengths: Whole, capacity: int) -> Whole:
    """The sequence that every piece goes into, numbered from 0 on, by best-fit decreasing.

    >>> best_fit(np.array([2, 6, 3, 4, 5]), 10).tolist()
    [1, 0, 1, 0, 1]
    """
    if not len(lengths):
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    sorted_lengths = lengths[order]
    starts = np.flatnonzero(np.diff(sorted_lengths, prepend=capacity + 1))
    ends = np.append(starts[1:], len(lengths))
    room = _Room(capacity)
    placed = np.empty(len(lengths), dtype=np.int64)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        length = int(sorted_lengths[start])
        while start < end:
            start += room.place(length, placed[start:end])
    bins = np.empty_like(placed)
    bins[order] = placed
    return bins


class _Room:
    """Sequences by how much room they have. Those that are alike are held as ranges of numbers."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._opened = 0
        self._with: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self._spaces = 0  # a bit for every amount of room that some sequence has

    def place(self, length: int, out: Whole) -> int:
        """Put pieces of one length into the sequences that they fit best; how many were placed, one at least."""
        above = self._spaces >> length
        space = length + (above & -above).bit_length() - 1 if above else self.capacity
        each = space // length
        begin, end = self._taken(space, -(-len(out) // each)) if above else self._new(-(-len(out) // each))
        full = min(end - begin, len(out) // each)
        out[: full * each] = np.repeat(np.arange(begin, begin + full), each)
        self._put(space - each * length, begin, begin + full)
        if begin + full == end:
            return full * each
        out[full * each :] = begin + full  # the last sequence gets what is left
        self._put(space - (len(out) - full * each) * length, begin + full, end)
        return len(out)

    def _new(self, count: int) -> tuple[int, int]:
        self._opened += count
        return self._opened - count, self._opened

    def _taken(self, space: int, most: int) -> tuple[int, int]:
        """At most so many neighbouring sequences with exactly this room."""
        ranges = self._with[space]
        begin, end = ranges.popleft()
        if end - begin > most:
            ranges.appendleft((begin + most, end))
            end = begin + most
        if not ranges:
            self._spaces &= ~(1 << space)
        return begin, end

    def _put(self, space: int, begin: int, end: int) -> None:
        if space and end > begin:
            self._with[space].append((begin, end))
            self._spaces |= 1 << space


class Packing:
    """Pieces by the sequence that they are in. On the disk a folder of three arrays."""

    def __init__(self, begins: Whole, lengths: NDArray[np.int32], firsts: Whole) -> None:
        self.begins, self.lengths = begins, lengths
        self.firsts = firsts
        """Number of the first piece of every sequence, and at the end that of all pieces."""

    def __len__(self) -> int:
        return len(self.firsts) - 1

    @classmethod
    def of(cls, pieces: Pieces, capacity: int) -> Self:
        """Pack pieces, cut where they must be."""
        pieces = cut(pieces, capacity)
        bins = best_fit(pieces.lengths, capacity)
        order = np.argsort(bins, kind="stable")
        firsts = np.concatenate([[0], np.cumsum(np.bincount(bins))]).astype(np.int64)
        return cls(pieces.begins[order], pieces.lengths[order].astype(np.int32), firsts)

    def sequence(self, number: int) -> Pieces:
        """What lies in a sequence."""
        return self.sequences(np.array([number]))

    def sequences(self, numbers: Whole) -> Pieces:
        """What lies in some sequences."""
        counts = self.firsts[numbers + 1] - self.firsts[numbers]
        offsets = np.repeat(self.firsts[numbers] - (np.cumsum(counts) - counts), counts)
        chosen = np.arange(int(counts.sum())) + offsets
        return Pieces(self.begins[chosen], self.lengths[chosen].astype(np.int64))

    def fill(self, capacity: int) -> float:
        """Share of all room that predicts something."""
        return float(self.lengths.sum(dtype=np.int64)) / (len(self) * capacity)

    def save(self, folder: Path) -> None:
        """Write it whole or not at all."""
        partial = folder.with_name(folder.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        for name, array in self._arrays.items():
            with (partial / name).open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        partial.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it as it is needed."""
        begins, lengths, firsts = (np.load(folder / name, mmap_mode="r") for name in cls._NAMES)
        return cls(begins, lengths, firsts)

    _NAMES = ("begins.npy", "lengths.npy", "firsts.npy")

    @property
    def _arrays(self) -> dict[str, NDArray[np.integer]]:
        return dict(zip(self._NAMES, (self.begins, self.lengths, self.firsts), strict=True))
