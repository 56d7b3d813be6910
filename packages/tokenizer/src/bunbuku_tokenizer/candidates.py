"""Which strings may become pieces: what lies within a morpheme or word, and short runs of whole morphemes.

SentencePiece of its own takes its candidates from a suffix array, where a string counts only if two different
characters follow it somewhere. Marking morpheme boundaries in the text defeats that: a morpheme that is always followed
by the mark is never a candidate, and the most frequent words are lost. Here the candidates are made from the morphemes,
and the text stays as it is. The largest number of morphemes in a run is the one dial between pieces that never cross a
morpheme boundary (1) and pieces that cross freely.
"""

from collections import Counter
from collections.abc import Iterable
from heapq import nsmallest

from bunbuku_tokenizer.morphemes import Tally

SPACE = "\u2581"
"""How a space is written inside a piece."""


def candidates(tally: Tally, *, max_chars: int, min_count: int, limit: int) -> list[tuple[str, int]]:
    """Candidate pieces of two and more characters with how often they occur, the most useful first.

    Usefulness is count times length, the characters that a piece would account for: SentencePiece's own order.

    >>> tally = Tally(Counter({"東京都": 3, " the": 5}), Counter({"東京都は": 2, "東京都が": 1}))
    >>> candidates(tally, max_chars=4, min_count=2, limit=4)
    [('▁the', 5), ('the', 5), ('▁th', 5), ('he', 5)]
    """
    counts: Counter[str] = Counter()
    for atom, count in tally.atoms.items():
        for part in substrings(atom, max_chars):
            counts[part] += count
    for run, count in tally.runs.items():
        counts[run] += count
    frequent = ((piece.replace(" ", SPACE), count) for piece, count in counts.items() if count >= min_count)
    return nsmallest(limit, frequent, key=lambda each: (-each[1] * len(each[0]), -len(each[0]), each[0]))


def substrings(atom: str, max_chars: int) -> Iterable[str]:
    """Every substring of two to `max_chars` characters.

    >>> list(substrings("石油王", 16))
    ['石油', '石油王', '油王']
    """
    for start in range(len(atom) - 1):
        for end in range(start + 2, min(len(atom), start + max_chars) + 1):
            yield atom[start:end]
