"""What a classifier reads of a text: how often each of its character n-grams occurs, hashed into a fixed number of slots.

Characters and not words: nothing has to be installed or analyzed, and what gives a text away (♪♪, 今すぐ, である。) is often
no word. Of a long text the beginning, the middle and the end are read. The same text gives the same features on every
machine.
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from bunbuku_contracts import Config
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from bunbuku_corpus.language import sample
from bunbuku_corpus.ngrams import codepoints, ngram_hashes


class Rows(NamedTuple):
    """Sparse rows: the slots of row `i`, and their values, lie from `offsets[i]` to `offsets[i + 1]`."""

    values: NDArray[np.float32]
    slots: NDArray[np.int64]
    offsets: NDArray[np.int64]


class Features(Config):
    """How a text becomes numbers."""

    ngrams: tuple[PositiveInt, ...] = Field(default=(1, 2, 3), min_length=1)
    """Lengths of the n-grams that are counted."""
    slot_bits: int = Field(default=18, ge=8, le=24)
    """Two to this power slots; n-grams that share one by accident count as the same."""
    max_chars: PositiveInt = 2000
    """Characters read of a text, from its beginning, middle and end."""

    @property
    def slots(self) -> int:
        """Length of a row."""
        return 1 << self.slot_bits

    def of(self, texts: Sequence[str]) -> Rows:
        """A row a text: 1 + ln of the counts (Salton and Buckley 1988), scaled to length one; an empty text has none."""
        slots, values = zip(*map(self._row, texts), strict=True) if texts else ((), ())
        offsets = np.cumsum([0, *map(len, slots)])
        return Rows(np.concatenate([*values, _NO_VALUES]), np.concatenate([*slots, _NO_SLOTS]), offsets)

    def _row(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        points = codepoints(unicodedata.normalize("NFKC", sample(text, self.max_chars)).lower())
        hashes = [ngram_hashes(points, n) for n in self.ngrams if len(points) >= n]
        shift = np.uint64(64 - self.slot_bits)
        slots, counts = np.unique(np.concatenate([*hashes, _NO_HASHES]) >> shift, return_counts=True)
        values = 1 + np.log(counts)
        return slots.astype(np.int64), (values / (np.linalg.norm(values) or 1.0)).astype(np.float32)


_NO_HASHES = np.empty(0, np.uint64)
_NO_SLOTS = np.empty(0, np.int64)
_NO_VALUES = np.empty(0, np.float32)
