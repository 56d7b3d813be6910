"""Where a text mentions things, each of which may be written in several ways, and how near two mentions are.

A mention is a stretch of the folded text (NFKC, lower case). A word of katakana, of Latin letters or of digits is found
only where it stands by itself: サックス is not in アングロサックスン, nor `cat` in `concatenate`. Japanese words of other
scripts have no such borders, so 東京 is found in 東京都.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

type Written = tuple[str, ...]
"""The ways of writing one thing."""


def folded(text: str) -> str:
    """The text as mentions are looked for in it.

    >>> folded("ﾉﾋﾞ太 Ｎｏｂｉｔａ")
    'ノビ太 nobita'
    """
    return (text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)).lower()


class Span(NamedTuple):
    """A stretch of a folded text."""

    start: int
    end: int


class Spans:
    """The mentions of one thing in one text, in order."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = sorted(set(spans))
        self._starts = [span.start for span in self._spans]
        self._ends = sorted(span.end for span in self._spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def gap(self, span: Span) -> int | None:
        """Characters between a stretch and the nearest mention apart from it; `None` if all share characters with it.

        >>> Spans([Span(0, 2), Span(9, 11)]).gap(Span(5, 7))
        2
        """
        after = bisect_left(self._starts, span.end)
        before = bisect_right(self._ends, span.start)
        gaps = [self._starts[after] - span.end] if after < len(self._starts) else []
        gaps += [span.start - self._ends[before - 1]] if before else []
        return min(gaps, default=None)

    def within(self, span: Span, chars: int) -> Iterator[Span]:
        """The mentions that share no character with a stretch and have at most so many between."""
        longest = max((one.end - one.start for one in self._spans), default=0)
        first = bisect_left(self._starts, span.start - chars - longest)
        last = bisect_right(self._starts, span.end + chars)
        for one in self._spans[first:last]:
            if 0 <= max(one.start - span.end, span.start - one.end) <= chars:
                yield one

    def touches(self, span: Span, chars: int) -> bool:
        """Whether a mention lies in a stretch or at most so many characters from it."""
        longest = max((one.end - one.start for one in self._spans), default=0)
        first = bisect_left(self._starts, span.start - chars - longest)
        last = bisect_right(self._starts, span.end + chars)
        return any(one.end + chars >= span.start for one in self._spans[first:last])


class Finder:
    """Finds the mentions of many things in a text at once."""

    def __init__(self, things: Sequence[Written]) -> None:
        owners: defaultdict[str, list[int]] = defaultdict(list)
        for index, thing in enumerate(things):
            for word in dict.fromkeys(map(folded, thing)):
                owners[word].append(index)
        self._owners = list(owners.values())
        self._automaton = AhoCorasick(
            list(owners), matchkind=MatchKind.Standard, implementation=Implementation.ContiguousNFA
        )

    def find(self, text: str) -> Mapping[int, Spans]:
        """The mentions in a folded text, by the things' indices; what is not mentioned is not in it.

        >>> found = Finder((("のび太", "野比のび太"), ("あやとり",))).find("野比のび太はあやとりが得意")
        >>> {index: list(map(tuple, spans)) for index, spans in found.items()}
        {0: [(0, 5), (2, 5)], 1: [(6, 10)]}
        """
        found: defaultdict[int, list[Span]] = defaultdict(list)
        for word, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
            if not (_joined(text, start) or _joined(text, end)):
                for owner in self._owners[word]:
                    found[owner].append(Span(start, end))
        return {index: Spans(spans) for index, spans in found.items()}


def _joined(text: str, place: int) -> bool:
    """Whether the characters on both sides of a place are of one script that is written in words."""
    if not 0 < place < len(text):
        return False
    left, right = text[place - 1], text[place]
    return any(script(left) and script(right) for script in (_is_katakana, _is_latin, str.isdigit))


def _is_katakana(character: str) -> bool:
    return "ァ" <= character <= "ヺ" or character == "ー"


def _is_latin(character: str) -> bool:
    return "a" <= character <= "z" or "à" <= character <= "ɏ"
