"""Measures and filters of n-grams of characters: text that says the same again.

There are two ways of counting, and thresholds fit only their own. *Covered*: the share of characters that lie in such an
n-gram, each character counted once. *Different*: shares among the n-grams themselves, as swallow-corpus counts.
All of them lie between 0 and 1.
"""

from typing import Literal, override

import numpy as np
from pydantic import PositiveInt

from bunbuku_corpus.filters.filter import Filter, Measure, Ratio, Values, ratio
from bunbuku_corpus.items import Items
from bunbuku_corpus.texts import Texts


def _longer(items: Items[np.uint32], n: int) -> Values:
    """How many items each document has, none if it has no more than one n-gram."""
    return items.sizes * (items.sizes > n)


class RepeatedNgramRatio(Measure):
    """Share of the characters that lie in an `n`-gram that the document had before."""

    type: Literal["repeated_ngram_ratio"] = "repeated_ngram_ratio"
    n: PositiveInt = 10

    @override
    def of(self, texts: Texts) -> Values:
        items = texts.characters
        return ratio(items.covered(items.seen_before(self.n), self.n), _longer(items, self.n))


class DominantNgramRatio(Measure):
    """Share of the visible characters that lie in the most frequent `n`-gram of them."""

    type: Literal["dominant_ngram_ratio"] = "dominant_ngram_ratio"
    n: PositiveInt = 2

    @override
    def of(self, texts: Texts) -> Values:
        items = texts.visible
        return ratio(items.covered(items.most_frequent(self.n), self.n), _longer(items, self.n))


class TopNgramShare(Measure):
    """How many of all `n`-grams are the most frequent one."""

    type: Literal["top_ngram_share"] = "top_ngram_share"
    n: PositiveInt = 2

    @override
    def of(self, texts: Texts) -> Values:
        grams = texts.characters.grams(self.n)
        return ratio(grams.top, grams.windows)


class RecurringNgramShare(Measure):
    """How many of the different `n`-grams occur more than once."""

    type: Literal["recurring_ngram_share"] = "recurring_ngram_share"
    n: PositiveInt = 5

    @override
    def of(self, texts: Texts) -> Values:
        grams = texts.characters.grams(self.n)
        return ratio(grams.repeated, grams.distinct)


class RepeatedNgrams(Filter):
    """More than `max_ratio` of the characters lie in an `n`-gram of characters that the document had before.

    >>> RepeatedNgrams(n=4).drops("格安航空券の予約は" * 5), RepeatedNgrams(n=4).drops("空港までは電車で一時間かかります。")
    (True, False)
    """

    measured = RepeatedNgramRatio
    type: Literal["repeated_ngrams"] = "repeated_ngrams"
    n: PositiveInt = 10
    max_ratio: Ratio = 0.5


class DominantNgram(Filter):
    """More than `max_ratio` of the characters lie in the document's most frequent `n`-gram of visible characters.

    >>> DominantNgram(n=2).drops("ねえねえねえねえ、聞いて"), DominantNgram(n=2).drops("昨日は友達と映画を見に行った。")
    (True, False)
    """

    measured = DominantNgramRatio
    type: Literal["dominant_ngram"] = "dominant_ngram"
    n: PositiveInt = 2
    max_ratio: Ratio = 0.25


class FrequentNgram(Filter):
    """More than `max_ratio` of all `n`-grams are one and the same.

    >>> FrequentNgram(n=2).drops("ねえねえねえねえ、聞いて")
    True
    """

    measured = TopNgramShare
    type: Literal["frequent_ngram"] = "frequent_ngram"
    n: PositiveInt = 2
    max_ratio: Ratio = 0.2


class RecurringNgrams(Filter):
    """More than `max_ratio` of the different `n`-grams occur more than once.

    >>> RecurringNgrams(n=5).drops("格安航空券の予約は" * 3)
    True
    """

    measured = RecurringNgramShare
    type: Literal["recurring_ngrams"] = "recurring_ngrams"
    n: PositiveInt = 5
    max_ratio: Ratio = 0.15
