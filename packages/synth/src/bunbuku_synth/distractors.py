"""Wrong choices, and how they are known to be wrong.

All are taken from pairs of the same corpus part. English stands witness. What a Japanese word means shows in the English
words that come with it again and again: it is wrong where the English in question has none of these. Only words seen
several times can be judged so, and they are about as common as right answers are, so that being rare gives no choice
away. A sentence is wrong where it shares no word that carries meaning with the right one, in either language.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from bunbuku_synth.keys import pick
from bunbuku_synth.language import blanks, content, is_katakana
from bunbuku_synth.sources import Language, Pair

_LONGEST_WORD = 8
_TIMES_SEEN = 3
"""A word that was seen less often is not judged, and is no wrong choice."""
_SHARE = 0.25
"""An English word that comes with more of a Japanese word's sentences than this may be a translation of it."""
_TRIED = 400
"""Candidates that are looked at for one item."""


@dataclass(frozen=True, slots=True)
class Known:
    """A pair with the words that carry its meaning."""

    pair: Pair
    ja: frozenset[str]
    en: frozenset[str]


@dataclass(frozen=True)
class Distractors:
    """Pairs that wrong choices are taken from."""

    pairs: Sequence[Pair]

    def words(self, pair: Pair, answer: str, count: int, *, seed: int) -> list[str]:
        """Up to `count` words that are wrong where `answer` is left out of a pair's Japanese sentence.

        They are written like the answer, in kanji or in katakana, and have no letter in common with it.
        """
        meaning = content(pair.en)
        return _first(
            (
                word
                for word in _here_and_there(self._vocabulary, seed)
                if is_katakana(word) == is_katakana(answer)
                and not set(word) & set(answer)
                and word not in pair.ja
                and self._is_foreign(word, meaning)
            ),
            count,
        )

    def sentences(self, pair: Pair, side: Language, count: int, *, seed: int) -> list[str]:
        """Up to `count` sentences of one side that do not mean what a pair means, of about its length."""
        right = pair.ja if side == "ja" else pair.en
        ja, en = content(pair.ja), content(pair.en)
        return _first(
            (
                known.pair.ja if side == "ja" else known.pair.en
                for known in _here_and_there(self._known, seed)
                if known.ja and known.en and not known.ja & ja and not known.en & en
            ),
            count,
            near=len(right),
        )

    def absent(self, text: str, count: int, *, seed: int) -> list[str]:
        """Up to `count` words that are not in a Japanese text."""
        return _first((word for word in _here_and_there(self._vocabulary, seed) if word not in text), count)

    @cached_property
    def _known(self) -> list[Known]:
        return [Known(pair, content(pair.ja), content(pair.en)) for pair in self.pairs]

    @cached_property
    def _vocabulary(self) -> list[str]:
        return sorted({blank.word for pair in self.pairs for blank in blanks(pair.ja)})

    @cached_property
    def _seen_with(self) -> dict[str, tuple[int, Counter[str]]]:
        """For each word, in how many pairs it was seen, and in how many of them with each English word."""
        seen = {word: (0, Counter[str]()) for word in self._vocabulary}
        for known in self._known:
            for word in _parts(known.pair.ja) & seen.keys():
                times, english = seen[word]
                english.update(known.en)
                seen[word] = times + 1, english
        return seen

    def _is_foreign(self, word: str, meaning: frozenset[str]) -> bool:
        """Whether a word was seen often enough to say that it means nothing of `meaning`."""
        times, english = self._seen_with[word]
        return times >= _TIMES_SEEN and all(english[one] <= _SHARE * times for one in meaning)


def _first(candidates: Iterator[str], count: int, *, near: int | None = None) -> list[str]:
    """The first different candidates, of a length between two thirds and one and a half of `near`."""
    found: list[str] = []
    for candidate in candidates:
        if len(found) == count:
            break
        if candidate not in found and (near is None or near / 1.5 <= len(candidate) <= near * 1.5):
            found.append(candidate)
    return found


def _here_and_there[T](items: Sequence[T], seed: int) -> Iterator[T]:
    """Items at places that are drawn one after the other; one may come twice."""
    for attempt in range(_TRIED if items else 0):
        yield items[pick(seed, f"distractor:{attempt}", len(items))]


def _parts(text: str) -> set[str]:
    return {text[i:j] for i in range(len(text)) for j in range(i + 1, min(i + _LONGEST_WORD, len(text)) + 1)}
