"""Near-duplicates: MinHash signatures find candidates, exact Jaccard similarity decides, the first document stays.

A document is the set of its character n-grams. Its signature is the least value of each of `bands * rows` hash functions
over that set (Broder 1997, "On the resemblance and containment of documents"); two documents agree in one value with the
probability of their Jaccard similarity J, and in all rows of some band with probability 1 - (1 - J^rows)^bands
(Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4).

Departs: bands only nominate. Whether two documents are near-duplicates is decided by the similarity of their sets, so no
document is dropped for an accident of hashing. And no clusters are formed, which could chain unlike documents: one goes
only if it is near to one that stays, the first such in the corpus's order.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from bunbuku_contracts import Config
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]  # compiled, and it has no stubs

from bunbuku_corpus.ngrams import Hashes, codepoints, ngram_hashes

LEAST_RECALL = 0.9
_SEED = 1


class NearDuplicates(Config):
    """When two documents are near-duplicates, and how thoroughly they are looked for."""

    ngram: PositiveInt = 5
    """Characters in an n-gram."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity from which a document is dropped."""
    bands: PositiveInt = 20
    """More bands find more pairs, and take more time and memory."""
    rows: PositiveInt = 5
    """More rows nominate fewer pairs that are not near."""

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
        return 1 - (1 - self.threshold**self.rows) ** self.bands

    @model_validator(mode="after")
    def _finds_what_it_is_for(self) -> "NearDuplicates":
        if self.recall < LEAST_RECALL:
            raise ValueError(
                f"`bands` {self.bands} and `rows` {self.rows} find {self.recall:.0%} of the pairs at `threshold` "
                f"{self.threshold}, less than {LEAST_RECALL:.0%}: more bands or fewer rows find more"
            )
        return self


def comparable(text: str) -> str:
    r"""The text as it is compared: NFKC and no white space; voicing marks and digits stay what they are.

    >>> comparable("ｶﾞｿﾘﾝ　１００ 円\n"), comparable("です") == comparable("てす")
    ('ガソリン100円', False)
    """
    return "".join(unicodedata.normalize("NFKC", text).split())


def shingles(text: str, ngram: int) -> Hashes:
    """The set of a comparable text's n-grams, sorted.

    A text shorter than an n-gram is one by itself; of an empty one there are none.
    """
    return np.unique(ngram_hashes(codepoints(text), ngram))


def jaccard(left: Hashes, right: Hashes) -> float:
    """Size of the intersection over that of the union, of two sorted sets; 1 if both are empty.

    >>> jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64))
    0.5
    """
    common = np.intersect1d(left, right, assume_unique=True).size
    union = left.size + right.size - common
    return common / union if union else 1.0


def band_keys(texts: Sequence[str], config: NearDuplicates) -> NDArray[np.uint64]:
    """One number for every text and band, equal where the texts agree in all rows of the band."""
    sets = [ngram_hashes(codepoints(text), config.ngram) for text in texts]
    offsets = np.cumsum([0, *map(len, sets)]).astype(np.uint64)
    hashes = np.concatenate(sets) if sets else np.empty(0, np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, config.permutations, _SEED)
    signatures = np.array(matrix.to_rows(), np.uint32).reshape(len(texts), config.bands, config.rows)
    keys = np.zeros((len(texts), config.bands), np.uint64)
    for row in range(config.rows):
        keys = (keys ^ signatures[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def nominated(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which texts share a band with another: none of the others can be a near-duplicate that is found."""
    shared = np.zeros(len(keys), np.bool_)
    for band in range(keys.shape[1]):
        _, inverse, counts = np.unique(keys[:, band], return_inverse=True, return_counts=True)
        shared |= counts[inverse] > 1
    return shared


class Near(NamedTuple):
    """A document that stays, and how near another is to it."""

    id: str
    similarity: float


class Kept:
    """Nominated documents that stay, to compare the next ones with."""

    def __init__(self, config: NearDuplicates) -> None:
        self._config = config
        self._ids: list[str] = []
        self._sets: list[Hashes] = []
        self._buckets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def nearest_before(self, id: str, text: str, keys: Iterable[int]) -> Near | None:
        """The first document that stays and is a near-duplicate of this one; if there is none, this one stays."""
        mine = shingles(text, self._config.ngram)
        buckets = [self._buckets[place] for place in enumerate(keys)]
        for index in sorted({index for bucket in buckets for index in bucket}):
            similarity = jaccard(self._sets[index], mine)
            if similarity >= self._config.threshold:
                return Near(self._ids[index], similarity)
        for bucket in buckets:
            bucket.append(len(self._ids))
        self._ids.append(id)
        self._sets.append(mine)
        return None
