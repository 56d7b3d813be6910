"""A random sample that is the same for any order of documents: those whose hashed ids come first."""

import hashlib
import heapq
from collections.abc import Iterable

from bunbuku_corpus.document import Document


def rank(id: str, seed: int) -> int:
    """The document's place among all others."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\n{id}".encode(), digest_size=8).digest())


def sample(documents: Iterable[Document], count: int, *, seed: int) -> list[Document]:
    """At most so many of the documents, each as likely as any other, in the order of their ranks.

    >>> some = [Document(str(n), "", "", None, "", "ja") for n in range(9)]
    >>> [one.id for one in sample(some, 3, seed=1)] == [one.id for one in sample(reversed(some), 3, seed=1)]
    True
    """
    return heapq.nsmallest(count, documents, key=lambda document: rank(document.id, seed))
