"""The document, and its Parquet edge: everything between reading and writing is plain iterators.

A corpus is Parquet shards of documents, in an order that is part of what it says. Shards are written a row group at a
time and read the same way, so that no stage holds more than a few megabytes of text however large the corpus is.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, Corpus, Draft

from bunbuku_corpus.arrow import batches_of

ROW_GROUP_DOCUMENTS = 1000
ROW_GROUP_CHARS = 4_000_000
UNDETERMINED = "und"
"""The language of a document about which nobody has said anything (ISO 639-2)."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from."""

    id: str
    text: str
    source: str
    """Collection it belongs to, such as `tatoeba`."""
    url: str | None
    licence: str
    language: str
    """ISO 639-1 where there is one; `und` if nobody said; whatever the source says for code and the like."""


class Placed(NamedTuple):
    """A document from outside, the part of the corpus it is for, and the place it was read from."""

    part: Literal["data", "parallel", "failed"]
    place: str
    document: Document
    reason: str | None = None
    """Why it failed."""


COLUMNS = tuple(field.name for field in fields(Document))


def schema(extra: Sequence[str] = ()) -> pa.Schema:
    """Columns of a shard: a document's, then `extra` ones, all strings."""
    return pa.schema(
        [pa.field(name, pa.string(), nullable=name == "url" or name in extra) for name in (*COLUMNS, *extra)]
    )


def read_documents(corpus: Artifact[Corpus], part: str | None = None) -> Iterator[Document]:
    """Documents of one part, in file order, then row order: the same on every machine."""
    for row in read_rows(corpus, part, COLUMNS):
        yield Document(**row)


def read_rows(corpus: Artifact[Corpus], part: str | None, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of one part as dicts, for columns beyond a document's."""
    for file in corpus.files(part):
        with pq.ParquetFile(corpus.path(file)) as shard:
            for batch in batches_of(shard, ROW_GROUP_DOCUMENTS, columns):
                yield from batch.to_pylist()


def count_documents(corpus: Artifact[Corpus], part: str | None = None) -> int | None:
    """How many documents a part has, if its manifest says so: for progress."""
    rows = [file.rows for file in corpus.files(part)]
    return None if None in rows else sum(row or 0 for row in rows)


class ShardWriter(AbstractContextManager["ShardWriter"]):
    """Writes one part of a corpus as `part-00000.parquet`, `part-00001.parquet` and so on.

    The part `data` lies at the top, every other one in a folder of its name. No shard is written for no documents.
    """

    def __init__(self, draft: Draft, part: str = "data", *, rows_per_shard: int, extra: Sequence[str] = ()) -> None:
        self.part = part
        self.documents = 0
        self.chars = 0
        self._draft = draft
        self._folder = draft.dir if part == "data" else draft.dir / part
        self._rows_per_shard = rows_per_shard
        self._schema = schema(extra)
        self._names = self._schema.names
        self._rows: list[tuple[str | None, ...]] = []
        self._chars_waiting = 0
        self._shard: pq.ParquetWriter | None = None
        self._shards = 0
        self._rows_in_shard = 0

    def add(self, document: Document, **extra: str | None) -> None:
        """Write a document, with a value for every extra column."""
        values = [getattr(document, name) if name in COLUMNS else extra[name] for name in self._names]
        self._rows.append(tuple(values))
        self.documents += 1
        self.chars += len(document.text)
        self._chars_waiting += len(document.text)
        full = self._rows_in_shard + len(self._rows) >= self._rows_per_shard
        if full or len(self._rows) >= ROW_GROUP_DOCUMENTS or self._chars_waiting >= ROW_GROUP_CHARS:
            self._flush()
        if full:
            self._finish_shard()

    def close(self) -> None:
        """Write what waits, and end the last shard."""
        self._flush()
        self._finish_shard()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is None:
            self.close()
        elif self._shard is not None:
            self._shard.close()

    def __enter__(self) -> Self:
        return self

    @property
    def _path(self) -> Path:
        return self._folder / f"part-{self._shards:05d}.parquet"

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._shard is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._shard = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        columns = [pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)]
        self._shard.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows_in_shard += len(self._rows)
        self._rows.clear()
        self._chars_waiting = 0

    def _finish_shard(self) -> None:
        if self._shard is None:
            return
        self._shard.close()
        self._draft.count(self._path, rows=self._rows_in_shard, part=self.part)
        self._shard = None
        self._shards += 1
        self._rows_in_shard = 0
