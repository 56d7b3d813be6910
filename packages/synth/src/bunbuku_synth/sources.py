"""What items are made from: documents of a corpus part, and pairs of sentences that belong to them.

A `Library` reads both as streams, so that its size does not matter. Of the pairs it gives only those whose block is a
document of the given corpus part: a library over the training documents cannot give away a test sentence.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Corpus, Report

from bunbuku_synth.keys import pick
from bunbuku_synth.language import is_whole, sentences

Language = Literal["ja", "en"]


@dataclass(frozen=True, slots=True)
class Document:
    """A text of the corpus."""

    id: str
    text: str
    language: str
    licence: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence in Japanese and in English."""

    id: str
    ja: str
    en: str
    licence: str

    @property
    def block(self) -> str:
        """Id of the document that holds its Japanese sentence."""
        return self.id.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Passage:
    """Whole sentences of a document."""

    document: str
    start: int
    end: int
    text: str
    licence: str

    @property
    def source(self) -> str:
        """The document's id and the span of characters."""
        return f"{self.document}#{self.start}-{self.end}"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a model should know, and how many different texts of the corpus say it."""

    id: str
    subject: str
    relation: str
    object: str
    exposures: int


@dataclass(frozen=True)
class Library:
    """The documents and pairs that items may be made from."""

    corpus: Artifact[Corpus]
    parallel: Artifact[Corpus] | None = None
    coverage: Artifact[Report] | None = None
    """What `corpus coverage` found: which facts are said how often."""
    unfit: Counter[str] = field(default_factory=Counter[str], compare=False)
    """Documents in which a task found no passage, by task."""

    def facts(self) -> Iterator[Fact]:
        """The facts of the coverage audit.

        Raises:
            BunbukuError: There is no audit, or what was given is none.
        """
        if self.coverage is None:
            raise BunbukuError(
                "a task writes about facts that are said too rarely, and no audit of them was given",
                hint="give --coverage DIR, made by `bunbuku-corpus coverage`, or leave the task out",
            )
        path = self.coverage.dir / "facts.parquet"
        if not path.is_file():
            raise ArtifactError(f"{self.coverage.dir} has no facts.parquet", hint="give what `coverage` made")
        for row in pq.read_table(path, columns=["id", "subject", "relation", "object", "exposures"]).to_pylist():
            yield Fact(**row)

    def documents(self, language: Language | None = None) -> Iterator[Document]:
        """Every document, or those in one language."""
        for id, text, written, licence in _rows(self.corpus, "id", "text", "language", "licence"):
            if language is None or written == language:
                yield Document(id, text, written, licence)

    def passages(
        self,
        languages: Collection[str],
        *,
        task: str,
        min_chars: int,
        max_chars: int,
        max_sentences: int | None = None,
        seed: int,
    ) -> Iterator[tuple[Document, Passage]]:
        """A passage of every document that has one that fits; the others are counted under the task's name."""
        self.unfit[task] = 0
        for document in self.documents():
            if document.language not in languages:
                continue
            passage = passage_of(
                document, min_chars=min_chars, max_chars=max_chars, max_sentences=max_sentences, seed=seed
            )
            if passage:
                yield document, passage
            else:
                self.unfit[task] += 1

    def pairs(self) -> Iterator[Pair]:
        """Every pair whose block is a document of the corpus part.

        Raises:
            BunbukuError: There is no parallel part, or a row of it is not a pair.
        """
        if self.parallel is None:
            raise BunbukuError(
                "these tasks are made from pairs of sentences, and none were given",
                hint="give --parallel DIR#parallel, or leave the tasks out that need it",
            )
        for id, text, licence in _rows(self.parallel, "id", "text", "licence"):
            ja, newline, en = text.partition("\n")
            if not newline or "/" not in id:
                raise ArtifactError(
                    f"document {id!r} of {self.parallel.dir} is not a pair: expected an id 'block/sentence', two lines",
                    hint="name the part that holds pairs: --parallel DIR#parallel",
                )
            if id.rpartition("/")[0] in self._blocks:
                yield Pair(id, ja.strip(), en.strip(), licence)

    @cached_property
    def _blocks(self) -> frozenset[str]:
        return frozenset(id for (id,) in _rows(self.corpus, "id"))


def passage_of(
    document: Document, *, min_chars: int, max_chars: int, max_sentences: int | None = None, seed: int
) -> Passage | None:
    """Consecutive whole sentences of a document, between the two lengths; where they begin is drawn.

    The last is a statement, and quotations end where they began. `None` if no run of its sentences fits.
    """
    spans = sentences(document.text, document.language)
    fitting: list[tuple[int, int]] = []
    for first, (start, _) in enumerate(spans):
        last = len(spans) if max_sentences is None else first + max_sentences
        ends = [end for _, end in spans[first:last] if min_chars <= end - start <= max_chars]
        ends = [end for end in ends if document.text[end - 1] in ".。" and is_whole(document.text[start:end])]
        if ends:
            fitting.append((start, max(ends)))
    if not fitting:
        return None
    start, end = fitting[pick(seed, document.id, len(fitting))]
    return Passage(document.id, start, end, document.text[start:end], document.licence)


def _rows(corpus: Artifact[Corpus], *columns: str) -> Iterator[tuple[str, ...]]:
    for file in corpus.files():
        for batch in pq.ParquetFile(corpus.path(file)).iter_batches(columns=list(columns)):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
