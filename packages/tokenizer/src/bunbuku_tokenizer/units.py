"""Which bytes of a text belong to which morpheme: where pieces may begin and end when a vocabulary is extended."""

import re
from array import array

from bunbuku_tokenizer.morphemes import Segment

JAPANESE = re.compile(
    "[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff々〆〇\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
"""Kana, kanji, and the signs that repeat or lengthen them: new pieces are made of nothing else."""

CJK = re.compile("[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Characters whose encoding may change when a byte-level tokenizer is extended: some of their bytes may be a piece."""


def units(text: str, segment: Segment, *, gap: int, after: int = 0) -> "array[int]":
    """For every byte of `text` in UTF-8, the number of its morpheme; -1 in what is not Japanese.

    Morphemes that touch have numbers one apart, others differ by more than `gap`, and all are above `after`.

    >>> from bunbuku_tokenizer.morphemes import mecab
    >>> units("猫が、a犬", mecab(), gap=5).tolist()
    [1, 1, 1, 2, 2, 2, -1, -1, -1, -1, 13, 13, 13]
    """
    numbers = array("i")
    at, number = 0, after
    for stretch in text.split():
        for morpheme in segment(stretch) if JAPANESE.search(stretch) else ():
            found = text.find(morpheme, at)
            if found < 0:
                break
            if found > at:
                numbers.extend([-1] * len(text[at:found].encode()))
                number += gap
            at = found + len(morpheme)
            size = len(morpheme.encode())
            if JAPANESE.fullmatch(morpheme):
                number += 1
                numbers.extend([number] * size)
            else:
                number += gap
                numbers.extend([-1] * size)
    numbers.extend([-1] * len(text[at:].encode()))
    return numbers
