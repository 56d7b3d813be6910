"""Columns that a corpus has beyond those of a document: what earlier stages said about it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Corpus

from bunbuku_corpus.arrow import batches_of
from bunbuku_corpus.document import COLUMNS, ROW_GROUP_DOCUMENTS, Document


class Described(NamedTuple):
    """A document with what a column says of it, `None` where the corpus has no such column or says nothing."""

    document: Document
    value: str | None


def columns_of(corpus: Artifact[Corpus]) -> tuple[str, ...]:
    """The columns that every file of the corpus, or of the part that was named, has."""
    names = [pq.read_schema(corpus.path(file)).names for file in corpus.files()]
    return tuple(name for name in names[0] if all(name in some for some in names)) if names else ()


def read_described(corpus: Artifact[Corpus], column: str, *, needed: bool = False) -> Iterator[Described]:
    """The documents with their values of one column.

    Raises:
        BunbukuError: It is needed and not there.
    """
    there = columns_of(corpus)
    if needed and column not in there:
        raise BunbukuError(f"{corpus.dir} has no column {column!r}; it has {', '.join(there)}", hint="name one of them")
    columns = (*COLUMNS, column) if column in there and column not in COLUMNS else COLUMNS
    for row in _rows(corpus, columns):
        value = row.get(column)
        yield Described(Document(**{name: row[name] for name in COLUMNS}), None if value is None else str(value))


def _rows(corpus: Artifact[Corpus], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for file in corpus.files():
        with pq.ParquetFile(corpus.path(file)) as shard:
            for batch in batches_of(shard, ROW_GROUP_DOCUMENTS, columns):
                yield from batch.to_pylist()
