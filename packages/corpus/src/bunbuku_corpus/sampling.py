"""A random sample that is the same for any order of documents: those whose hashed ids come first."""

import hashlib
import heapq
from collections.abc import Iterable
from typing import Protocol


class Named(Protocol):
    """Whatever a document's id is kept with."""

    @property
    def id(self) -> str:
        """The document's id."""
        ...


def rank(id: str, seed: int) -> int:
    """The document's place among all others."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\n{id}".encode(), digest_size=8).digest())


def sample[T: Named](documents: Iterable[T], count: int, *, seed: int) -> list[T]:
    """At most so many of the documents, each as likely as any other, in the order of their ranks.

    >>> from bunbuku_corpus.document import Document
    >>> some = [Document(str(n), "", "", None, "", "ja") for n in range(9)]
    >>> [one.id for one in sample(some, 3, seed=1)] == [one.id for one in sample(reversed(some), 3, seed=1)]
    True
    """
    return heapq.nsmallest(count, documents, key=lambda document: rank(document.id, seed))
