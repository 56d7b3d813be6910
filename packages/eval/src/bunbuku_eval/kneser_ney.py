"""A bigram model with interpolated Kneser-Ney smoothing: the oldest strong opponent a language model can be given.

With c(uv) how often v followed u, and N₁₊(•v) behind how many different tokens v was seen:

    p(v | u) = max(c(uv) − D, 0) / c(u•)  +  D · N₁₊(u•) / c(u•) · p₁(v)
    p₁(v)    = max(N₁₊(•v) − D₁, 0) / N₁₊(••)  +  D₁ · |{w : N₁₊(•w) > 0}| / N₁₊(••) · 1 / V

The first line is Kneser & Ney 1995 (ICASSP, "Improved backing-off for m-gram language modeling") in the interpolated
form of Chen & Goodman 1999 (Computer Speech and Language 13, eq. 19 and section 4.1.6); the second interpolates the
lowest order with the uniform distribution over the V entries of the vocabulary, as they do, so that no token has
probability zero. A context that was never seen has p₁. Each discount is n₁ / (n₁ + 2 n₂) over the counts it is taken
from (Ney, Essen & Kneser 1994), if none is given.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BigramCounts:
    """How often which token followed which. `codes` are `previous * vocab_size + following`, ascending."""

    vocab_size: int
    codes: Ints
    counts: Ints

    @classmethod
    def none(cls, vocab_size: int) -> Self:
        return cls(vocab_size, np.zeros(0, np.int64), np.zeros(0, np.int64))

    def add(self, previous: Ints, following: Ints) -> "BigramCounts":
        """These counts and those of further pairs."""
        if len(previous) and max(previous.max(), following.max()) >= self.vocab_size:
            raise ValueError(f"a token id lies outside the vocabulary of {self.vocab_size}")
        codes, counts = np.unique(previous * self.vocab_size + following, return_counts=True)
        both = np.concatenate([self.codes, codes])
        merged, place = np.unique(both, return_inverse=True)
        summed = np.zeros(len(merged), np.int64)
        np.add.at(summed, place, np.concatenate([self.counts, counts]))
        return BigramCounts(self.vocab_size, merged, summed)

    @property
    def total(self) -> int:
        return int(self.counts.sum())


@dataclass(frozen=True)
class KneserNeyBigram:
    """The smoothed model; see the head of the module for the formula and where it is from."""

    counts: BigramCounts
    discount: float
    unigram_discount: float
    context_totals: Ints
    """c(u•) of each token u."""
    backoff: Floats
    """D · N₁₊(u•) / c(u•) of each token u: how much of its probability goes to `unigram`; 1 where u was never seen."""
    unigram: Floats
    """p₁ of each token."""

    @classmethod
    def fit(
        cls, counts: BigramCounts, *, discount: float | None = None, unigram_discount: float | None = None
    ) -> "KneserNeyBigram":
        """The model of these counts. A discount that is not given is estimated from them."""
        previous, following = np.divmod(counts.codes, counts.vocab_size)
        size = counts.vocab_size
        context_totals = np.bincount(previous, counts.counts, minlength=size).astype(np.int64)
        distinct_following = np.bincount(previous, minlength=size)
        distinct_previous = np.bincount(following, minlength=size)
        d = estimated_discount(counts.counts, "discount") if discount is None else discount
        d1 = estimated_discount(distinct_previous, "unigram_discount") if unigram_discount is None else unigram_discount
        types = max(len(counts.codes), 1)
        unigram = np.maximum(distinct_previous - d1, 0) / types + d1 * (distinct_previous > 0).sum() / types / size
        seen = context_totals > 0
        backoff = np.where(seen, d * distinct_following / np.maximum(context_totals, 1), 1.0)
        return cls(counts, d, d1, context_totals, backoff, unigram)

    def probabilities(self, previous: Ints, following: Ints) -> Floats:
        """p(following | previous), pair by pair."""
        codes = previous * self.counts.vocab_size + following
        place = np.searchsorted(self.counts.codes, codes)
        inside = np.minimum(place, max(len(self.counts.codes) - 1, 0))
        found = np.zeros(len(codes), bool)
        times = np.zeros(len(codes), np.int64)
        if len(self.counts.codes):
            found = self.counts.codes[inside] == codes
            times = np.where(found, self.counts.counts[inside], 0)
        totals = np.maximum(self.context_totals[previous], 1)
        return np.maximum(times - self.discount, 0) * found / totals + self.backoff[previous] * self.unigram[following]


def estimated_discount(counts: Ints, name: str) -> float:
    """n₁ / (n₁ + 2 n₂), with n₁ and n₂ how many counts are exactly one and two."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    if not once:
        raise BunbukuError(
            f"no {name} can be estimated: not one count is exactly 1 among {len(counts)}",
            hint=f"train on more tokens, or give `{name}` in the config (0.75 is usual)",
        )
    return once / (once + 2 * twice)
