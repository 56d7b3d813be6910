"""Lists of words, found in texts all at once. The one module that knows the Aho-Corasick library.

The lists that come with the package are short and general: they are meant for densities, since any word of them can stand
in a good text once. Matching folds width and case (NFKC) and leaves the texts as they are. A word in katakana is not found
inside a longer one, as サックス is not in アングロサックスン.
"""

import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from ahocorasick_rs import AhoCorasick, MatchKind

type Vocabulary = Literal["adult", "violence", "discrimination", "advertising", "boilerplate"]

_KATAKANA = re.compile("[ァ-ヺー]+")


class Found(NamedTuple):
    """What of a list a text has."""

    words: int
    """Occurrences, the longest where several begin."""
    chars: int
    """Their characters."""
    total: int
    """Characters of the text once folded."""


def fold(text: str) -> str:
    """The text as it is searched: NFKC, in lower case.

    >>> fold("Ｓａｌｅ ｾｰﾙ")
    'sale セール'
    """
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    return text.lower()


@cache
def words_of(vocabulary: Vocabulary) -> tuple[str, ...]:
    """The words of a list that comes with the package: a line each, `#` begins a comment."""
    lines = files("bunbuku_corpus").joinpath("vocabularies", f"{vocabulary}.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in lines.splitlines() if line.strip() and not line.startswith("#"))


class Searcher:
    """Finds the words of a list."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = tuple(dict.fromkeys(map(fold, words)))
        self._katakana = [bool(_KATAKANA.fullmatch(word)) for word in self._words]
        self._automaton = AhoCorasick(self._words, matchkind=MatchKind.LeftmostLongest)

    def find(self, text: str) -> Found:
        """The words in a folded text.

        >>> Searcher(("セール", "送料無料")).find(fold("ｾｰﾙ中、送料無料!ウィンターセールス"))
        Found(words=2, chars=7, total=19)
        """
        matches = self._automaton.find_matches_as_indexes(text)
        sizes = [end - start for word, start, end in matches if self._stands_alone(text, word, start, end)]
        return Found(len(sizes), sum(sizes), len(text))

    def _stands_alone(self, text: str, word: int, start: int, end: int) -> bool:
        if not self._katakana[word]:
            return True
        return not (_KATAKANA.match(text, start - 1) if start else None) and not _KATAKANA.match(text, end)


@cache
def searcher(vocabulary: Vocabulary, more: tuple[str, ...] = ()) -> Searcher:
    """The list's, made once in a process."""
    return Searcher((*words_of(vocabulary), *more))
