"""Pieces added to a unigram model (Kudo 2018, arXiv:1804.10959) whose own pieces keep their scores.

Candidates are what `candidates` makes of the morphemes. A new piece scores the logarithm of its share of the tokens of
the sample, never less than the worst of the old ones, since that bound is what unknown characters are measured by. The
sample is cut with all candidates, those that save few tokens are dropped, the others are scored by how often they were
used, and again until as many are left as wanted: expectation maximisation over best paths, as SentencePiece prunes.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from bunbuku_tokenizer.merging import NewPiece
from bunbuku_tokenizer.vocabulary import on_step

type Encode = Callable[[Sequence[str]], Iterable[list[int]]]

_KEPT = 0.6
"""Share of the candidates that survives a round."""


class Lattice:
    """The likeliest way to spell a string with the old pieces, bytes for characters that have none."""

    def __init__(self, scores: Mapping[str, tuple[int, float]], byte_ids: Sequence[int], worst: float) -> None:
        self._scores = scores
        self._byte_ids = byte_ids
        self._longest = max(map(len, scores), default=1)
        self._unknown = worst - 10

    def knows(self, text: str, characters: Collection[str]) -> bool:
        """Whether every character is a piece, or one of `characters`."""
        return all(character in self._scores or character in characters for character in text)

    def spell(self, text: str) -> list[int]:
        best: list[tuple[float, list[int]]] = [(0.0, [])]
        for end in range(1, len(text) + 1):
            found: list[tuple[float, list[int]]] = []
            for start in range(max(0, end - self._longest), end):
                part = text[start:end]
                score, ids = best[start]
                if part in self._scores:
                    id, own = self._scores[part]
                    found.append((score + own, [*ids, id]))
                elif len(part) == 1:
                    found.append((score + self._unknown, [*ids, *(self._byte_ids[byte] for byte in part.encode())]))
            best.append(max(found, key=lambda each: each[0]))
        return best[-1][1]


def append_pieces(
    counts: Mapping[str, int],
    *,
    count: int,
    lattice: Lattice,
    worst: float,
    texts: Sequence[str],
    first_id: int,
    encoder: Callable[[Sequence[tuple[str, float]]], Encode],
) -> list[tuple[NewPiece, float]]:
    """The most useful `count` of the candidates in `counts`, each with its score.

    Characters that the old model spells in bytes come first, half of the pieces at most, and no piece holds another such
    character: a model knows every character of its pieces, which the two libraries that cut by it rely on.

    Args:
        counts: How often each candidate occurs.
        count: At most so many.
        lattice: Of the old pieces.
        worst: Lowest score there is.
        texts: The sample.
        first_id: Id of the first new piece.
        encoder: Makes an encoder with these pieces and scores, whose ids are `first_id` and following.
    """
    old = {text: lattice.spell(text) for text in counts}
    single = sorted((text for text in counts if len(text) == 1), key=lambda text: (-counts[text], text))
    characters = set(single[: max(count // 2, 1)])
    uses = {
        text: float(seen)
        for text, seen in counts.items()
        if text in characters or (len(text) > 1 and len(old[text]) > 1 and lattice.knows(text, characters))
    }
    total = sum(uses.values())
    while uses:
        scored = [(text, max(worst, math.log(seen / total))) for text, seen in sorted(uses.items())]
        used = Counter(id for ids in encoder(scored)(texts) for id in ids)
        total = float(used.total())
        found = {text: float(used[first_id + place]) for place, (text, _) in enumerate(scored)}
        uses = {text: max(seen, 1.0) for text, seen in found.items() if seen or text in characters}
        if len(uses) <= count:
            break
        keep = max(count, int(_KEPT * len(uses)))
        ranked = sorted(uses, key=lambda text: (text not in characters, -uses[text] * (len(old[text]) - 1), text))
        uses = {text: uses[text] for text in ranked[:keep]}
    ranked = sorted(uses, key=lambda text: (-uses[text], text))
    return [
        (NewPiece(first_id + place, text.encode(), tuple(old[text])), max(worst, on_step(math.log(uses[text] / total))))
        for place, text in enumerate(ranked)
    ]
