"""Menus and link lists in a text, found by their form: many short lines one after another that are labels and no sentences.

Verse and dialogue are short lines, too. What tells them apart is hiragana, which is what sentences are held together by
and labels are not.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

LINE_ENDS = tuple("。．！？.!?」』）)…♪")
"""What a line of prose ends with."""
_HIRAGANA = re.compile("[ぁ-ゖ]")
_JAPANESE = re.compile("[ぁ-ゖァ-ヺー一-鿿々〆]")
_MAX_HIRAGANA, _MIN_JAPANESE = 0.4, 0.5
_PROSE_CHARS = 15


def menus(lines: Sequence[str], *, run: int, chars: int) -> list[bool]:
    """Which of the lines stand in a menu: at least `run` lines that are no sentences, none longer than `chars`.

    A single short line between two labels stands in it, too, however it ends.

    >>> menus(["ようこそ。", "会社概要", "", "採用情報", "沿革"], run=3, chars=20)
    [False, True, False, True, True]
    >>> menus(["雨にもまけず", "風にもまけず", "雪にも夏の暑さにも"], run=3, chars=20)
    [False, False, False]
    """
    found = [False] * len(lines)
    for places in _runs(lines, chars):
        # A long run is looked at in parts: one of names in Latin letters, code perhaps, says nothing of the others.
        for start in range(0, len(places) - run + 1, run):
            some = places[start:] if len(places) - start < 2 * run else places[start : start + run]
            if _labels("".join(lines[place] for place in some)):
                for place in some:
                    found[place] = True
    return found


def has_prose(lines: Sequence[str]) -> bool:
    """Whether one of the lines is a sentence.

    >>> has_prose(["会社概要"]), has_prose(["当社は百年前に京都で生まれました。"])
    (False, True)
    """
    return any(len(line) >= _PROSE_CHARS and line.endswith(LINE_ENDS) for line in map(str.strip, lines))


def _runs(lines: Sequence[str], chars: int) -> Iterator[list[int]]:
    filled = [(place, line) for place, text in enumerate(lines) if (line := text.strip())]
    short = [len(line) <= chars for _, line in filled]
    label = [few and not line.endswith(LINE_ENDS) for few, (_, line) in zip(short, filled, strict=True)]
    inside = [False, *(one and other for one, other in zip(label, label[2:], strict=False)), False]
    part = [one or (few and between) for one, few, between in zip(label, short, inside, strict=False)]
    for is_part, some in groupby(zip(filled, part, strict=True), key=lambda one: one[1]):
        if is_part:
            yield [place for (place, _), _ in some]


def _labels(text: str) -> bool:
    japanese = len(_JAPANESE.findall(text))
    if japanese < _MIN_JAPANESE * max(sum(map(str.isalnum, text)), 1):
        return False
    return len(_HIRAGANA.findall(text)) <= _MAX_HIRAGANA * japanese
