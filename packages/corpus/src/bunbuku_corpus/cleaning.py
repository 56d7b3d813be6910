"""Judging documents: every filter looks at every document, then the first that objects decides.

That each filter judges each document, and not only those that came past the ones before it, is what lets a report say
how much it would remove alone. A batch of documents is judged by a pure function, wherever there is a free worker.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from bunbuku_corpus.annotations import LEFTOVERS, columns_of, documents_of, values_beside, values_of
from bunbuku_corpus.batches import with_columns
from bunbuku_corpus.document import Document
from bunbuku_corpus.filters import AnyFilter, Values
from bunbuku_corpus.normalization import Changes
from bunbuku_corpus.passes import REASON
from bunbuku_corpus.policy import measured, measures_of, objections
from bunbuku_corpus.preparation import Preparation
from bunbuku_corpus.texts import Texts


class Judged(NamedTuple):
    """A document as it was judged."""

    document: Document
    """Prepared: normalized, edited, its language identified if need be."""
    objections: tuple[int, ...]
    """Indices of the filters that reject it, in their order: it is kept if there are none."""


class Judgement(NamedTuple):
    """What came of one batch."""

    judged: tuple[Judged, ...]
    changes: Changes


@dataclass(frozen=True)
class Judge:
    """What is done to a batch of documents, as a value that can be sent to another process."""

    preparation: Preparation
    filters: tuple[AnyFilter, ...]

    def __call__(self, documents: Sequence[Document], beside: Mapping[str, Values] | None = None) -> Judgement:
        """What comes of the documents; `beside` has what filters judge by that is no property of a text."""
        beside = beside or {}
        changes = Changes()
        prepared = [self.preparation.prepare(document, changes) for document in documents]
        texts = Texts([one.text for one in prepared], [one.url for one in prepared])
        measures = {name: one for name, one in measures_of(self.filters).items() if name not in beside}
        values = {**measured(texts, measures), **beside}
        rejected = objections(self.filters, values, [one.language for one in prepared])
        objecting = (tuple(column.nonzero()[0].tolist()) for column in rejected.T)
        return Judgement(tuple(map(Judged, prepared, objecting)), changes)


@dataclass
class Count:
    """Documents and their characters."""

    documents: int = 0
    characters: int = 0

    def add(self, document: Document) -> None:
        self.documents += 1
        self.characters += len(document.text)

    def merge(self, other: "Count") -> None:
        self.documents += other.documents
        self.characters += other.characters


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

    def merge(self, other: "Samples") -> None:
        """Choose among those that `other` chose, too."""
        self._chosen = sorted([*self._chosen, *other._chosen])[: self.size]

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
    languages: set[str] = field(default_factory=set[str])
    """Of the documents that are kept."""
    changes: Changes = field(default_factory=Changes)

    def __post_init__(self) -> None:
        self.alone = [Count() for _ in self.filters]
        """Documents a filter rejects, whether or not another does."""
        self.in_sequence = [Count() for _ in self.filters]
        """Documents a filter is the first to reject."""
        self.examples = [Samples(self.samples) for _ in self.filters]

    def count(self, judged: Judged) -> str | None:
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
        self.languages.add(document.language)
        return None

    def add(self, other: "Verdicts") -> None:
        """Count what `other` counted, too."""
        self.seen.merge(other.seen)
        self.kept.merge(other.kept)
        for source, counts in other.sources.items():
            for mine, others in zip(self.sources.setdefault(source, (Count(), Count())), counts, strict=True):
                mine.merge(others)
        for mine, others in ((self.alone, other.alone), (self.in_sequence, other.in_sequence)):
            for one, another in zip(mine, others, strict=True):
                one.merge(another)
        for one, another in zip(self.examples, other.examples, strict=True):
            one.merge(another)
        self.languages |= other.languages
        self.changes.add(other.changes)


@dataclass(frozen=True)
class Clean:
    """Prepares and judges batches of documents: the reason why each goes is a column; null for those that stay."""

    preparation: Preparation
    filters: tuple[AnyFilter, ...]
    samples: int

    def __call__(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Verdicts]:
        judgement = Judge(self.preparation, self.filters)(documents_of(batch), values_beside(batch, self.filters))
        verdicts = Verdicts(self.filters, self.samples, changes=judgement.changes)
        reasons = [verdicts.count(one) for one in judgement.judged]
        columns = columns_of([one.document for one in judgement.judged]) | {REASON: pa.array(reasons, pa.string())}
        return with_columns(batch, columns, without=LEFTOVERS), verdicts


@dataclass(frozen=True)
class Decide:
    """Judges batches of annotated documents by what was measured."""

    filters: tuple[AnyFilter, ...]
    samples: int

    def __call__(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Verdicts]:
        documents = documents_of(batch)
        rejected = objections(self.filters, values_of(batch, self.filters), [one.language for one in documents])
        verdicts = Verdicts(self.filters, self.samples)
        reasons = [
            verdicts.count(Judged(document, tuple(column.nonzero()[0].tolist())))
            for document, column in zip(documents, rejected.T, strict=True)
        ]
        judged = with_columns(batch, {REASON: pa.array(reasons, pa.string())}, without=(REASON,))
        return judged.replace_schema_metadata(batch.schema.metadata), verdicts
