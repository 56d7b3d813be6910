"""Finding duplicates in a stream of documents that is read twice.

The first reading takes of every document a digest of its comparable text and the keys of its bands: some 300 bytes each,
all that is held in memory. The second goes through the same documents in the same order and says of each whether it stays.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import batched
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunbuku_corpus.document import Document
from bunbuku_corpus.minhash import Kept, NearDuplicates, band_keys, comparable, nominated

_BATCH = 256


class Duplicate(NamedTuple):
    """Why a document goes."""

    reason: Literal["exact_duplicate", "near_duplicate"]
    of: str
    """Id of the document that stays."""
    similarity: float


class Decision(NamedTuple):
    """A document, and why it goes if it does."""

    document: Document
    duplicate: Duplicate | None


@dataclass(frozen=True)
class Index:
    """What the first reading finds out."""

    first: dict[bytes, str]
    """Digest of a comparable text to the id of the first document that has it."""
    repeats: NDArray[np.bool_]
    """Which documents have the comparable text of an earlier one."""
    keys: NDArray[np.uint64]
    """Of the nominated documents, in order: their bands' keys."""
    nominated: NDArray[np.bool_]
    """Which documents share a band with another; those that repeat a text do not count."""


def index(documents: Iterable[Document], near: NearDuplicates | None) -> Index:
    """Read the documents for the first time. Without `near`, only equal texts are duplicates."""
    first: dict[bytes, str] = {}
    repeats: list[bool] = []
    keys: list[NDArray[np.uint64]] = [np.empty((0, near.bands if near else 1), np.uint64)]
    for batch in batched(documents, _BATCH):
        fresh: list[str] = []
        for document in batch:
            text = comparable(document.text)
            digest = _digest(text)
            repeats.append(digest in first)
            if digest not in first:
                first[digest] = document.id
                fresh.append(text)
        if near and fresh:
            keys.append(band_keys(fresh, near))
    all_keys = np.concatenate(keys)
    shared = nominated(all_keys)
    chosen = np.zeros(len(repeats), np.bool_)
    if near:
        chosen[~np.array(repeats, np.bool_)] = shared
    return Index(first, np.array(repeats, np.bool_), all_keys[shared], chosen)


def decide(documents: Iterable[Document], found: Index, near: NearDuplicates | None) -> Iterator[Decision]:
    """Read the documents for the second time: which stay, and why the others go."""
    kept = Kept(near) if near else None
    moved: dict[str, str] = {}
    keys = iter(found.keys.tolist())
    for document, repeats, candidate in zip(documents, found.repeats, found.nominated, strict=True):
        if repeats:
            holder = found.first[_digest(comparable(document.text))]
            # The first document of this text may itself have gone as a near-duplicate of another.
            yield Decision(document, Duplicate("exact_duplicate", moved.get(holder, holder), 1.0))
        elif candidate and kept and (hit := kept.nearest_before(document.id, comparable(document.text), next(keys))):
            moved[document.id] = hit.id
            yield Decision(document, Duplicate("near_duplicate", hit.id, hit.similarity))
        else:
            yield Decision(document, None)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
