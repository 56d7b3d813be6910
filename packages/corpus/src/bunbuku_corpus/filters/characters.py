"""Measures and filters of characters: how many, of which scripts, how compressible, and in what language."""

import zlib
from typing import ClassVar, Literal, override

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from bunbuku_corpus.characters import JAPANESE, KANA, LETTERS, Class
from bunbuku_corpus.filters.filter import AmongWords, Filter, Measure, Ratio, Values, ratio
from bunbuku_corpus.language import identify
from bunbuku_corpus.mojibake import garbled
from bunbuku_corpus.texts import Texts

_KANA_SIGNS = (Class.HIRAGANA, Class.KATAKANA)


class Characters(Measure):
    """Number of characters."""

    type: Literal["characters"] = "characters"
    column: ClassVar[pa.DataType] = pa.int64()

    @override
    def of(self, texts: Texts) -> Values:
        return texts.lengths


class JapaneseCharacters(Measure):
    """Number of hiragana, katakana, kanji, 、 and 。, as swallow-corpus counts Japanese letters."""

    type: Literal["japanese_characters"] = "japanese_characters"
    column: ClassVar[pa.DataType] = pa.int64()

    @override
    def of(self, texts: Texts) -> Values:
        return texts.number(JAPANESE)


class KanaRatio(Measure):
    """Kana among what is not white space."""

    type: Literal["kana_ratio"] = "kana_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.number(KANA), texts.visible_chars)


class LetterRatio(Measure):
    """Letters, kanji and kana included, among what is not white space."""

    type: Literal["letter_ratio"] = "letter_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.number(LETTERS), texts.visible_chars)


class JapaneseRatio(Measure):
    """Japanese letters and punctuation among all characters."""

    type: Literal["japanese_ratio"] = "japanese_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.number(JAPANESE), texts.chars)


class HiraganaRatio(Measure):
    """Hiragana among Japanese letters and punctuation."""

    type: Literal["hiragana_ratio"] = "hiragana_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.number([Class.HIRAGANA]), texts.number(JAPANESE))


class KatakanaRatio(Measure):
    """Katakana among Japanese letters and punctuation."""

    type: Literal["katakana_ratio"] = "katakana_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(texts.number([Class.KATAKANA]), texts.number(JAPANESE))


class EarlyKana(Measure):
    """Hiragana and katakana among the first `chars` characters."""

    type: Literal["early_kana"] = "early_kana"
    column: ClassVar[pa.DataType] = pa.int64()
    chars: PositiveInt = 50

    @override
    def of(self, texts: Texts) -> Values:
        offsets = texts.characters.offsets[:-1]
        early = np.arange(len(texts.kinds)) - offsets[texts.characters.documents] < self.chars
        return texts.characters.totals(np.isin(texts.kinds, _KANA_SIGNS) & early)


class CompressionRatio(Measure):
    """Bytes of the text as zlib compresses them (level 9), by its bytes in UTF-8."""

    type: Literal["compression_ratio"] = "compression_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts.texts]
        packed = np.array([len(zlib.compress(one, 9)) for one in encoded], np.float64)
        return ratio(packed, np.array([len(one) for one in encoded]))


class MojibakeRatio(Measure):
    """Characters that a wrong decoding left (� and such as 縺ｮ or ã®) among what is not white space."""

    type: Literal["mojibake_ratio"] = "mojibake_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(garbled(texts.texts), texts.visible_chars)


class Language(Measure):
    """ISO 639-1 code of the language that a text is written in, judged by its beginning, middle and end."""

    revision: ClassVar[int] = 2
    type: Literal["language"] = "language"
    column: ClassVar[pa.DataType] = pa.string()

    @override
    def of(self, texts: Texts) -> Values:
        return np.array([identify(text) for text in texts.texts], object)


class TooShort(Filter):
    """Fewer than `min_chars` characters.

    >>> TooShort(min_chars=3).drops("はい")
    True
    """

    measured = Characters
    type: Literal["too_short"] = "too_short"
    min_chars: PositiveInt = 200


class TooLong(Filter):
    """More than `max_chars` characters: dumps and concatenations, seldom prose.

    >>> TooLong(max_chars=3).drops("さようなら")
    True
    """

    measured = Characters
    type: Literal["too_long"] = "too_long"
    max_chars: PositiveInt = 1_000_000


