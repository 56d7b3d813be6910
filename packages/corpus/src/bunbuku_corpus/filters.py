"""Filters. Each is its own config: a frozen value with thresholds for fields and one pure method.

A filter decides one thing and is named for it; that name is its TOML `type` and the reason stored with a document that
it drops. To add one: write a class, add it to `AnyFilter`, add a case to its test.

`languages` says which documents a filter judges; it lets the others pass. With it the same filter can stand twice in a
list with two thresholds, and its name then says for which language: `too_short.ja`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal, override

import numpy as np
from bunbuku_contracts import Config
from pydantic import Field, PositiveInt

from bunbuku_corpus.document import Document
from bunbuku_corpus.language import KANA, identify
from bunbuku_corpus.ngrams import codepoints, covered, ngram_hashes, seen_before

Ratio = Annotated[float, Field(ge=0, le=1)]

_SPACE = re.compile(r"\s+")
_PARAGRAPH = re.compile(r"\n\s*\n")


class Filter(Config, ABC):
    """What every filter is."""

    languages: tuple[str, ...] = ()
    """Judge only documents of these languages; all documents if empty."""

    @property
    def name(self) -> str:
        """What the filter is called in reasons, metrics and reports.

        >>> TooShort().name, TooShort(languages=("ja", "zh")).name
        ('too_short', 'too_short.ja-zh')
        """
        kind = str(type(self).model_fields["type"].default)
        return f"{kind}.{'-'.join(self.languages)}" if self.languages else kind

    def rejects(self, document: Document) -> bool:
        """Whether the document is among those it judges, and is to go."""
        return (not self.languages or document.language in self.languages) and self.drops(document.text)

    @abstractmethod
    def drops(self, text: str) -> bool:
        """Whether a document of this text is to go."""


class TooShort(Filter):
    """Fewer than `min_chars` characters.

    >>> TooShort(min_chars=3).drops("はい")
    True
    """

    type: Literal["too_short"] = "too_short"
    min_chars: PositiveInt = 200

    @override
    def drops(self, text: str) -> bool:
        return len(text) < self.min_chars


class TooLong(Filter):
    """More than `max_chars` characters: dumps and concatenations, seldom prose.

    >>> TooLong(max_chars=3).drops("さようなら")
    True
    """

    type: Literal["too_long"] = "too_long"
    max_chars: PositiveInt = 1_000_000

    @override
    def drops(self, text: str) -> bool:
        return len(text) > self.max_chars


class OtherLanguage(Filter):
    """Identified as a language that is not among `expected`, judged by its beginning, middle and end.

    >>> OtherLanguage().drops("このページは日本語で書かれています。"), OtherLanguage().drops("这个网页是用中文写的。")
    (False, True)
    """

    type: Literal["other_language"] = "other_language"
    expected: tuple[str, ...] = ("ja",)

    @override
    def drops(self, text: str) -> bool:
        return identify(text) not in self.expected


class TooLittleKana(Filter):
    """Less than `min_ratio` kana among what is not white space. Japanese prose is about half; Chinese and code have next to none.

    >>> TooLittleKana().drops("吾輩は猫である"), TooLittleKana().drops("中文文本不含假名")
    (False, True)
    """

    type: Literal["too_little_kana"] = "too_little_kana"
    min_ratio: Ratio = 0.1

    @override
    def drops(self, text: str) -> bool:
        return len(KANA.findall(text)) < self.min_ratio * _visible(text)


class TooFewLetters(Filter):
    """Less than `min_ratio` letters, kanji and kana included, among what is not white space: tables, rulers, digits.

    >>> TooFewLetters().drops("価格は1,200円です。"), TooFewLetters().drops("★★★☆☆ 4.5/5.0 (1,234)")
    (False, True)
    """

    type: Literal["too_few_letters"] = "too_few_letters"
    min_ratio: Ratio = 0.5

    @override
    def drops(self, text: str) -> bool:
        return sum(map(str.isalpha, text)) < self.min_ratio * _visible(text)


class RepeatedLines(Filter):
    r"""More than `max_ratio` of the characters stand in lines that the document had before.

    >>> RepeatedLines().drops("続きを読む\n" * 3 + "本文。"), RepeatedLines().drops("一行目。\n二行目。")
    (True, False)
    """

    type: Literal["repeated_lines"] = "repeated_lines"
    max_ratio: Ratio = 0.3

    @override
    def drops(self, text: str) -> bool:
        return _repeated(text.split("\n")) > self.max_ratio


class RepeatedParagraphs(Filter):
    r"""More than `max_ratio` of the characters stand in paragraphs that the document had before.

    >>> RepeatedParagraphs().drops("広告\nです。\n\n本文。\n\n広告\nです。")
    True
    """

    type: Literal["repeated_paragraphs"] = "repeated_paragraphs"
    max_ratio: Ratio = 0.3

    @override
    def drops(self, text: str) -> bool:
        return _repeated(_PARAGRAPH.split(text)) > self.max_ratio


class RepeatedNgrams(Filter):
    """More than `max_ratio` of the characters lie in an `n`-gram of characters that the document had before.

    >>> RepeatedNgrams(n=4).drops("格安航空券の予約は" * 5), RepeatedNgrams(n=4).drops("空港までは電車で一時間かかります。")
    (True, False)
    """

    type: Literal["repeated_ngrams"] = "repeated_ngrams"
    n: PositiveInt = 10
    max_ratio: Ratio = 0.5

    @override
    def drops(self, text: str) -> bool:
        points = codepoints(text)
        if len(points) <= self.n:
            return False
        return covered(seen_before(ngram_hashes(points, self.n)), self.n) > self.max_ratio * len(points)


class DominantNgram(Filter):
    """More than `max_ratio` of the characters lie in the document's most frequent `n`-gram of visible characters.

    >>> DominantNgram(n=2).drops("ねえねえねえねえ、聞いて"), DominantNgram(n=2).drops("昨日は友達と映画を見に行った。")
    (True, False)
    """

    type: Literal["dominant_ngram"] = "dominant_ngram"
    n: PositiveInt = 2
    max_ratio: Ratio = 0.25

    @override
    def drops(self, text: str) -> bool:
        points = codepoints(_SPACE.sub("", text))
        if len(points) <= self.n:
            return False
        hashes = ngram_hashes(points, self.n)
        _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
        frequent = hashes[first[counts == counts.max()].min()]  # of equally frequent ones the first in the text
        return covered(hashes == frequent, self.n) > self.max_ratio * len(points)


AnyFilter = Annotated[
    TooShort
    | TooLong
    | OtherLanguage
    | TooLittleKana
    | TooFewLetters
    | RepeatedLines
    | RepeatedParagraphs
    | RepeatedNgrams
    | DominantNgram,
    Field(discriminator="type"),
]


def _visible(text: str) -> int:
    """Number of characters that are not white space."""
    return sum(map(len, text.split()))


def _repeated(pieces: Iterable[str]) -> float:
    """Share of the characters in pieces that stood before, white space at their ends and empty ones aside."""
    seen: set[str] = set()
    total = again = 0
    for piece in pieces:
        stripped = piece.strip()
        total += len(stripped)
        again += len(stripped) if stripped in seen else 0
        seen.add(stripped)
    return again / total if total else 0.0
