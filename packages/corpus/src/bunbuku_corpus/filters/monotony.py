"""Measures and filters of texts that say little however long they are: few characters, one word everywhere, labels alone."""

import re
from collections import Counter
from itertools import pairwise
from typing import Literal, override

import numpy as np
from pydantic import PositiveInt

from bunbuku_corpus.characters import Class
from bunbuku_corpus.filters.filter import Filter, Measure, Ratio, Values
from bunbuku_corpus.menus import menus
from bunbuku_corpus.texts import Texts

_WORD_SIGNS = (Class.HIRAGANA, Class.KATAKANA, Class.LONG_VOWEL, Class.KANJI)
_MOST_CHARS = 20_000
_SENTENCE_END = re.compile("[。！？!?\n]")
_WORD = re.compile("[一-鿿々]{2,}|[ァ-ヺー]{2,}")
_SENTENCE_CHARS, _SENTENCES = 8, 8


class CharacterVariety(Measure):
    """Share of different characters among `window` of kana and kanji, on average; none for a text that has fewer."""

    type: Literal["character_variety"] = "character_variety"
    window: PositiveInt = 200

    @override
    def of(self, texts: Texts) -> Values:
        signs, offsets = np.isin(texts.kinds, _WORD_SIGNS), texts.characters.offsets
        return np.array([self._one(texts.characters.values[a:b][signs[a:b]]) for a, b in pairwise(offsets)])

    def _one(self, codes: Values) -> float:
        codes = codes[:_MOST_CHARS]
        if len(codes) < self.window:
            return np.nan
        windows = np.sort(codes[: len(codes) // self.window * self.window].reshape(-1, self.window))
        return float(np.mean(np.count_nonzero(np.diff(windows), axis=1) + 1) / self.window)


class CommonWordRatio(Measure):
    """Share of the sentences that have the word that most of them have; none for a text of fewer than eight sentences.

    A word is a run of at least `chars` kanji and katakana. Looked at are the first 20,000 characters.
    """

    type: Literal["common_word_ratio"] = "common_word_ratio"
    chars: PositiveInt = 3

    @override
    def of(self, texts: Texts) -> Values:
        word = re.compile(f"[ァ-ヺー一-鿿々]{{{self.chars},}}")
        return np.array([_most_common(text[:_MOST_CHARS], word) for text in texts.texts])


def _most_common(text: str, word: re.Pattern[str]) -> float:
    sentences = [one for one in _SENTENCE_END.split(text) if len(one) >= _SENTENCE_CHARS]
    if len(sentences) < _SENTENCES:
        return np.nan
    counts = Counter(found for one in sentences for found in set(word.findall(one)))
    return max(counts.values(), default=0) / len(sentences)


class KeywordDensity(Measure):
    """Share of the characters that the word takes that most sentences have, if at least `sentences` of them do; else 0.

    None for a text of fewer than eight sentences. A word is a run of at least two kanji or katakana.
    """

    type: Literal["keyword_density"] = "keyword_density"
    sentences: Ratio = 0.7

    @override
    def of(self, texts: Texts) -> Values:
        return np.array([self._one(text[:_MOST_CHARS]) for text in texts.texts])

    def _one(self, text: str) -> float:
        sentences = [one for one in _SENTENCE_END.split(text) if len(one) >= _SENTENCE_CHARS]
        if len(sentences) < _SENTENCES:
            return np.nan
        counts = Counter(found for one in sentences for found in set(_WORD.findall(one)))
        word, number = max(counts.items(), key=lambda one: (one[1], len(one[0]), one[0]), default=("", 0))
        if number < self.sentences * len(sentences):
            return 0.0
        return len(word) * sum(one.count(word) for one in sentences) / sum(map(len, sentences))


class MenuRatio(Measure):
    """Share of the characters that stand in menus: at least `run` short lines one after another that are no sentences."""

    revision = 2
    type: Literal["menu_ratio"] = "menu_ratio"
    run: PositiveInt = 8
    chars: PositiveInt = 50

    @override
    def of(self, texts: Texts) -> Values:
        return np.array([self._one(text) for text in texts.texts])

    def _one(self, text: str) -> float:
        lines = [line.strip() for line in text.split("\n")]
        found = menus(lines, run=self.run, chars=self.chars)
        total = sum(map(len, lines))
        return sum(len(line) for line, there in zip(lines, found, strict=True) if there) / total if total else np.nan


class TooLittleVariety(Filter):
    """Less than `min_ratio` different characters among `window` of kana and kanji: templates, word salad, stuffed words.

    >>> TooLittleVariety(window=20).drops("激安時計" * 6), TooLittleVariety().drops("短い。")
    (True, False)
    """

    measured = CharacterVariety
    type: Literal["too_little_variety"] = "too_little_variety"
    window: PositiveInt = 200
    min_ratio: Ratio = 0.25


class OneWordEverywhere(Filter):
    """More than `max_ratio` of the sentences have the same word: pages made for search engines.

    >>> OneWordEverywhere().drops("水素水をお探しですか。話題の水素水とは。" * 4), OneWordEverywhere().drops("水素水の話。")
    (True, False)
    """

    measured = CommonWordRatio
    type: Literal["one_word_everywhere"] = "one_word_everywhere"
    chars: PositiveInt = 3
    max_ratio: Ratio = 0.8


class StuffedWord(Filter):
    """More than `max_ratio` of the characters are one word that most of the sentences have.

    >>> StuffedWord().drops("浄水器をお探しですか。話題の浄水器とは。" * 4), StuffedWord().drops("浄水器の話。")
    (True, False)
    """

    measured = KeywordDensity
    type: Literal["stuffed_word"] = "stuffed_word"
    sentences: Ratio = 0.7
    max_ratio: Ratio = 0.09


class MostlyMenus(Filter):
    r"""More than `max_ratio` of the characters stand in menus.

    >>> MostlyMenus(run=3).drops("会社概要\n採用情報\n沿革"), MostlyMenus(run=3).drops("雨にもまけず\n風にもまけず\n雪にもまけず")
    (True, False)
    """

    measured = MenuRatio
    type: Literal["mostly_menus"] = "mostly_menus"
    run: PositiveInt = 8
    chars: PositiveInt = 50
    max_ratio: Ratio = 0.5
