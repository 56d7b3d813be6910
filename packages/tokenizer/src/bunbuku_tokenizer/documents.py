"""Documents of a corpus, streamed from its Parquet shards: never more than a batch of rows in memory."""

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, Corpus, File

_BATCH_ROWS = 1024


class Document(NamedTuple):
    """What a tokenizer needs to know of a document."""

    id: str
    text: str
    language: str
    source: str = ""


def read_documents(corpus: Artifact[Corpus], part: str | None = None) -> Iterator[Document]:
    """Every document of `part`, else of the part that `corpus` is named with."""
    for file in corpus.files(part):
        with pq.ParquetFile(corpus.path(file)) as shard:
            for batch in shard.iter_batches(_BATCH_ROWS, columns=list(Document._fields)):
                columns = (batch.column(name).to_pylist() for name in Document._fields)
                yield from map(Document, *columns)


def count_documents(corpus: Artifact[Corpus]) -> int | None:
    """How many documents `read_documents` gives, if the manifest says it of every shard."""
    rows = [file.rows for file in corpus.files()]
    return None if None in rows else sum(row or 0 for row in rows)


def held_out_ids(corpus: Artifact[Corpus]) -> frozenset[str]:
    """Ids of the documents in `corpus`'s validation and test parts, unless it is named with one of these itself."""
    here = corpus.part or "data"
    others = [file for file in corpus.manifest.files if file.part in {"validation", "test"} - {here}]
    return frozenset(id for file in others for id in _ids(corpus, file))


def _ids(corpus: Artifact[Corpus], file: File) -> Iterator[str]:
    with pq.ParquetFile(corpus.path(file)) as shard:
        for batch in shard.iter_batches(_BATCH_ROWS, columns=["id"]):
            yield from batch.column("id").to_pylist()
