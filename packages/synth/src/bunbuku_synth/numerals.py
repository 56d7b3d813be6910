"""Numbers in words: kanji numerals and digits, both ways.

>>> kanji(1205), kanji(0), parse("千二百五"), parse("１２")
('千二百五', '〇', 1205, 12)
"""

import re
import unicodedata

_DIGITS = "〇一二三四五六七八九"
_SMALL = {"千": 1000, "百": 100, "十": 10}
_LARGE = {"億": 10**8, "万": 10**4}
_NUMBER = re.compile(r"[0-9]+|[〇零一二三四五六七八九十百千万億]+")
LIMIT = 10**12
"""Numbers below this can be written."""


def kanji(number: int) -> str:
    """A number in kanji numerals.

    >>> kanji(10_000), kanji(2_345)
    ('一万', '二千三百四十五')
    """
    if not 0 <= number < LIMIT:
        raise ValueError(f"{number} is not between 0 and {LIMIT - 1}")
    words = ""
    for name, unit in _LARGE.items():
        if number >= unit:
            words += _below_ten_thousand(number // unit) + name
            number %= unit
    return words + _below_ten_thousand(number) or "〇"


def parse(word: str) -> int | None:
    """The number a word stands for, `None` if it is no well-formed number.

    >>> parse("二〇二六"), parse("十十"), parse("猫")
    (2026, None, None)
    """
    word = unicodedata.normalize("NFKC", word).replace("零", "〇")
    if re.fullmatch(r"[0-9]+", word):
        return int(word)
    if re.fullmatch(rf"[{_DIGITS}]+", word):
        return int("".join(str(_DIGITS.index(c)) for c in word))
    if not re.fullmatch(_NUMBER, word):
        return None
    return _in_units(word)


def numbers(text: str) -> list[tuple[int, int, int]]:
    """Start, end and value of every number written in `text`.

    >>> numbers("答えは三十二です。")
    [(3, 6, 32)]
    """
    found: list[tuple[int, int, int]] = []
    for match in _NUMBER.finditer(text.translate(_HALF_WIDTH)):
        value = parse(match.group())
        if value is not None:
            found.append((match.start(), match.end(), value))
    return found


_HALF_WIDTH = {ord("０") + n: ord("0") + n for n in range(10)}


def _below_ten_thousand(number: int) -> str:
    words = ""
    for name, unit in _SMALL.items():
        if count := number // unit:
            words += (_DIGITS[count] if count > 1 else "") + name
            number %= unit
    return words + (_DIGITS[number] if number else "")


def _in_units(word: str) -> int | None:
    """The value of numerals with units, by writing the value again: only what `kanji` would write is well formed."""
    total = section = digit = 0
    for c in word:
        if c in _DIGITS:
            digit = _DIGITS.index(c)
        elif c in _SMALL:
            section, digit = section + (digit or 1) * _SMALL[c], 0
        else:
            total, section, digit = total + (section + digit) * _LARGE[c], 0, 0
    value = total + section + digit
    return value if value < LIMIT and kanji(value) == word else None
