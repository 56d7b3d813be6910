"""Topics of what was made, beside those of a reference: which there are, and how much of each is to be made.

Texts are bags of katakana words, runs of kanji and English stems, weighted by how rare they are; topics are the centres of spherical
k-means (Dhillon & Modha 2001, doi:10.1023/A:1007612920971) over made and reference texts together, so that a topic of which nothing
was made has a centre, too. Everything is drawn from the seed: the same texts have the same topics, in whatever order they come.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from bunbuku_contracts import Config
from pydantic import Field, PositiveInt

_WORD = re.compile(r"[ァ-ヺー]{2,}|[一-鿿々]{2,6}|[A-Za-z]{3,}")
_ROUNDS = 30
_BEGINNINGS = 5
"""Of k-means, which ends where it began from: the one whose texts are nearest to their centres is taken."""

# Shapes: N texts, V words, K topics


class Topics(Config):
    """How topics are found."""

    count: Annotated[int, Field(ge=2, le=100)] = 16
    texts: PositiveInt = 4000
    """Of each side, at most: those of the smallest hashes."""
    words: PositiveInt = 3000
    """That tell topics apart: the most frequent ones that are in at most half of the texts."""
    seed: int = 0
    shares: dict[str, float] = Field(default_factory=dict[str, float])
    """Wanted shares by a word of the topic's name; without any, those of the reference, or even ones."""


@dataclass(frozen=True)
class Topic:
    """A topic, and how much of it there is."""

    words: tuple[str, ...]
    """That are most its own, the heaviest first."""
    made: int
    reference: int
    wanted: float
    """Share of the items."""
    to_make: int
    """Items, so that none has to be thrown away."""


def topics_of(made: Sequence[str], reference: Sequence[str], config: Topics, *, items: int) -> list[Topic]:
    """The topics of texts, those that lack most first; `items` is how many items `made` was drawn from."""
    bags = [Counter(_WORD.findall(text.lower())) for text in (*made, *reference)]
    words, vectors_NV = _vectors(bags, config)
    if not words:
        return []
    nearest_N, centres_KV = _clusters(vectors_NV, config)
    mine = np.bincount(nearest_N[: len(made)], minlength=len(centres_KV))
    theirs = np.bincount(nearest_N[len(made) :], minlength=len(centres_KV))
    names = [tuple(words[at] for at in np.argsort(-centre_V, kind="stable")[:5]) for centre_V in centres_KV]
    wanted = _wanted(names, theirs, config)
    had = mine * (items / max(1, len(made)))
    total = max((count / share for count, share in zip(had, wanted, strict=True) if share > 0), default=0.0)
    found = [
        Topic(name, int(count), int(other), float(share), math.ceil(max(0.0, total * share - has) - 1e-9))
        for name, count, other, share, has in zip(names, mine, theirs, wanted, had, strict=True)
        if count or other
    ]
    return sorted(found, key=lambda topic: (-topic.to_make, topic.words))


def _vectors(bags: Sequence[Counter[str]], config: Topics) -> tuple[list[str], np.ndarray]:
    """The words that tell topics apart, and each text as a direction in their space."""
    seen = Counter(word for bag in bags for word in bag)
    fitting = [(word, count) for word, count in seen.items() if 2 <= count <= max(2, len(bags) / 2)]
    words = [word for word, _ in sorted(fitting, key=lambda one: (-one[1], one[0]))[: config.words]]
    place = {word: at for at, word in enumerate(words)}
    vectors_NV = np.zeros((len(bags), len(words)), dtype=np.float32)
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            if word in place:
                rare = math.log(len(bags) / seen[word])
                vectors_NV[row, place[word]] = (1 + math.log(count)) * rare
    lengths_N = np.linalg.norm(vectors_NV, axis=1, keepdims=True)
    return words, vectors_NV / np.where(lengths_N > 0, lengths_N, 1)


def _clusters(vectors_NV: np.ndarray, config: Topics) -> tuple[np.ndarray, np.ndarray]:
    """Each text's topic, and the topics' centres: the best of several beginnings."""
    random = np.random.default_rng(config.seed)
    tried = [_settled(vectors_NV, _first_centres(vectors_NV, config.count, random)) for _ in range(_BEGINNINGS)]
    return max(tried, key=lambda one: float((vectors_NV * one[1][one[0]]).sum()))


def _settled(vectors_NV: np.ndarray, centres_KV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each text's topic, and the centres, when none moves any more."""
    nearest_N = np.zeros(len(vectors_NV), dtype=np.int64)
    for _ in range(_ROUNDS):
        before_N, nearest_N = nearest_N, np.argmax(vectors_NV @ centres_KV.T, axis=1)
        for topic in range(len(centres_KV)):
            total_V = vectors_NV[nearest_N == topic].sum(axis=0)
            if length := float(np.linalg.norm(total_V)):
                centres_KV[topic] = total_V / length
        if np.array_equal(before_N, nearest_N):
            break
    return nearest_N, centres_KV


def _first_centres(vectors_NV: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Texts far from each other: each is drawn by how little it is like those before it (k-means++)."""
    chosen = [int(random.integers(len(vectors_NV)))]
    while len(chosen) < min(count, len(vectors_NV)):
        far_N = 1 - np.max(vectors_NV @ vectors_NV[chosen].T, axis=1)
        weights_N = np.clip(far_N, 0, None) ** 2
        if not weights_N.sum() > 1e-9:
            break
        chosen.append(int(random.choice(len(vectors_NV), p=weights_N / weights_N.sum())))
    return vectors_NV[chosen].copy()


def _wanted(names: Sequence[tuple[str, ...]], theirs: np.ndarray, config: Topics) -> list[float]:
    """The share that each topic should have: named ones as the config says, the others as in the reference, or evenly."""
    rest = theirs if theirs.sum() else np.ones(len(names))
    named = {at: share for at, name in enumerate(names) for word, share in config.shares.items() if word in name}
    left = max(0.0, 1 - sum(named.values()))
    others = sum(float(rest[at]) for at in range(len(names)) if at not in named)
    shares = [named.get(at, float(rest[at]) / others * left if others else 0.0) for at in range(len(names))]
    return [share / sum(shares) for share in shares]
