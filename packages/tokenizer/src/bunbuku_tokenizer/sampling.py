"""A sample of a stream that depends on the seed and on what is in the stream, and on nothing else.

Every document gets a key, the hash of seed and id; a language's sample is its documents with the smallest keys, as many
as fill the budget. So neither the order nor the sharding of a corpus matters, and a document that is added to it later
displaces few others. What is held in memory is the sample.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from bunbuku_tokenizer.documents import Document


class Drawn(NamedTuple):
    """What one language contributes."""

    texts: tuple[str, ...]
    """In the order of their keys, the last one cut to fit."""
    seen_documents: int
    seen_chars: int

    @property
    def chars(self) -> int:
        return sum(map(len, self.texts))


@dataclass
class Reservoir:
    """The documents with the smallest keys, just as many as reach `max_chars`."""

    max_chars: int
    seed: int
    _kept: list[tuple[int, str, str]] = field(default_factory=list)
    """A heap of (minus the key, id, text): the largest key on top."""
    _kept_chars: int = 0
    _seen_documents: int = 0
    _seen_chars: int = 0

    def offer(self, document: Document) -> None:
        self._seen_documents += 1
        self._seen_chars += len(document.text)
        entry = (-key_of(document.id, self.seed), document.id, document.text)
        if self._kept_chars >= self.max_chars and (not self._kept or entry < self._kept[0]):
            return
        heapq.heappush(self._kept, entry)
        self._kept_chars += len(document.text)
        while self._kept and self._kept_chars - len(self._kept[0][2]) >= self.max_chars:
            self._kept_chars -= len(heapq.heappop(self._kept)[2])

    def drawn(self) -> Drawn:
        texts = [text for _, _, text in sorted(self._kept, reverse=True)]
        surplus = self._kept_chars - self.max_chars
        if texts and surplus > 0:
            texts[-1] = texts[-1][: len(texts[-1]) - surplus]
        return Drawn(tuple(texts), self._seen_documents, self._seen_chars)


def draw(documents: Iterable[Document], *, max_chars: int, budgets: Mapping[str, int], seed: int) -> dict[str, Drawn]:
    """A sample of every language in `documents`, of at most `budgets[language]` characters, else `max_chars`.

    >>> cats = [Document("1", "吾輩は猫である", "ja"), Document("2", "I am a cat", "en")]
    >>> drawn = draw(cats, max_chars=100, budgets={"en": 4}, seed=0)
    >>> drawn["ja"].texts, drawn["en"].texts
    (('吾輩は猫である',), ('I am',))
    """
    reservoirs: dict[str, Reservoir] = {}
    for document in documents:
        language = document.language
        if language not in reservoirs:
            reservoirs[language] = Reservoir(budgets.get(language, max_chars), seed)
        reservoirs[language].offer(document)
    return {language: reservoirs[language].drawn() for language in sorted(reservoirs)}


def key_of(id: str, seed: int) -> int:
    """Where a document stands in the draw."""
    digest = blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8, salt=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")
