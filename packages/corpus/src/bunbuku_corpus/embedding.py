"""Texts as points: what they are about, in some tens of numbers, with nothing to download.

Latent semantic analysis (Deerwester et al. 1990): the terms of a sample of texts, weighted by how rare they are, and the
directions in which the sample differs most. It knows no language but the corpus's own, and says which texts share words
and which share words with those; it does not know that 車 and 自動車 are alike unless the corpus uses them alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bunbuku_contracts import BunbukuError, Config
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_corpus.classifier import Matrix
from bunbuku_corpus.features import Rows
from bunbuku_corpus.learning import directions, sparse
from bunbuku_corpus.terms import unit_rows

type Vectors = NDArray[np.float32]


class EmbeddingConfig(Config):
    """How texts become points."""

    dimensions: PositiveInt = 64
    """Numbers of a point; fewer if the sample does not differ in so many."""
    slot_bits: int = Field(default=16, ge=8, le=22)
    """Two to this power slots for terms."""
    max_chars: PositiveInt = 4000
    """Characters read of a text, from its beginning, middle and end."""
    seed: NonNegativeInt = 0
    """Of the sample, and of whatever is begun at random."""


@dataclass(frozen=True)
class Embedding:
    """What turns texts into points."""

    config: EmbeddingConfig
    components: Matrix
    """A row a slot, a column a dimension; the terms' weights are in it."""

    def of(self, texts: Sequence[str]) -> Vectors:
        """A row of length one a text; of a text without terms it is nought."""
        rows = unit_rows(texts, slot_bits=self.config.slot_bits, max_chars=self.config.max_chars)
        vectors = np.asarray(sparse(rows, len(self.components)) @ self.components, np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def fit_embedding(texts: Sequence[str], config: EmbeddingConfig) -> Embedding:
    """Find the directions in which the texts differ.

    Raises:
        BunbukuError: They have too few terms to differ in.
    """
    slots = 1 << config.slot_bits
    rows = unit_rows(texts, slot_bits=config.slot_bits, max_chars=config.max_chars)
    weights = rarity(rows, slots)
    used = int(np.count_nonzero(np.bincount(rows.slots, minlength=slots)))
    dimensions = min(config.dimensions, used - 1, len(texts) - 1)
    if dimensions < 2:
        raise BunbukuError(
            f"{len(texts)} texts with {used} different terms are too few to compare", hint="give more text"
        )
    found = directions(sparse(weighed(rows, weights), slots), dimensions, seed=config.seed)
    return Embedding(config, (found * weights[:, np.newaxis]).astype(np.float32))


def rarity(rows: Rows, slots: int) -> NDArray[np.float64]:
    """The weight of each slot: 1 + ln of how many times fewer rows have it than there are (inverse document frequency)."""
    return np.log(len(rows.offsets) / (1 + np.bincount(rows.slots, minlength=slots))) + 1


def shared_terms(texts: Sequence[str], config: EmbeddingConfig) -> Any:
    """Texts as sparse rows of length one, whose products are the cosines of their weighted terms.

    An embedding gives every text a place, also one whose terms its sample hardly has. Whether two texts have terms in
    common at all, only these rows say.
    """
    slots = 1 << config.slot_bits
    rows = unit_rows(texts, slot_bits=config.slot_bits, max_chars=config.max_chars)
    return sparse(weighed(rows, rarity(rows, slots)), slots)


def weighed(rows: Rows, weights: NDArray[np.float64]) -> Rows:
    """The rows with every value weighted, scaled to length one."""
    return scaled(rows._replace(values=(rows.values * weights[rows.slots]).astype(np.float32)))


def scaled(rows: Rows) -> Rows:
    """The rows, scaled to length one."""
    sizes = np.diff(rows.offsets)
    squares = np.zeros(len(sizes))
    filled = np.flatnonzero(sizes)
    if len(filled):
        squares[filled] = np.add.reduceat(rows.values.astype(np.float64) ** 2, rows.offsets[filled])
    lengths = np.where(squares > 0, np.sqrt(squares), 1)
    return rows._replace(values=(rows.values / np.repeat(lengths, sizes)).astype(np.float32))
