"""The words that say what a text is about, found by script alone: runs of kanji, of katakana and of Latin letters.

Hiragana is mostly grammar and is left out, and so is what is written in one kanji. A long run of kanji is a compound
(東京都立図書館), so its pairs of kanji count beside it: texts then agree in parts of compounds, too.
"""

import math
import re
import unicodedata
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bunbuku_corpus.features import Rows
from bunbuku_corpus.language import sample

_TERM = re.compile(r"[\u3400-\u9fff々]{2,}|[ァ-ヺ][ァ-ヺー]+|[a-z][a-z+#]{2,}")
_LONGEST = 12
_PRIOR = 0.5


def terms(text: str) -> list[str]:
    """The terms of a text, in order.

    >>> terms("東京都立図書館でＰｙｔｈｏｎのプログラミングを学ぶ。")
    ['東京都立図書館', 'python', 'プログラミング']
    """
    return [one for one in _TERM.findall(unicodedata.normalize("NFKC", text).lower()) if len(one) <= _LONGEST]


def units(text: str) -> Counter[str]:
    """The terms with how often each is there, and the pairs of kanji of the longer ones.

    >>> sorted(units("図書館"))
    ['図書', '図書館', '書館']
    """
    found = Counter(terms(text))
    for term, times in list(found.items()):
        if len(term) > 2 and term[0] >= "\u3400":
            for at in range(len(term) - 1):
                found[term[at : at + 2]] += times
    return found


def unit_rows(texts: Sequence[str], *, slot_bits: int, max_chars: int) -> Rows:
    """A sparse row a text: 1 + ln of its units' counts in hashed slots, not scaled."""
    # Not lists: a number in a list takes four times as much, and a sample has millions of them.
    slots, values, offsets = array("q"), array("f"), [0]
    for text in texts:
        row: dict[int, float] = {}
        for unit, times in units(sample(text, max_chars)).items():
            slot = zlib.crc32(unit.encode()) >> (32 - slot_bits)
            row[slot] = row.get(slot, 0.0) + 1 + math.log(times)
        for slot in sorted(row):
            slots.append(slot)
            values.append(row[slot])
        offsets.append(len(slots))
    return Rows(np.array(values, np.float32), np.array(slots, np.int64), np.array(offsets, np.int64))


class Telling(NamedTuple):
    """A term that tells a group of texts from the others."""

    term: str
    score: float
    texts: int
    """Texts of the group that have it."""


def telling_terms(groups: Sequence[Iterable[set[str]]], count: int, *, least: int = 2) -> list[list[Telling]]:
    """For every group of texts, given as their sets of terms, the terms that tell it from the others.

    By the z-score of log odds with a Dirichlet prior (Monroe, Colaresi and Quinn 2008, "Fightin' Words", eq. 15 to 22), over
    texts and not occurrences, so that one text that repeats a word names no group. `least` texts of the group must have it.
    """
    counts = [Counter(term for text in group for term in text) for group in groups]
    everything: Counter[str] = Counter()
    for one in counts:
        everything.update(one)
    total = everything.total()
    found: list[list[Telling]] = []
    for one in counts:
        size = one.total()
        scored = (
            Telling(term, _log_odds(times, size, everything[term], total), times)
            for term, times in one.items()
            if times >= least
        )
        found.append(sorted(scored, key=lambda telling: (-telling.score, telling.term))[:count])
    return found


def _log_odds(inside: int, size: int, times: int, total: int) -> float:
    prior, mass = _PRIOR, _PRIOR * 100
    outside = times - inside

    def odds(count: int, all: int) -> float:
        return math.log((count + prior) / (all + mass - count - prior))

    spread = 1 / (inside + prior) + 1 / (outside + prior)
    return (odds(inside, size) - odds(outside, total - size)) / math.sqrt(spread)
