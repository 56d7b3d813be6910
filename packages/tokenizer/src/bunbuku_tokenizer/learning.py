"""From the sample's lines to a vocabulary: one model for everything, or each language its share.

With shares every language first gets a model of its own, somewhat larger than its share. Then SentencePiece weighs all
their pieces on all of the text together, without dropping any, and every language keeps its likeliest ones: the way of
llm-jp's version 2 (`llm-jp/llm-jp-tokenizer:scripts/howToCreateModel_ver2.md`), with the estimate in SentencePiece.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bunbuku_tokenizer import unigram
from bunbuku_tokenizer.candidates import SPACE
from bunbuku_tokenizer.recipe import AnyCandidates, Material, Track
from bunbuku_tokenizer.scripts import is_japanese
from bunbuku_tokenizer.unigram import BYTES, SPECIALS
from bunbuku_tokenizer.vocabulary import GIVEN, LOWEST, SCORE_STEP, Characters, mandatory, on_step

_SURPLUS = 1.25
"""How much more than its share a language's own model has: languages know some pieces of each other."""

type Learned = list[tuple[str, float]]
"""Pieces with log-probabilities, the likeliest first."""


@dataclass(frozen=True)
class Learner:
    """What every run of SentencePiece has in common."""

    candidates: AnyCandidates
    required: Characters
    coverage: float
    max_chars: int
    shrinking_factor: float
    num_threads: int
    workers: int
    scratch: Path
    track: Track

    def together(self, lines: Mapping[str, list[str]], size: int) -> tuple[Learned, Any]:
        """What fills `size` ids, special tokens and bytes included, for all of the text; and SentencePiece's model.

        Raises:
            VocabularyTooLarge, VocabularyTooSmall: As `unigram.learn`.
        """
        material = self._prepare(list(chain.from_iterable(lines.values())))
        model = self._learn(material, size)
        return _with_words(_learned(model, material.delimiter), [material]), model

    def apart(
        self, lines: Mapping[str, list[str]], size: int, shares: Mapping[str, float]
    ) -> tuple[Learned, Any, dict[str, int]]:
        """As `together`, the pieces of several characters divided by `shares`; and each language's number of them.

        Raises:
            VocabularyTooLarge, VocabularyTooSmall: As `unigram.learn`.
        """
        whole = sum(shares.values())
        found: dict[str, list[str]] = {}
        materials: list[Material] = []
        for language, share in shares.items():
            wanted = math.ceil(size * share / whole * _SURPLUS)
            materials.append(material := self._prepare(lines[language]))
            size_of_it = wanted + len(set(mandatory(self.required)).union(*lines[language])) + _FIXED
            pieces = _learned(self._learn(material, size_of_it, exactly=False), material.delimiter)
            found[language] = [piece for piece, _ in pieces if len(piece) > 1]
        everything = Material(list(chain.from_iterable(lines.values())), _seeds(found))
        model = self._learn(everything, _FIXED + unigram.ALPHABET + sum(map(len, found.values())), exactly=False)
        scores = dict(_learned(model, None))
        characters = [piece for piece in scores if len(piece) == 1]
        if len(characters) + _FIXED > size:
            raise unigram.VocabularyTooSmall(len(characters) + _FIXED)
        spelt = {language: _spelt_with(set(characters), pieces) for language, pieces in found.items()}
        fixed = _FIXED + len(characters)
        try:
            kept = _divide(spelt, scores, size - fixed, shares)
        except unigram.VocabularyTooLarge as error:
            raise unigram.VocabularyTooLarge(error.largest + fixed) from error
        numbers = {language: len(set(pieces).intersection(kept)) for language, pieces in spelt.items()}
        least = min(scores.values())
        weighed = ((piece, scores.get(piece, least)) for piece in (*characters, *kept))
        ranked = sorted(weighed, key=lambda each: (-each[1], each[0]))
        return _with_words(ranked, materials), model, numbers

    def _prepare(self, lines: list[str]) -> Material:
        return self.candidates.prepare(lines, max_chars=self.max_chars, workers=self.workers, track=self.track)

    def _learn(self, material: Material, size: int, *, exactly: bool = True) -> Any:
        required = mandatory(self.required)
        return unigram.learn(
            chain([required], material.lines),
            material.candidates,
            size=size,
            exactly=exactly,
            delimiter=material.delimiter,
            max_candidates=self.candidates.max_candidates,
            required=required.replace(" ", SPACE),
            coverage=self.coverage,
            max_chars=self.max_chars,
            shrinking_factor=self.shrinking_factor,
            num_threads=self.num_threads,
            scratch=self.scratch,
        )