class OtherLanguage(AmongWords):
    """Identified as a language that is not among `expected`, judged by its beginning, middle and end.

    >>> OtherLanguage().drops("このページは日本語で書かれています。"), OtherLanguage().drops("这个网页是用中文写的。")
    (False, True)
    """

    measured = Language
    type: Literal["other_language"] = "other_language"
    expected: tuple[str, ...] = ("ja",)

    @override
    def refuses(self, value: str | None) -> bool:
        return value not in self.expected


class TooLittleKana(Filter):
    """Less than `min_ratio` kana among what is not white space. Japanese prose is about half; Chinese and code have next to none.

    >>> TooLittleKana().drops("吾輩は猫である"), TooLittleKana().drops("中文文本不含假名")
    (False, True)
    """

    measured = KanaRatio
    type: Literal["too_little_kana"] = "too_little_kana"
    min_ratio: Ratio = 0.1


class TooFewLetters(Filter):
    """Less than `min_ratio` letters, kanji and kana included, among what is not white space: tables, rulers, digits.

    >>> TooFewLetters().drops("価格は1,200円です。"), TooFewLetters().drops("★★★☆☆ 4.5/5.0 (1,234)")
    (False, True)
    """

    measured = LetterRatio
    type: Literal["too_few_letters"] = "too_few_letters"
    min_ratio: Ratio = 0.5


class TooFewJapanese(Filter):
    """Fewer than `min_chars` Japanese letters.

    >>> TooFewJapanese(min_chars=5).drops("これはtextです")
    False
    """

    measured = JapaneseCharacters
    type: Literal["too_few_japanese"] = "too_few_japanese"
    min_chars: PositiveInt = 400


class TooLittleJapanese(Filter):
    """Less than `min_ratio` Japanese among all characters.

    >>> TooLittleJapanese().drops("設定は config.yml を編集する")
    True
    """

    measured = JapaneseRatio
    type: Literal["too_little_japanese"] = "too_little_japanese"
    min_ratio: Ratio = 0.5


class TooLittleHiragana(Filter):
    """Less than `min_ratio` hiragana among the Japanese letters: lists of names and titles.

    >>> TooLittleHiragana().drops("東京都渋谷区、大阪府大阪市、北海道札幌市")
    True
    """

    measured = HiraganaRatio
    type: Literal["too_little_hiragana"] = "too_little_hiragana"
    min_ratio: Ratio = 0.2


class TooMuchKatakana(Filter):
    """More than `max_ratio` katakana among the Japanese letters: catalogues.

    >>> TooMuchKatakana().drops("レディース、メンズ、ブランド、スニーカー")
    True
    """

    measured = KatakanaRatio
    type: Literal["too_much_katakana"] = "too_much_katakana"
    max_ratio: Ratio = 0.5


class NoEarlyKana(Filter):
    """Fewer than `min_count` kana among the first `chars` characters, the rule of thumb of HojiChar's `AcceptJapanese`.

    One の lets a Chinese page pass and a long English heading stops a Japanese one: `other_language` does neither.

    >>> NoEarlyKana().drops("ほうじ茶"), NoEarlyKana().drops("a" * 50 + "あ")
    (False, True)
    """

    measured = EarlyKana
    type: Literal["no_early_kana"] = "no_early_kana"
    chars: PositiveInt = 50
    min_count: PositiveInt = 1


class OddCompression(Filter):
    """Compresses to less than `min_ratio` (says the same again) or to more than `max_ratio` (says nothing) of its bytes.

    >>> OddCompression().drops("お買い得！" * 50)
    True
    """

    measured = CompressionRatio
    type: Literal["odd_compression"] = "odd_compression"
    min_ratio: Ratio = 0.3
    max_ratio: float = 0.7


class Mojibake(Filter):
    """More than `max_ratio` of the visible characters are left from a wrong decoding.

    >>> Mojibake().drops("文字化け"), Mojibake().drops("縺薙ｓ縺ｫ縺｡縺ｯ、荳也阜")
    (False, True)
    """

    measured = MojibakeRatio
    type: Literal["mojibake"] = "mojibake"
    max_ratio: Ratio = 0.05
