"""Judging documents: every filter looks at every document, then the first that objects decides.

That each filter judges each document, and not only those that came past the ones before it, is what lets a report say
how much it would remove alone. A batch of documents is judged by a pure function, in this process or in a pool of them;
the order of the results is that of the documents either way.
"""

import hashlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import batched
from multiprocessing.connection import wait
from typing import NamedTuple

from bunbuku_corpus.document import UNDETERMINED, Document
from bunbuku_corpus.filters import AnyFilter
from bunbuku_corpus.language import identify
from bunbuku_corpus.normalization import Changes, Normalization, normalize

BATCH_DOCUMENTS = 200


class Judged(NamedTuple):
    """A document as it was judged."""

    document: Document
    """Normalized, its language identified if need be."""
    objections: tuple[int, ...]
    """Indices of the filters that reject it, in their order: it is kept if there are none."""


class Judgement(NamedTuple):
    """What came of one batch."""

    judged: tuple[Judged, ...]
    changes: Changes


@dataclass(frozen=True)
class Judge:
    """What is done to each document, as a value that can be sent to another process."""

    normalization: Normalization
    filters: tuple[AnyFilter, ...]
    identify_unknown: bool

    def __call__(self, documents: Sequence[Document]) -> Judgement:
        changes = Changes()
        return Judgement(tuple(self._one(document, changes) for document in documents), changes)

    def _one(self, document: Document, changes: Changes) -> Judged:
        text = normalize(document.text, self.normalization, changes)
        unknown = self.identify_unknown and document.language == UNDETERMINED
        document = replace(document, text=text, language=identify(text) if unknown else document.language)
        return Judged(document, tuple(i for i, judge in enumerate(self.filters) if judge.rejects(document)))


def judgements(documents: Iterable[Document], judge: Judge, *, workers: int) -> Iterator[Judgement]:
    """Judge documents batch by batch, in their order, whatever the number of worker processes."""
    batches = batched(documents, BATCH_DOCUMENTS)
    if workers == 1:
        yield from map(judge, batches)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        yield from _in_order(pool, judge, batches, ahead=3 * workers)


def _in_order[T, R](
    pool: ProcessPoolExecutor, work: Callable[[T], R], items: Iterable[T], *, ahead: int
) -> Iterator[R]:
    """Results in the items' order, with at most `ahead` items handed out: memory stays bounded."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _end_with_parent() -> None:
    """A killed parent would leave its workers waiting for ever: end when it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass
class Count:
    """Documents and their characters."""

    documents: int = 0
    characters: int = 0

    def add(self, document: Document) -> None:
        self.documents += 1
        self.characters += len(document.text)


class Sample(NamedTuple):
    """A glimpse of a document."""

    id: str
    text: str


@dataclass
class Samples:
    """A few documents, chosen by a hash of their ids: the same whatever the order, and no better than the rest."""

    size: int
    chars: int = 120
    _chosen: list[tuple[bytes, Sample]] = field(default_factory=list[tuple[bytes, Sample]])

    def add(self, document: Document) -> None:
        rank = hashlib.blake2b(document.id.encode(), digest_size=8).digest()
        if len(self._chosen) < self.size or (self._chosen and rank < self._chosen[-1][0]):
            self._chosen.append((rank, Sample(document.id, document.text[: self.chars])))
            self._chosen.sort()
            del self._chosen[self.size :]

    def __iter__(self) -> Iterator[Sample]:
        return (sample for _, sample in self._chosen)


@dataclass
class Verdicts:
    """A tally over all documents: what was seen and kept, and what each filter removed."""

    filters: tuple[AnyFilter, ...]
    samples: int
    seen: Count = field(default_factory=Count)
    kept: Count = field(default_factory=Count)
    sources: dict[str, tuple[Count, Count]] = field(default_factory=dict[str, tuple[Count, Count]])
    """Seen and kept, by source."""
    changes: Changes = field(default_factory=Changes)

    def __post_init__(self) -> None:
        self.alone = [Count() for _ in self.filters]
        """Documents a filter rejects, whether or not another does."""
        self.in_sequence = [Count() for _ in self.filters]
        """Documents a filter is the first to reject."""
        self.examples = [Samples(self.samples) for _ in self.filters]

    def add(self, judged: Judged) -> str | None:
        """Count a document; the name of the filter that drops it, if one does."""
        document, objections = judged
        seen, kept = self.sources.setdefault(document.source, (Count(), Count()))
        self.seen.add(document)
        seen.add(document)
        for index in objections:
            self.alone[index].add(document)
            self.examples[index].add(document)
        if objections:
            self.in_sequence[objections[0]].add(document)
            return self.filters[objections[0]].name
        self.kept.add(document)
        kept.add(document)
        return None
