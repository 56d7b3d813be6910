"""Where the morphemes of a text begin and end, and how tokens lie on them.

A token crosses a boundary where one morpheme ends inside it. It is *multiple* if it is two or more whole morphemes, and it
*straddles* if it crosses a boundary and begins or ends inside a morpheme: of が好|き the second half of 好き is torn off.
White space belongs to no morpheme, and a token is looked at without the white space at its ends.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bunbuku_tokenizer.morphemes import Segment

_MAX_CHARS = 4000
"""Longest stretch that an analyzer is given; longer ones are cut after a full stop, if there is one."""
_STRETCH = re.compile(f"[^\\s\0]{{1,{_MAX_CHARS}}}(?:(?<=[。！？])|(?![^\\s\0]))|[^\\s\0]{{1,{_MAX_CHARS}}}")


class Lying(NamedTuple):
    """How many of a text's tokens cross boundaries."""

    straddling: int
    multiple: int


@dataclass(frozen=True)
class Cut:
    """A text and its morphemes."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Start and end of each, in their order."""

    @property
    def morphemes(self) -> list[str]:
        return [self.text[start:end] for start, end in self.spans]

    def lying(self, starts: Sequence[int], ends: Sequence[int]) -> Lying:
        """How tokens lie on the morphemes.

        >>> cut = Cut("猫が 好き", ((0, 1), (1, 2), (3, 5)))
        >>> cut.lying([0, 2], [2, 5])  # 猫が, 好き with the space before it
        Lying(straddling=0, multiple=1)
        >>> cut.lying([0, 1, 4], [1, 4, 5])  # 猫, が 好, き
        Lying(straddling=1, multiple=0)
        """
        length = len(self.text)
        boundary = np.zeros(length + 1, dtype=bool)
        held = np.zeros(length, dtype=bool)
        for start, end in self.spans:
            boundary[[start, end]] = True
            held[start:end] = True
        place = np.arange(length)
        # The first place from i on, and the last end up to i, that is not in white space.
        first = np.append(np.minimum.accumulate(np.where(held, place, length)[::-1])[::-1], length)
        last = np.append(0, np.maximum.accumulate(np.where(held, place + 1, 0)))
        begins, stops = first[np.asarray(starts, dtype=np.int64)], last[np.asarray(ends, dtype=np.int64)]
        begins, stops = begins[begins < stops], stops[begins < stops]
        passed = np.cumsum(boundary)
        crossing = passed[stops - 1] > passed[begins]
        whole = boundary[begins] & boundary[stops]
        return Lying(straddling=int((crossing & ~whole).sum()), multiple=int((crossing & whole).sum()))


def cut(text: str, segment: Segment) -> Cut:
    """`text` divided into morphemes by `segment`, which sees a stretch without white space at a time.

    >>> from bunbuku_tokenizer.morphemes import mecab
    >>> cut("猫が 好き", mecab()).morphemes
    ['猫', 'が', '好き']
    """
    spans: list[tuple[int, int]] = []
    for stretch in _STRETCH.finditer(text):
        start = stretch.start()
        for morpheme in segment(stretch[0]):
            spans.append((start, start + len(morpheme)))
            start += len(morpheme)
    return Cut(text, tuple(spans))
