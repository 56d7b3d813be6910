"""The documents a measurement is made on: a bounded, stable choice from a corpus.

A document is chosen by the hash of its id and a seed. So the choice does not depend on shards or their order, and
documents added to the corpus replace only as many as they must.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Config, Corpus
from pydantic import NonNegativeInt, PositiveInt


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    text: str
    language: str
    source: str

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the text.

        >>> Document("1", "分福茶釜", "ja", "例").bytes
        12
        """
        return len(self.text.encode())


class Sample(Config):
    """Which documents: the `documents` whose hashed ids come first."""

    documents: PositiveInt = 1000
    """At most so many; all of them where there are fewer."""
    seed: NonNegativeInt = 0
    """Another seed is another choice."""

    def choose(self, documents: Iterable[Document]) -> tuple[Document, ...]:
        """The chosen documents with any text in them, in the order of their hashes."""
        spoken = (document for document in documents if document.text)
        return tuple(heapq.nsmallest(self.documents, spoken, key=self._rank))

    def of(self, corpus: Artifact[Corpus]) -> tuple[Document, ...]:
        """The chosen documents of a corpus, or of the part of it that was named."""
        chosen = self.choose(read_documents(corpus))
        if not chosen:
            raise BunbukuError(
                f"{corpus.dir} has no document with text in part {corpus.part or 'data'!r}",
                hint="name a part that has some, such as DIR#validation",
            )
        return chosen

    def _rank(self, document: Document) -> bytes:
        return hashlib.sha256(f"{self.seed}\0{document.id}".encode()).digest()


def read_documents(corpus: Artifact[Corpus]) -> Iterator[Document]:
    """The documents of a corpus part, as its files list them."""
    for file in corpus.files():
        for batch in pq.ParquetFile(corpus.path(file)).iter_batches(columns=["id", "text", "language", "source"]):
            for row in batch.to_pylist():
                yield Document(row["id"], row["text"], row["language"], row["source"])
