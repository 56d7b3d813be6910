"""Measures and filters of lines, paragraphs and sentences: how long, how they end, which stand there twice."""

from collections.abc import Iterable
from typing import ClassVar, Literal, override

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from bunbuku_corpus.filters.filter import Filter, Measure, Ratio, Values, ratio
from bunbuku_corpus.items import Mask
from bunbuku_corpus.menus import LINE_ENDS
from bunbuku_corpus.texts import Pieces, Texts

_ELLIPSES = "…‥・"
BULLETS = tuple("・•●○■□◆◇★☆※►▶-*")


def _repeated(pieces: Pieces) -> Values:
    """Share of the characters in pieces that stood before."""
    return ratio(pieces.total(pieces.chars * pieces.again), pieces.total(pieces.chars))


def _ends_with(texts: Texts, pieces: Pieces, marks: Iterable[str]) -> Mask:
    return np.isin(texts.last_characters(pieces), [ord(mark) for mark in marks])


class RepeatedLineRatio(Measure):
    """Share of the characters in lines that the document had before."""

    type: Literal["repeated_line_ratio"] = "repeated_line_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return _repeated(texts.lines)


class RepeatedParagraphRatio(Measure):
    """Share of the characters in paragraphs that the document had before."""

    type: Literal["repeated_paragraph_ratio"] = "repeated_paragraph_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return _repeated(texts.paragraphs)


class DuplicateLineRatio(Measure):
    """Share of the lines that the document had before; blank lines count if `blank` says so."""

    type: Literal["duplicate_line_ratio"] = "duplicate_line_ratio"
    blank: bool = False

    @override
    def of(self, texts: Texts) -> Values:
        lines = texts.full_lines
        again, all_lines = lines.total(lines.again), lines.numbers
        if self.blank:
            blank = texts.newlines + 1 - all_lines
            again, all_lines = again + np.maximum(blank - 1, 0), texts.newlines + 1
        return ratio(again, all_lines)


class DuplicateLineCharRatio(Measure):
    """Share of the characters, newlines aside, that stand in lines that the document had before."""

    type: Literal["duplicate_line_char_ratio"] = "duplicate_line_char_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return _repeated(texts.full_lines)


class DuplicateSentenceRatio(Measure):
    """Share of the sentences that the document had before."""

    type: Literal["duplicate_sentence_ratio"] = "duplicate_sentence_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.sentences.total(texts.sentences.again), texts.sentences.numbers)


class DuplicateSentenceCharRatio(Measure):
    """Share of the characters in sentences that the document had before."""

    type: Literal["duplicate_sentence_char_ratio"] = "duplicate_sentence_char_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return _repeated(texts.sentences)


class MeanSentence(Measure):
    """Mean length of the sentences."""

    type: Literal["mean_sentence"] = "mean_sentence"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.sentences.total(texts.sentences.chars), texts.sentences.numbers)


class LongestSentence(Measure):
    """Length of the longest sentence."""

    type: Literal["longest_sentence"] = "longest_sentence"
    column: ClassVar[pa.DataType] = pa.int64()

    @override
    def of(self, texts: Texts) -> Values:
        longest = np.zeros(len(texts), np.int64)
        np.maximum.at(longest, texts.sentences.documents, texts.sentences.chars)
        return longest


class EllipsisSentenceRatio(Measure):
    """Share of the sentences that end with … or ・."""

    type: Literal["ellipsis_sentence_ratio"] = "ellipsis_sentence_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        sentences = texts.sentences
        return ratio(sentences.total(_ends_with(texts, sentences, "・…")), sentences.numbers)


class CharactersPerKuten(Measure):
    """Characters for each 。, all of them if there is none."""

    type: Literal["characters_per_kuten"] = "characters_per_kuten"

    @override
    def of(self, texts: Texts) -> Values:
        kuten = texts.characters.totals(texts.characters.values == ord("。"))
        return texts.chars / np.maximum(kuten, 1)


