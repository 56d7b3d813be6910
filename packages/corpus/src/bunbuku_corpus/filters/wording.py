"""Measures and filters of words, as FineWeb-2 and Tanuki cut them: by an analyzer, once for each text.

`analyzer` is `sudachi`, with which FineWeb-2's thresholds were found, or `scripts`, which cuts at changes of script, needs
no dictionary and makes other words, for which those thresholds were not.
"""

from functools import cache
from typing import ClassVar, Literal, override

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from bunbuku_corpus.filters.filter import Filter, Measure, Ratio, Values, ratio
from bunbuku_corpus.items import Hashes
from bunbuku_corpus.texts import Texts, Words
from bunbuku_corpus.words import Analyzer


class _OfWords(Measure):
    revision: ClassVar[int] = 2
    analyzer: Analyzer = "sudachi"

    def words(self, texts: Texts) -> Words:
        return texts.words(self.analyzer)


class WordCount(_OfWords):
    """Words that are not punctuation alone."""

    type: Literal["words"] = "words"
    column: ClassVar[pa.DataType] = pa.int64()

    @override
    def of(self, texts: Texts) -> Values:
        words = self.words(texts)
        return words.items.totals(~words.symbols)


class MeanWord(_OfWords):
    """Mean length of the words that are not punctuation alone."""

    type: Literal["mean_word"] = "mean_word"

    @override
    def of(self, texts: Texts) -> Values:
        words = self.words(texts)
        total = np.bincount(words.items.documents, words.chars * ~words.symbols, minlength=len(texts))
        return ratio(total, words.items.totals(~words.symbols))


class LetterWordRatio(_OfWords):
    """Share of the words that have a letter."""

    type: Literal["letter_word_ratio"] = "letter_word_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        words = self.words(texts)
        return ratio(words.items.totals(words.letters), words.items.sizes)


class NounRatio(_OfWords):
    """Share of the words that are nouns or symbols."""

    type: Literal["noun_ratio"] = "noun_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        words = texts.words(self.analyzer, nouns=True)
        nouns = np.zeros(len(texts), np.int64) if words.nouns is None else words.items.totals(words.nouns)
        return ratio(nouns, words.items.sizes)


class StopWordCount(_OfWords):
    """How many different words of `stop_words` a text has."""

    type: Literal["stop_words"] = "stop_words"
    column: ClassVar[pa.DataType] = pa.int64()
    stop_words: tuple[str, ...] = ("の", "に", "を", "は", "た", "が", "て", "と", "で")

    @override
    def of(self, texts: Texts) -> Values:
        words = self.words(texts)
        found = np.zeros(len(texts), np.int64)
        for one in _hashes(self.stop_words):
            found += words.items.totals(words.items.values == one) > 0
        return found


@cache
def _hashes(words: tuple[str, ...]) -> Hashes:
    characters = Texts(words).characters
    return characters.hashes(characters.offsets[:-1], characters.offsets[1:])


class SymbolWordRatio(_OfWords):
    """`#`, or ellipses, for each word: the more frequent of the two."""

    type: Literal["symbol_word_ratio"] = "symbol_word_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        hashes = np.array([text.count("#") for text in texts.texts])
        ellipses = np.array([text.count("...") + text.count("…") for text in texts.texts])
        return ratio(np.maximum(hashes, ellipses), self.words(texts).items.sizes)


class NewlineWordRatio(_OfWords):
    """Newlines for each word: lists."""

    type: Literal["newline_word_ratio"] = "newline_word_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.newlines, self.words(texts).items.sizes)


class TopWordNgramRatio(_OfWords):
    """Length of the most frequent `n` words in a row, times their number, by the text's length.

    Of equally frequent ones the first counts. datatrove counts also the spaces with which it joins words, which no
    Japanese text has; `spaces` does so too, for thresholds that were found that way. No ratio is above 1.
    """

    type: Literal["top_word_ngram_ratio"] = "top_word_ngram_ratio"
    n: PositiveInt = 2
    spaces: bool = False

    @override
    def of(self, texts: Texts) -> Values:
        words = self.words(texts)
        ends = np.concatenate(([0], np.cumsum(words.chars)))
        first = np.flatnonzero(words.items.most_frequent(self.n))
        chars = ends[first + self.n] - ends[first] + (self.n - 1) * self.spaces
        total = np.bincount(words.items.documents[first], chars, minlength=len(texts))
        return np.minimum(ratio(total, texts.chars), 1.0)