_FIXED = len(SPECIALS) + BYTES


def _learned(model: Any, delimiter: str | None) -> Learned:
    # SentencePiece counts the delimiter among the characters that a vocabulary needs (google/sentencepiece#1089).
    pieces = model.pieces[_FIXED:]
    return [(each.piece, max(each.score, LOWEST + 1)) for each in pieces if each.piece != delimiter]


def _seeds(found: Mapping[str, Sequence[str]]) -> list[tuple[str, int]]:
    """All pieces once, with a count that falls with the better of a piece's ranks: all that is known before the estimate."""
    ranks: dict[str, int] = {}
    for pieces in found.values():
        for rank, piece in enumerate(pieces):
            ranks[piece] = min(rank, ranks.get(piece, rank))
    return [(piece, max(1, 1_000_000 // (rank + 1))) for piece, rank in sorted(ranks.items())]


def _divide(
    found: Mapping[str, Sequence[str]], scores: Mapping[str, float], size: int, shares: Mapping[str, float]
) -> list[str]:
    """`size` pieces: the languages take their likeliest ones in turns, as often as their shares say.

    What is another language's too counts for both. One that runs out leaves its turns to the others.

    Raises:
        VocabularyTooLarge: There are not so many.
    """
    turns: list[tuple[float, int, str]] = []
    for index, (language, pieces) in enumerate(found.items()):
        ranked = sorted(set(pieces) - set(GIVEN), key=lambda piece: (-scores.get(piece, -math.inf), piece))
        turns += [((rank + 1) / shares[language], index, piece) for rank, piece in enumerate(ranked)]
    chosen = list(dict.fromkeys(piece for _, _, piece in sorted(turns)))
    if len(chosen) < size:
        raise unigram.VocabularyTooLarge(len(chosen))
    return chosen[:size]


def _with_words(learned: Learned, materials: Sequence[Material]) -> Learned:
    counts: Counter[str] = Counter()
    for material in materials:
        counts.update(material.words)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return with_words(learned, ranked, materials[0].word_share)


def with_words(learned: Learned, words: Sequence[str], share: float) -> Learned:
    """`learned` with the first of `words` that it lacks, in the place of a `share` of its other pieces of Japanese.

    Where runs of morphemes are pieces, a frequent word that nearly always stands in one of them is not worth a piece of
    its own to the likelihood of the text; to what a model may learn of the word in new surroundings it is. A word's
    score is the least that makes it one token: a step above that of its likeliest cut. The least likely pieces give way.
    """
    scores = {piece: on_step(score) for piece, score in learned}
    japanese = [piece for piece, _ in reversed(learned) if len(piece) > 1 and is_japanese(piece)]
    missing: list[str] = []
    wanted: set[str] = set()
    for word in words:
        if len(missing) == int(share * len(japanese)):
            break
        wanted.add(word)
        if word not in scores and set(word) <= scores.keys():
            missing.append(word)
    others = [piece for piece in japanese if piece not in wanted]
    missing = missing[: len(others)]
    for piece in others[: len(missing)]:
        del scores[piece]
    for word in sorted(missing, key=lambda word: (len(word), word)):  # a word may be a part of a longer one
        scores[word] = min(max(_likeliest_cut(word, scores) + SCORE_STEP, LOWEST), -SCORE_STEP)
    return sorted(scores.items(), key=lambda each: (-each[1], each[0]))


def _likeliest_cut(word: str, scores: Mapping[str, float]) -> float:
    """The largest sum of the scores of pieces that spell `word`."""
    best = [0.0, *(-math.inf for _ in word)]
    for end in range(1, len(word) + 1):
        best[end] = max(best[start] + scores.get(word[start:end], -math.inf) for start in range(end))
    return best[-1]


def _spelt_with(characters: set[str], pieces: Sequence[str]) -> list[str]:
    """Pieces whose characters are all there: a character of one language may be too rare in all of the text."""
    return [piece for piece in pieces if characters.issuperset(piece)]