class LineEndRatio(Measure):
    """Share of the lines that end as a sentence does, with one of `marks`."""

    type: Literal["line_end_ratio"] = "line_end_ratio"
    marks: tuple[str, ...] = LINE_ENDS

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.lines.total(_ends_with(texts, texts.lines, self.marks)), texts.lines.numbers)


class ProseRatio(Measure):
    """Share of the characters that stand in lines of at least `chars` characters that end as a sentence does."""

    type: Literal["prose_ratio"] = "prose_ratio"
    chars: PositiveInt = 15

    @override
    def of(self, texts: Texts) -> Values:
        lines = texts.lines
        prose = _ends_with(texts, lines, LINE_ENDS) & (lines.chars >= self.chars)
        return ratio(lines.total(lines.chars * prose), lines.total(lines.chars))


class ShortLineRatio(Measure):
    """Share of the lines with at most `chars` characters."""

    type: Literal["short_line_ratio"] = "short_line_ratio"
    chars: PositiveInt = 30

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.lines.total(texts.lines.chars <= self.chars), texts.lines.numbers)


class BulletLineRatio(Measure):
    """Share of the lines that begin with a bullet."""

    type: Literal["bullet_line_ratio"] = "bullet_line_ratio"
    bullets: tuple[str, ...] = BULLETS

    @override
    def of(self, texts: Texts) -> Values:
        first = texts.characters.values[texts.lines.starts]
        return ratio(texts.lines.total(np.isin(first, [ord(one) for one in self.bullets])), texts.lines.numbers)


class EllipsisLineRatio(Measure):
    """Share of the lines that end with an ellipsis: teasers."""

    type: Literal["ellipsis_line_ratio"] = "ellipsis_line_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        lines = texts.lines
        dots = _ends_with(texts, lines, ".") & (lines.chars >= 3)
        codes = texts.characters.values
        for back in (2, 3):
            dots &= codes[np.maximum(lines.ends - back, 0)] == ord(".")
        return ratio(lines.total(dots | _ends_with(texts, lines, _ELLIPSES)), lines.numbers)


class RepeatedLines(Filter):
    r"""More than `max_ratio` of the characters stand in lines that the document had before.

    >>> RepeatedLines().drops("続きを読む\n" * 3 + "本文。"), RepeatedLines().drops("一行目。\n二行目。")
    (True, False)
    """

    measured = RepeatedLineRatio
    type: Literal["repeated_lines"] = "repeated_lines"
    max_ratio: Ratio = 0.3


class RepeatedParagraphs(Filter):
    r"""More than `max_ratio` of the characters stand in paragraphs that the document had before.

    >>> RepeatedParagraphs().drops("広告\nです。\n\n本文。\n\n広告\nです。")
    True
    """

    measured = RepeatedParagraphRatio
    type: Literal["repeated_paragraphs"] = "repeated_paragraphs"
    max_ratio: Ratio = 0.3


class DuplicateLines(Filter):
    r"""More than `max_ratio` of the lines stood there before, however short they are.

    >>> DuplicateLines().drops("続きを読む\n" * 3 + "本文。")
    True
    """

    measured = DuplicateLineRatio
    type: Literal["duplicate_lines"] = "duplicate_lines"
    blank: bool = False
    """Whether blank lines count as lines."""
    max_ratio: Ratio = 0.3


class DuplicateLineCharacters(Filter):
    r"""More than `max_ratio` of the characters stand in lines that stood there before, white space at their ends included.

    >>> DuplicateLineCharacters().drops("続きを読む\n" * 3 + "本文。")
    True
    """

    measured = DuplicateLineCharRatio
    type: Literal["duplicate_line_characters"] = "duplicate_line_characters"
    max_ratio: Ratio = 0.2


class DuplicateSentences(Filter):
    """More than `max_ratio` of the sentences stood there before.

    >>> DuplicateSentences().drops("安い。早い。安い。早い。")
    True
    """

    measured = DuplicateSentenceRatio
    type: Literal["duplicate_sentences"] = "duplicate_sentences"
    max_ratio: Ratio = 0.3


