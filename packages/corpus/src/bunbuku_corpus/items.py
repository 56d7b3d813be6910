"""Many documents' characters or words as one array, and the n-grams of all of them at once.

A batch is one array of *items* (code points, or hashes of words) with the place where each document begins. Any run of
items is hashed from prefix sums, so an n-gram of every place costs one subtraction and one multiplication, whatever `n`
is; sorting the hashes once, with the document in their upper bits, brings equal n-grams of a document together. Longer
n-grams are looked for only where a shorter one was found repeated, since none can repeat elsewhere.

Two different n-grams of one document are taken for equal with a probability below 1e-9 for a document of 10,000
characters: some 50 bits of the hash remain beside the document's number.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunbuku_corpus.ngrams import codepoints

type Hashes = NDArray[np.uint64]
type Places = NDArray[np.int64]
type Mask = NDArray[np.bool_]

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2⁶⁴
_INVERSE = pow(_BASE, -1, 1 << 64)


class Powers:
    """Powers of a number modulo 2⁶⁴, as many as were ever asked for."""

    def __init__(self, base: int) -> None:
        self._base = np.uint64(base)
        self._known: Hashes = np.ones(1, np.uint64)

    def first(self, count: int) -> Hashes:
        """The powers from 0 to below `count`."""
        if len(self._known) < count:
            factors = np.full(max(count, 2 * len(self._known)), self._base)
            factors[0] = 1
            self._known = np.multiply.accumulate(factors)
        return self._known[:count]


_POWERS, _INVERSES = Powers(_BASE), Powers(_INVERSE)


def mix(x: Hashes) -> Hashes:
    """SplitMix64's finalizer (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators")."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Grams(NamedTuple):
    """The n-grams of a batch of documents that may repeat, equal ones of a document side by side."""

    places: Places
    """Where each occurrence begins; occurrences of one n-gram follow each other."""
    runs: Places
    """Index in `places` of the first occurrence of each different n-gram."""
    lengths: Places
    """How often each occurs."""
    documents: Places
    """In which document."""
    windows: Places
    """How many n-grams each document has, these and those known to be single."""
    singles: Places
    """How many of each document's are known to be single and not among `runs`."""

    @property
    def distinct(self) -> Places:
        """How many different n-grams each document has."""
        return self.singles + np.bincount(self.documents, minlength=len(self.windows))

    @property
    def repeated(self) -> Places:
        """How many different n-grams each document has more than once."""
        return np.bincount(self.documents[self.lengths > 1], minlength=len(self.windows))

    @property
    def top(self) -> Places:
        """How often each document's most frequent n-gram occurs."""
        top = (self.windows > 0).astype(np.int64)
        np.maximum.at(top, self.documents, self.lengths)
        return top

    @property
    def occurrences(self) -> Places:
        """To which of `runs` each of `places` belongs."""
        return np.repeat(np.arange(len(self.runs)), self.lengths)


