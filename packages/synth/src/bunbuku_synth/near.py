"""Near-duplicates among everything made so far: sketches nominate, the exact similarity of character n-grams decides.

A sketch is made in one pass over a text: its n-grams are hashed into bins, and each bin keeps its least hash; empty bins borrow from
the next full one (densified one-permutation hashing, Shrivastava and Li 2014, arXiv:1406.4784). Bins are compared in bands: two texts
of similarity J share one with probability 1 - (1 - J^rows)^bands.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from bunbuku_contracts import Config
from pydantic import Field, PositiveInt

from bunbuku_synth.language import normalized

_BORROWED = 0x9E3779B1


class NearDuplicates(Config):
    """When two texts are near-duplicates."""

    threshold: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of their n-grams."""
    ngram: PositiveInt = 5
    """Letters in an n-gram; punctuation and width are left out."""
    bands: PositiveInt = 20
    rows: PositiveInt = 4

    def nominated(self, similarity: float) -> float:
        """Share of the pairs of this similarity that are compared.

        >>> round(NearDuplicates().nominated(0.7), 3), round(NearDuplicates().nominated(0.9), 3)
        (0.996, 1.0)
        """
        return 1 - (1 - similarity**self.rows) ** self.bands


class Near(NamedTuple):
    """An earlier text that is much the same."""

    name: str
    similarity: float


@dataclass
class Neighbours:
    """The texts seen so far."""

    config: NearDuplicates
    _grams: dict[str, frozenset[int]] = field(default_factory=dict[str, frozenset[int]])
    _bands: dict[tuple[int, ...], list[str]] = field(default_factory=dict[tuple[int, ...], list[str]])

    def nearest(self, text: str) -> Near | None:
        """The earlier text that is most like this one, if one is near."""
        grams = self._hashed(text)
        names = {name for band in self._banded(grams) for name in self._bands.get(band, ())}
        found = [Near(name, similarity(grams, self._grams[name])) for name in sorted(names)]
        best = max(found, key=lambda near: near.similarity, default=None)
        return best if best and best.similarity >= self.config.threshold else None

    def add(self, name: str, text: str) -> None:
        """Later texts are compared with this one, too."""
        grams = self._hashed(text)
        self._grams[name] = grams
        for band in self._banded(grams):
            self._bands.setdefault(band, []).append(name)

    def _hashed(self, text: str) -> frozenset[int]:
        letters, n = normalized(text), self.config.ngram
        return frozenset(crc32(letters[at : at + n].encode()) for at in range(max(1, len(letters) - n + 1)))

    def _banded(self, grams: frozenset[int]) -> Iterator[tuple[int, ...]]:
        bins = self._sketch(grams)
        rows = self.config.rows
        for band in range(self.config.bands):
            yield band, *bins[band * rows : (band + 1) * rows]

    def _sketch(self, grams: frozenset[int]) -> list[int]:
        count = self.config.bands * self.config.rows
        least: list[int | None] = [None] * count
        for gram in grams:
            # A CRC is linear in its input: multiplied, its bits depend on each other no more than those of a hash.
            rest, at = divmod(gram * 0x9E3779B97F4A7C15 >> 16 & 0xFFFFFFFFFFFF, count)
            known = least[at]
            if known is None or rest < known:
                least[at] = rest
        bins: list[int] = []
        for at in range(count):
            step = next(step for step in range(count) if least[(at + step) % count] is not None)
            found = least[(at + step) % count]
            assert found is not None
            bins.append(found + step * _BORROWED)
        return bins


def similarity(one: frozenset[int], other: frozenset[int]) -> float:
    """Jaccard similarity of two sets.

    >>> similarity(frozenset({1, 2, 3}), frozenset({2, 3, 4}))
    0.5
    """
    return len(one & other) / len(one | other)