class DuplicateSentenceCharacters(Filter):
    """More than `max_ratio` of the characters stand in sentences that stood there before.

    >>> DuplicateSentenceCharacters().drops("安い。早い。安い。早い。")
    True
    """

    measured = DuplicateSentenceCharRatio
    type: Literal["duplicate_sentence_characters"] = "duplicate_sentence_characters"
    max_ratio: Ratio = 0.2


class OddSentences(Filter):
    """Sentences shorter or longer on average than prose has them: from `min_chars` to `max_chars` characters.

    >>> OddSentences().drops("はい。いいえ。")
    True
    """

    measured = MeanSentence
    type: Literal["odd_sentences"] = "odd_sentences"
    min_chars: float = 20
    max_chars: float = 90


class EndlessSentence(Filter):
    """A sentence of more than `max_chars` characters: a list or a table without punctuation.

    >>> EndlessSentence(max_chars=10).drops("会社概要 沿革 採用情報 所在地")
    True
    """

    measured = LongestSentence
    type: Literal["endless_sentence"] = "endless_sentence"
    max_chars: PositiveInt = 200


class EllipsisSentences(Filter):
    """More than `max_ratio` of the sentences end with … or ・.

    >>> EllipsisSentences().drops("続きは…")
    True
    """

    measured = EllipsisSentenceRatio
    type: Literal["ellipsis_sentences"] = "ellipsis_sentences"
    max_ratio: Ratio = 0.2


class TooFewKuten(Filter):
    """More than `max_chars` characters for each 。, as HojiChar's `DiscardRareKuten` counts.

    >>> TooFewKuten(max_chars=4).drops("おはよう。")
    True
    """

    measured = CharactersPerKuten
    type: Literal["too_few_kuten"] = "too_few_kuten"
    max_chars: float = 250


class UnfinishedLines(Filter):
    r"""Less than `min_ratio` of the lines end as a sentence does: menus, headings, tables.

    >>> UnfinishedLines(min_ratio=0.5).drops("ホーム\n会社概要\n採用情報\nようこそ。")
    True
    """

    measured = LineEndRatio
    type: Literal["unfinished_lines"] = "unfinished_lines"
    marks: tuple[str, ...] = LINE_ENDS
    """What a sentence ends with."""
    min_ratio: Ratio = 0.1


class TooLittleProse(Filter):
    r"""Less than `min_ratio` of the characters stand in lines of at least `chars` that end as a sentence does.

    >>> TooLittleProse().drops("ホーム\n会社概要\n採用情報\nお問い合わせ")
    True
    """

    measured = ProseRatio
    type: Literal["too_little_prose"] = "too_little_prose"
    chars: PositiveInt = 15
    min_ratio: Ratio = 0.2


class ShortLines(Filter):
    r"""More than `max_ratio` of the lines have at most `chars` characters.

    >>> ShortLines(chars=10).drops("ホーム\n会社概要\nこの会社は百年前にできました。")
    False
    """

    measured = ShortLineRatio
    type: Literal["short_lines"] = "short_lines"
    chars: PositiveInt = 30
    max_ratio: Ratio = 0.67


class BulletLines(Filter):
    r"""More than `max_ratio` of the lines begin with a bullet.

    >>> BulletLines().drops("・りんご\n・みかん\n・ぶどう")
    True
    """

    measured = BulletLineRatio
    type: Literal["bullet_lines"] = "bullet_lines"
    bullets: tuple[str, ...] = BULLETS
    max_ratio: Ratio = 0.9


class EllipsisLines(Filter):
    r"""More than `max_ratio` of the lines end with an ellipsis.

    >>> EllipsisLines().drops("新商品のお知らせ...\n価格改定について…")
    True
    """

    measured = EllipsisLineRatio
    type: Literal["ellipsis_lines"] = "ellipsis_lines"
    max_ratio: Ratio = 0.3