class Items[T: (np.uint32, np.uint64)]:
    """The items of a batch of documents.

    `values` are theirs, one after another; `offsets` has the place where each document begins, and at last the end.
    """

    def __init__(self, values: NDArray[T], offsets: Places) -> None:
        self.values = values
        self.offsets = offsets
        self.sizes: Places = np.diff(offsets)
        self._grams: dict[int, tuple[Grams, Mask]] = {}

    @property
    def count(self) -> int:
        """Number of documents."""
        return len(self.sizes)

    @cached_property
    def documents(self) -> Places:
        """Which document each item belongs to."""
        return np.repeat(np.arange(self.count), self.sizes)

    @cached_property
    def _sums(self) -> Hashes:
        """Prefix sums of mixed values times a power: Σ v(i)Bⁱ."""
        sums = np.zeros(len(self.values) + 1, np.uint64)
        weighted = mix(self.values.astype(np.uint64) + np.uint64(1)) * _POWERS.first(len(self.values))
        np.cumsum(weighted, out=sums[1:])
        return sums

    def hashes(self, starts: Places, ends: Places) -> Hashes:
        """A hash of the items from each of `starts` to below each of `ends`, the same wherever they stand."""
        total = (self._sums[ends] - self._sums[starts]) * _INVERSES.first(len(self.values) + 1)[starts]
        return mix(total + (ends - starts).astype(np.uint64))

    def totals(self, mask: Mask) -> Places:
        """For how many of each document's items `mask` is true."""
        return np.bincount(self.documents[mask], minlength=self.count)

    def grams(self, n: int) -> Grams:
        """The documents' n-grams of `n` items. Ask for a small `n` first: it makes longer ones cheap."""
        return self._sorted(n)[0]

    def _sorted(self, n: int) -> tuple[Grams, Mask]:
        """The n-grams, and at which places one begins that is repeated."""
        if n not in self._grams:
            windows = np.maximum(self.sizes - n + 1, 0)
            shorter = max((size for size in self._grams if size < n), default=None)
            candidates = self._starts(n) if shorter is None else self._starts(n, self._grams[shorter][1])
            keys = self._keys(candidates, n)
            order = np.argsort(keys)
            keys = keys[order]
            places = candidates[order]
            changes = np.flatnonzero(keys[1:] != keys[:-1]) + 1
            runs = np.concatenate(([0], changes)) if len(keys) else changes
            lengths = np.diff(np.append(runs, len(keys)))
            documents = self.documents[places[runs]]
            singles = windows - np.bincount(self.documents[candidates], minlength=self.count)
            grams = Grams(places, runs, lengths, documents, windows, singles)
            repeated = np.zeros(len(self.values), np.bool_)
            repeated[places[np.repeat(lengths > 1, lengths)]] = True
            self._grams[n] = grams, repeated
        return self._grams[n]

    def _starts(self, n: int, mask: Mask | None = None) -> Places:
        """Places where an n-gram begins that ends in the same document."""
        if len(self.values) < n:
            return np.empty(0, np.int64)
        whole = self.documents[: len(self.values) - n + 1] == self.documents[n - 1 :]
        return np.flatnonzero(whole if mask is None else whole & mask[: len(whole)])

    def _keys(self, starts: Places, n: int) -> Hashes:
        bits = np.uint64(max(self.count - 1, 1).bit_length())
        hashes = self.hashes(starts, starts + n)
        return (self.documents[starts].astype(np.uint64) << (np.uint64(64) - bits)) | (hashes >> bits)

    def seen_before(self, n: int) -> Mask:
        """At which places an n-gram begins that stands further left in its document, too."""
        grams = self.grams(n)
        again = np.zeros(len(self.values), np.bool_)
        if len(grams.runs):
            repeated = np.repeat(grams.lengths > 1, grams.lengths)
            again[grams.places[repeated]] = True
            again[np.minimum.reduceat(grams.places, grams.runs)] = False
        return again

    def most_frequent(self, n: int) -> Mask:
        """At which places the most frequent n-gram of the document begins; of several the first in the text."""
        grams = self.grams(n)
        mask = np.zeros(len(self.values), np.bool_)
        # A document whose n-grams are all single is represented by its first one.
        lonely = np.flatnonzero((grams.windows > 0) & (grams.top == 1))
        mask[self.offsets[lonely]] = True
        runs = np.flatnonzero((grams.lengths > 1) & (grams.lengths == grams.top[grams.documents]))
        if len(runs):
            first = np.minimum.reduceat(grams.places, grams.runs)[runs]
            order = np.lexsort((first, grams.documents[runs]))
            chosen = runs[order][np.unique(grams.documents[runs][order], return_index=True)[1]]
            mask[grams.places[np.isin(grams.occurrences, chosen)]] = True
        return mask

    def covered(self, starts: Mask, n: int) -> Places:
        """How many items of each document lie in an n-gram that begins where `starts` is true, each counted once."""
        # An n-gram ends in its document, so that what begins n further left than an item covers it no more.
        edges = np.zeros(len(self.values) + 1, np.int64)
        begin = np.flatnonzero(starts)
        np.add.at(edges, begin, 1)
        np.add.at(edges, begin + n, -1)
        return self.totals(np.cumsum(edges[:-1]) > 0)


def text_hashes(texts: Sequence[str]) -> Hashes:
    """A hash of each of many short texts, all at once. Two of n texts share one with a probability of some n²/2⁶⁵.

    >>> hashes = text_hashes(["猫", "犬", "", "猫"])
    >>> (hashes[0] == hashes[3], len(set(hashes.tolist())))
    (np.True_, 3)
    """
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return Items(codepoints("".join(texts)), offsets).hashes(offsets[:-1], offsets[1:])
