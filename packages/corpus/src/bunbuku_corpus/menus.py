"""Menus and link lists in a text, found by their form: many short lines one after another that are labels and no sentences.

Verse and dialogue are short lines, too. What tells them apart is hiragana, which is what sentences are held together by
and labels are not. A line of labels with marks between them, 「ホーム | 会社概要 | 採用情報」, is as many labels; lines that begin with
numbers such as 6.2.4 are a table of contents whatever they say.
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
_PROSE_ENDS = tuple(mark for mark in LINE_ENDS if mark not in "）)")
_BETWEEN = re.compile(r"\s*[|｜»›]\s*|\s+[>/]\s+")
_FEWEST_LABELS = 3
_NUMBERED = re.compile(r"\d+(\.\d+)+")
_MOST_NUMBERED = 0.75
_MOST_PARTS = 0.75


def menus(lines: Sequence[str], *, run: int, chars: int) -> list[bool]:
    """Which of the lines stand in a menu: at least `run` lines that are no sentences, none longer than `chars`.

    A single short line between two labels stands in it, too, however it ends.

    >>> menus(["ようこそ。", "会社概要", "", "採用情報", "沿革"], run=3, chars=20)
    [False, True, False, True, True]
    >>> menus(["雨にもまけず", "風にもまけず", "雪にも夏の暑さにも"], run=3, chars=20)
    [False, False, False]
    >>> menus(["ホーム | 会社概要 | 採用情報", "当社は百年前に京都で生まれました。"], run=3, chars=20)
    [True, False]
    """
    found = [False] * len(lines)
    for labels in _runs(lines, chars):
        # A long run is looked at in parts: one of names in Latin letters, code perhaps, says nothing of the others unless these are many.
        parts = [
            labels[start:] if len(labels) - start < 2 * run else labels[start : start + run]
            for start in range(0, len(labels) - run + 1, run)
        ]
        menu = [_are_labels([label for _, label in part]) for part in parts]
        whole = sum(menu) >= _MOST_PARTS * len(parts)
        for part, there in zip(parts, menu, strict=True):
            for place, _ in part if there or whole else ():
                found[place] = True
    return found


def prose_chars(lines: Sequence[str]) -> int:
    """Characters of the lines that are sentences.

    >>> prose_chars(["会社概要", "当社は百年前に京都で生まれました。"])
    17
    """
    return sum(len(line) for line in map(str.strip, lines) if len(line) >= _PROSE_CHARS and line.endswith(_PROSE_ENDS))


def _labels_of(line: str) -> list[str]:
    """The labels of a line with marks between them, or the line; the first of a table's marks stands before its first label."""
    if line.startswith("|") or line.endswith(LINE_ENDS):
        return [line]
    labels = [label for label in _BETWEEN.split(line) if label]
    return labels if len(labels) >= _FEWEST_LABELS else [line]


def _runs(lines: Sequence[str], chars: int) -> Iterator[list[tuple[int, str]]]:
    filled = [
        (place, label) for place, text in enumerate(lines) if (line := text.strip()) for label in _labels_of(line)
    ]
    short = [len(line) <= chars for _, line in filled]
    label = [few and not line.endswith(LINE_ENDS) for few, (_, line) in zip(short, filled, strict=True)]
    inside = [False, *(one and other for one, other in zip(label, label[2:], strict=False)), False]
    part = [one or (few and between) for one, few, between in zip(label, short, inside, strict=False)]
    for is_part, some in groupby(zip(filled, part, strict=True), key=lambda one: one[1]):
        if is_part:
            yield [one for one, _ in some]


def _are_labels(lines: Sequence[str]) -> bool:
    if sum(bool(_NUMBERED.match(line)) for line in lines) >= _MOST_NUMBERED * len(lines):
        return True
    text = "".join(lines)
    japanese = len(_JAPANESE.findall(text))
    if japanese < _MIN_JAPANESE * max(sum(map(str.isalnum, text)), 1):
        return False
    return len(_HIRAGANA.findall(text)) <= _MAX_HIRAGANA * japanese
