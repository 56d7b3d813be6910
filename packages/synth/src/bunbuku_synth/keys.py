"""Keys: what names an item, and where its chance comes from.

An item's key is a hash of everything that was asked for it. Its id and its seed are parts of that key, and every choice
made for it (which distractor, which place) is a hash of the seed. So an item depends neither on its neighbours nor on
the order of anything, and a run that was killed makes the same items when it goes on.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from bunbuku_contracts.digest import hash_json


@dataclass(frozen=True, slots=True)
class Key:
    """What names one item."""

    digest: str

    @property
    def id(self) -> str:
        """The first half of the digest, in hexadecimal: 128 bits."""
        return self.digest[:32]

    @property
    def seed(self) -> int:
        """The first eight bytes of the digest without the sign bit, so that it is an int64."""
        return int(self.digest[:16], 16) >> 1


def key_of(**asked: object) -> Key:
    """The key of what was asked: task, source and span, template, teacher, sampling, seed.

    >>> key_of(task="cloze", seed=1) == key_of(seed=1, task="cloze")
    True
    """
    return Key(hash_json(asked))


def pick(seed: int, label: str, count: int) -> int:
    """A number below `count`, drawn for `label`: the same for the same seed, everywhere and always.

    >>> pick(7, "place", 4) == pick(7, "place", 4)
    True
    """
    if count < 1:
        raise ValueError(f"nothing to pick from for {label!r}")
    return int.from_bytes(sha256(f"{seed}\n{label}".encode()).digest()[:8]) % count


def shuffled[T](items: Sequence[T], seed: int, label: str) -> list[T]:
    """The items in an order drawn for `label`.

    >>> sorted(shuffled(["ア", "イ", "ウ"], 7, "choices"))
    ['ア', 'イ', 'ウ']
    """
    order = sorted(range(len(items)), key=lambda index: sha256(f"{seed}\n{label}\n{index}".encode()).digest())
    return [items[index] for index in order]


class Drawing[T]:
    """A draw without replacement from candidates that come one by one.

    Those of the smallest hashes are kept. So a draw depends on what the candidates are and never on their order, a draw
    of fewer is the beginning of a draw of more, and memory holds no more than are drawn.
    """

    def __init__(self, count: int, *, label: str, seed: int, fits: Callable[[T], bool] | None = None) -> None:
        self._count = count
        self._salt = f"{label}\n{seed}\n"
        self._fits = fits
        self._kept: list[tuple[int, str, T]] = []

    def offer(self, candidate: T, *, name: str) -> None:
        """Take part in the draw. Whether it fits is only asked of a candidate that would be kept."""
        entry = (-int.from_bytes(sha256((self._salt + name).encode()).digest()[:16]), name, candidate)
        if self._count == 0 or (len(self._kept) == self._count and entry[:2] <= self._kept[0][:2]):
            return
        if self._fits and not self._fits(candidate):
            return
        if len(self._kept) < self._count:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heapreplace(self._kept, entry)

    @property
    def drawn(self) -> list[T]:
        """What was drawn, in the order of the draw."""
        return [candidate for _, _, candidate in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)]


def draw[T](candidates: Iterable[T], count: int, *, name: Callable[[T], str], label: str, seed: int) -> list[T]:
    """`count` of the candidates, drawn without replacement; all of them if there are fewer.

    >>> draw("いろはに", 2, name=str, label="kana", seed=1) == draw("にはろい", 2, name=str, label="kana", seed=1)
    True
    """
    drawing = Drawing[T](count, label=label, seed=seed)
    for candidate in candidates:
        drawing.offer(candidate, name=name(candidate))
    return drawing.drawn
