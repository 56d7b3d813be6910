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
    prompts: int
    """Of evaluations: which topics there are is none of their doing."""
    wanted: float
    """Share of the items."""
    to_make: int
    """Items, so that none has to be thrown away."""


@dataclass(frozen=True)
class Space:
    """The words that tell topics apart, how rare they are, and the topics' centres among them."""

    words: tuple[str, ...]
    rarity_V: np.ndarray
    centres_KV: np.ndarray

    def directions(self, texts: Sequence[str]) -> np.ndarray:
        """Each text as a direction; zeros for one that has none of the words."""
        return _directions([_bag(text) for text in texts], self.words, self.rarity_V)

    def nearest(self, vectors_NV: np.ndarray) -> np.ndarray:
        """The topic of each direction, of which none is zero."""
        return np.argmax(vectors_NV @ self.centres_KV.T, axis=1)

    @property
    def names(self) -> list[tuple[str, ...]]:
        """Of every topic, the words that are most its own, the heaviest first."""
        return [tuple(self.words[at] for at in np.argsort(-one_V, kind="stable")[:5]) for one_V in self.centres_KV]


def space_of(texts: Sequence[str], config: Topics) -> Space | None:
    """The topics of texts; `None` if no word tells any two apart."""
    bags = [_bag(text) for text in texts]
    seen = Counter(word for bag in bags for word in bag)
    fitting = [(word, count) for word, count in seen.items() if 2 <= count <= max(2, len(bags) / 2)]
    words = tuple(word for word, _ in sorted(fitting, key=lambda one: (-one[1], one[0]))[: config.words])
    if not words:
        return None
    rarity_V = np.array([math.log(len(bags) / seen[word]) for word in words])
    return Space(words, rarity_V, _clusters(_directions(bags, words, rarity_V), config))


def topics_of(
    space: Space, made_NV: np.ndarray, reference_NV: np.ndarray, prompts_NV: np.ndarray, config: Topics, *, items: int
) -> list[Topic]:
    """How much there is of every topic, those that lack most first; `items` is how many items `made_NV` was drawn from."""
    mine, theirs, asked = (
        np.bincount(space.nearest(spoken(some_NV)), minlength=len(space.centres_KV))
        for some_NV in (made_NV, reference_NV, prompts_NV)
    )
    wanted = _wanted(space.names, theirs, config)
    had = mine * (items / max(1, len(made_NV)))
    total = max((count / share for count, share in zip(had, wanted, strict=True) if share > 0), default=0.0)
    found = [
        Topic(name, int(count), int(other), int(exam), share, math.ceil(max(0.0, total * share - has) - 1e-9))
        for name, count, other, exam, share, has in zip(space.names, mine, theirs, asked, wanted, had, strict=True)
        if count or other or exam
    ]
    return sorted(found, key=lambda topic: (-topic.to_make, topic.words))


def spoken(vectors_NV: np.ndarray) -> np.ndarray:
    """Those texts that have any of the words; the others are about no topic."""
    return vectors_NV[vectors_NV.any(axis=1)]


def _bag(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.lower()))


def _directions(bags: Sequence[Counter[str]], words: Sequence[str], rarity_V: np.ndarray) -> np.ndarray:
    place = {word: at for at, word in enumerate(words)}
    vectors_NV = np.zeros((len(bags), len(words)), dtype=np.float32)
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            if (at := place.get(word)) is not None:
                vectors_NV[row, at] = (1 + math.log(count)) * rarity_V[at]
    lengths_N = np.linalg.norm(vectors_NV, axis=1, keepdims=True)
    return vectors_NV / np.where(lengths_N > 0, lengths_N, 1)


def _clusters(vectors_NV: np.ndarray, config: Topics) -> np.ndarray:
    """The topics' centres: of several beginnings those that the texts are nearest to."""
    random = np.random.default_rng(config.seed)
    tried = [_settled(vectors_NV, _first_centres(vectors_NV, config.count, random)) for _ in range(_BEGINNINGS)]
    return max(tried, key=lambda one: float((vectors_NV * one[1][one[0]]).sum()))[1]


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
