"""Near-duplicates: MinHash signatures nominate pairs of documents, the exact Jaccard similarity decides.

A document is the set of its character n-grams: not of words, since Japanese has no spaces. Its signature is the least
value of each of `bands * rows` hash functions over that set (Broder 1997, "On the resemblance and containment of
documents"); two documents agree in one value with the probability of their Jaccard similarity J, and in all rows of some
band with probability 1 - (1 - J^rows)^bands (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4).

Departs: bands only nominate. Whether two documents are near-duplicates is decided by the similarity of their sets, so no
document is dropped for an accident of hashing.
"""

from collections.abc import Iterator

import numpy as np
from bunbuku_contracts import Config
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]  # compiled, and it has no stubs

from bunbuku_corpus.comparison import Buffer
from bunbuku_corpus.ngrams import Hashes, ngram_hashes

LEAST_RECALL = 0.9
_SEED = 1


class NearDuplicates(Config):
    """When two documents are near-duplicates, and how thoroughly they are looked for."""

    ngram: PositiveInt = 5
    """Characters in an n-gram. Shorter texts are compared as a whole: they have exact duplicates only."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity from which two documents are near-duplicates."""
    bands: PositiveInt = 20
    """More bands find more pairs, and take more time and memory."""
    rows: PositiveInt = 5
    """More rows nominate fewer pairs that are not near."""
    max_bucket: PositiveInt = 200
    """All pairs of so many documents that share a band are compared. Of more, each is compared with the ten best alone,
    those that are first to stay: the report counts such pairs."""

    @property
    def permutations(self) -> int:
        """Values in a signature."""
        return self.bands * self.rows

    @property
    def recall(self) -> float:
        """Share of pairs exactly at the threshold that are found; those above it are found more surely.

        >>> round(NearDuplicates(threshold=0.8, bands=14, rows=8).recall, 3)
        0.924
        """
        return self.nominated(self.threshold)

    def nominated(self, similarity: float) -> float:
        """Share of the pairs of this similarity that are compared.

        >>> [round(NearDuplicates(bands=20, rows=5).nominated(j), 3) for j in (0.2, 0.5, 0.8)]
        [0.006, 0.47, 1.0]
        """
        return 1 - (1 - similarity**self.rows) ** self.bands

    @model_validator(mode="after")
    def _finds_what_it_is_for(self) -> "NearDuplicates":
        if self.recall < LEAST_RECALL:
            raise ValueError(
                f"`bands` {self.bands} and `rows` {self.rows} find {self.recall:.0%} of the pairs at `threshold` "
                f"{self.threshold}, less than {LEAST_RECALL:.0%}: more bands or fewer rows find more"
            )
        return self


def windows(texts: Buffer, ngram: int) -> Iterator[Hashes]:
    """The hash of each n-gram of each text, in order. A text shorter than an n-gram has none."""
    hashes = ngram_hashes(texts.points, ngram) if len(texts.points) >= ngram else np.empty(0, np.uint64)
    for begin, end in zip(texts.offsets[:-1].tolist(), texts.offsets[1:].tolist(), strict=True):
        yield hashes[begin : max(begin, end - ngram + 1)]


def shingles(texts: Buffer, ngram: int) -> Iterator[Hashes]:
    """The set of each text's n-grams, sorted."""
    return map(np.unique, windows(texts, ngram))


def jaccard(left: Hashes, right: Hashes) -> float:
    """Size of the intersection over that of the union, of two sorted sets; 1 if both are empty.

    >>> jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64))
    0.5
    """
    common = np.intersect1d(left, right, assume_unique=True).size
    union = left.size + right.size - common
    return common / union if union else 1.0


def band_keys(texts: Buffer, config: NearDuplicates) -> NDArray[np.uint64]:
    """One number for every text and band, equal where the texts agree in all rows of the band; 0 in all if it has no n-gram."""
    sets = list(windows(texts, config.ngram))
    if not sets:
        return np.empty((0, config.bands), np.uint64)
    matrix = RMinHash.digest_matrix_from_token_hash_sets(sets, config.permutations, _SEED)
    signatures = np.array(matrix.to_rows(), np.uint32).reshape(len(sets), config.bands, config.rows)
    keys = np.zeros((len(sets), config.bands), np.uint64)
    for row in range(config.rows):
        keys = (keys ^ signatures[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    # The bands are told apart, so that all of them can be grouped by their keys together.
    keys = (keys ^ np.arange(1, config.bands + 1, dtype=np.uint64)) * np.uint64(0xD6E8FEB86659FD93)
    keys ^= keys >> np.uint64(32)
    keys[[not one.size for one in sets]] = 0
    return keys