class RepeatedWordNgramRatio(_OfWords):
    """Share of the text in runs of `n` words that it had before, looked for from left to right, as datatrove does.

    Past a run that is repeated the search goes on behind it, and what was skipped is not remembered.
    """

    type: Literal["repeated_word_ngram_ratio"] = "repeated_word_ngram_ratio"
    n: PositiveInt = 5

    @override
    def of(self, texts: Texts) -> Values:
        words = self.words(texts)
        grams = words.items.grams(self.n)
        repeated = np.repeat(grams.lengths > 1, grams.lengths)
        places, names = grams.places[repeated], grams.occurrences[repeated]
        order = np.argsort(places)
        starts = np.array(_greedy(places[order].tolist(), names[order].tolist(), self.n), np.int64)
        ends = np.concatenate(([0], np.cumsum(words.chars)))
        chars = np.bincount(words.items.documents[starts], ends[starts + self.n] - ends[starts], len(texts))
        return ratio(chars, texts.chars)


def _greedy(places: list[int], names: list[int], n: int) -> list[int]:
    """Which of the places begin a run of `n` that was met before, if what is found is skipped. A run's name is its document's.

    >>> _greedy([0, 1, 2, 3], [7, 8, 7, 8], 2)
    [2]
    """
    met: set[int] = set()
    found: list[int] = []
    behind = 0
    for place, name in zip(places, names, strict=True):
        if place < behind:
            continue
        if name in met:
            found.append(place)
            behind = place + n
        else:
            met.add(name)
    return found


class TooFewWords(Filter):
    """Fewer than `min_words` words."""

    measured = WordCount
    type: Literal["too_few_words"] = "too_few_words"
    analyzer: Analyzer = "sudachi"
    min_words: PositiveInt = 50


class TooManyWords(Filter):
    """More than `max_words` words."""

    measured = WordCount
    type: Literal["too_many_words"] = "too_many_words"
    analyzer: Analyzer = "sudachi"
    max_words: PositiveInt = 100_000


class OddWords(Filter):
    """Words shorter than `min_chars` or longer than `max_chars` on average."""

    measured = MeanWord
    type: Literal["odd_words"] = "odd_words"
    analyzer: Analyzer = "sudachi"
    min_chars: float = 1
    max_chars: float = 6


class TooFewLetterWords(Filter):
    """Less than `min_ratio` of the words have a letter."""

    measured = LetterWordRatio
    type: Literal["too_few_letter_words"] = "too_few_letter_words"
    analyzer: Analyzer = "sudachi"
    min_ratio: Ratio = 0.759


class TooManyNouns(Filter):
    """More than `max_ratio` of the words are nouns or symbols: lists of key words."""

    measured = NounRatio
    type: Literal["too_many_nouns"] = "too_many_nouns"
    analyzer: Analyzer = "sudachi"
    max_ratio: Ratio = 0.7


class TooFewStopWords(Filter):
    """Fewer than `min_count` different words of `stop_words`."""

    measured = StopWordCount
    type: Literal["too_few_stop_words"] = "too_few_stop_words"
    analyzer: Analyzer = "sudachi"
    stop_words: tuple[str, ...] = ("の", "に", "を", "は", "た", "が", "て", "と", "で")
    min_count: PositiveInt = 2


class TooManySymbols(Filter):
    """More than `max_ratio` of `#`, or of ellipses, for each word."""

    measured = SymbolWordRatio
    type: Literal["too_many_symbols"] = "too_many_symbols"
    analyzer: Analyzer = "sudachi"
    max_ratio: float = 0.1


class TooManyNewlines(Filter):
    """More than `max_ratio` newlines for each word."""

    measured = NewlineWordRatio
    type: Literal["too_many_newlines"] = "too_many_newlines"
    analyzer: Analyzer = "sudachi"
    max_ratio: float = 0.3


class TopWordNgram(Filter):
    """More than `max_ratio` of the text is its most frequent run of `n` words."""

    measured = TopWordNgramRatio
    type: Literal["top_word_ngram"] = "top_word_ngram"
    analyzer: Analyzer = "sudachi"
    n: PositiveInt = 2
    spaces: bool = False
    """Count a space between two words, as datatrove does."""
    max_ratio: Ratio = 0.2


class RepeatedWordNgrams(Filter):
    """More than `max_ratio` of the text is in runs of `n` words that it had before."""

    measured = RepeatedWordNgramRatio
    type: Literal["repeated_word_ngrams"] = "repeated_word_ngrams"
    analyzer: Analyzer = "sudachi"
    n: PositiveInt = 5
    max_ratio: Ratio = 0.15
