"""What a character is, as one small number each, and how many of every class a document has.

The classes exclude each other, so that all ratios of characters come from one count by document and class. They follow
`str.isspace` and `str.isalpha`, and for Japanese the ranges that swallow-corpus's `quality.py` counts.
"""

import sys
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

type Codes = NDArray[np.uint32]
type Counts = NDArray[np.int64]


class Class(IntEnum):
    """Classes of characters."""

    OTHER = 0
    SPACE = 1
    HIRAGANA = 2
    KATAKANA = 3
    LONG_VOWEL = 4
    HALF_KATAKANA = 5
    KANJI = 6
    NUMERAL_KANJI = 7
    """〇 and the symbols among the kanji: Japanese, but no letters to Unicode."""
    LETTER = 8
    """Any other letter."""
    DIGIT = 9
    TOTEN = 10
    """、 and ，"""
    KUTEN = 11
    """。 ． ！ ？"""
    REPLACEMENT = 12
    """U+FFFD, which a decoder writes for bytes that it did not understand."""


class Script(IntEnum):
    """What a run of characters is written in."""

    OTHER = 0
    SPACE = 1
    MARK = 2
    HIRAGANA = 3
    KATAKANA = 4
    KANJI = 5


SPACES = (Class.SPACE,)
KANA = (Class.HIRAGANA, Class.KATAKANA, Class.LONG_VOWEL, Class.HALF_KATAKANA)
LETTERS = (*KANA, Class.KANJI, Class.LETTER)
JAPANESE = (Class.HIRAGANA, Class.KATAKANA, Class.KANJI, Class.NUMERAL_KANJI, Class.TOTEN, Class.KUTEN)
"""What swallow-corpus counts as Japanese: neither ー nor half-width katakana."""

SCRIPTS = np.full(len(Class), Script.OTHER, np.uint8)
"""The script of each class."""
SCRIPTS[[Class.SPACE]] = Script.SPACE
SCRIPTS[[Class.TOTEN, Class.KUTEN]] = Script.MARK
SCRIPTS[[Class.HIRAGANA]] = Script.HIRAGANA
SCRIPTS[[Class.KATAKANA, Class.LONG_VOWEL]] = Script.KATAKANA
SCRIPTS[[Class.KANJI, Class.NUMERAL_KANJI]] = Script.KANJI

_KANJI = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFF), (0x3005, 0x3005), (0x3007, 0x3007), (0x303B, 0x303B))


@cache
def _table() -> NDArray[np.uint8]:
    characters = map(chr, range(sys.maxunicode + 1))
    table = np.fromiter(
        (
            Class.LETTER
            if char.isalpha()
            else Class.SPACE
            if char.isspace()
            else Class.DIGIT
            if char.isdigit()
            else Class.OTHER
            for char in characters
        ),
        np.uint8,
        sys.maxunicode + 1,
    )
    for first, last in _KANJI:
        kanji = table[first : last + 1]
        kanji[:] = np.where(kanji == Class.LETTER, Class.KANJI, Class.NUMERAL_KANJI)
    table[0x3041:0x3097] = Class.HIRAGANA
    table[0x30A1:0x30FB] = Class.KATAKANA
    table[0x30FC] = Class.LONG_VOWEL
    table[0xFF66:0xFFA0] = Class.HALF_KATAKANA
    table[[ord(char) for char in "、，"]] = Class.TOTEN
    table[[ord(char) for char in "。．！？"]] = Class.KUTEN
    table[0xFFFD] = Class.REPLACEMENT
    return table


def classes(codes: Codes) -> NDArray[np.uint8]:
    """The class of every character.

    >>> from bunbuku_corpus.ngrams import codepoints
    >>> [Class(one).name for one in classes(codepoints("猫ねコー 1。"))]
    ['KANJI', 'HIRAGANA', 'KATAKANA', 'LONG_VOWEL', 'SPACE', 'DIGIT', 'KUTEN']
    """
    return _table()[codes]


def count_classes(kinds: NDArray[np.uint8], documents: NDArray[np.int64], size: int) -> Counts:
    """How many characters of each class each of `size` documents has: a row a document, a column a class."""
    width = len(Class)
    return np.bincount(documents * width + kinds, minlength=size * width).reshape(size, width)
