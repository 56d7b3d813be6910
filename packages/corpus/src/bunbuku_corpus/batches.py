"""A corpus as Arrow record batches: what stages read and write that look at columns and not at single documents.

A batch is bounded in rows and characters, so that memory stays flat whatever a shard holds. Columns that a stage does not
know are carried along.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft

from bunbuku_corpus.arrow import batches_of, compute
from bunbuku_corpus.document import ROW_GROUP_CHARS, ROW_GROUP_DOCUMENTS

BATCH_ROWS = 500
BATCH_CHARS = 250_000
"""Arrays of this many numbers stay in a processor's cache."""


@contextmanager
def open_shard(path: Path, columns: Sequence[str] = ()) -> Generator[pq.ParquetFile]:
    """A shard that has these columns.

    Raises:
        BunbukuError: It is empty, damaged or cut off, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as shard:
            names = shard.schema_arrow.names
            for column in columns:
                if column not in names:
                    raise BunbukuError(
                        f"{path} has no column {column!r}; it has {', '.join(map(repr, names))}",
                        hint="is it the corpus that this stage reads? Its page says what each needs",
                    )
            yield shard
    except (pa.ArrowException, OSError) as error:
        reason = "it is empty" if path.is_file() and not path.stat().st_size else str(error).split("\n")[0]
        raise BunbukuError(
            f"{path} does not read as Parquet: {reason}", hint=f"bunbuku verify {path.parent}; then make it anew"
        ) from error


def read_batches(
    corpus: Artifact[Corpus], columns: Sequence[str] | None = None, *, needed: Sequence[str] = ("id", "text")
) -> Iterator[pa.RecordBatch]:
    """The rows of the artifact's part in their order, some at a time: all columns or those named."""
    for file in corpus.files():
        with open_shard(corpus.path(file), needed) as shard:
            for batch in batches_of(shard, BATCH_ROWS, columns):
                yield from bounded(batch)


def bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in slices of so many rows and characters that arrays stay small; one row may be longer."""
    for start in range(0, batch.num_rows or 1, BATCH_ROWS):
        yield from _of_few_characters(batch.slice(start, BATCH_ROWS))


def _of_few_characters(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if "text" not in batch.schema.names or batch.num_rows == 0:
        yield batch
        return
    sizes: list[int | None] = compute.utf8_length(batch.column("text")).to_pylist()
    start = chars = 0
    for row, size in enumerate(sizes):
        if chars and chars + (size or 0) > BATCH_CHARS:
            yield batch.slice(start, row - start)
            start, chars = row, 0
        chars += size or 0
    yield batch.slice(start)


def with_columns(
    batch: pa.RecordBatch, given: Mapping[str, pa.Array], *, without: Sequence[str] = ()
) -> pa.RecordBatch:
    """The batch with these columns in place of those of their names, or behind all others, and without some.

    Columns that were there stay as nullable as they were; new ones are nullable.
    """
    columns: dict[str, pa.Array] = {name: batch.column(name) for name in batch.schema.names if name not in without}
    columns |= given
    there = set(batch.schema.names) - set(without)
    fields = [
        pa.field(name, column.type, nullable=name not in there or batch.schema.field(name).nullable)
        for name, column in columns.items()
    ]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))


class BatchWriter(AbstractContextManager["BatchWriter"]):
    """Writes one part of a corpus from batches, as `part-00000.parquet` and so on, with their schema's metadata.

    The part `data` lies at the top, every other one in a folder of its name. No shard is written for no rows.
    """

    def __init__(self, draft: Draft, part: str = "data", *, rows_per_shard: int) -> None:
        self.part = part
        self.documents = 0
        self._draft = draft
        self._folder = draft.dir if part == "data" else draft.dir / part
        self._rows_per_shard = rows_per_shard
        self._waiting: list[pa.RecordBatch] = []
        self._rows_waiting = self._bytes_waiting = self._rows_in_shard = self._shards = 0
        self._shard: pq.ParquetWriter | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Write the batch's rows."""
        self.documents += batch.num_rows
        while batch.num_rows:
            room = self._rows_per_shard - self._rows_in_shard - self._rows_waiting
            head, batch = batch.slice(0, room), batch.slice(room)
            self._waiting.append(head)
            self._rows_waiting += head.num_rows
            self._bytes_waiting += head.nbytes
            full = self._rows_waiting + self._rows_in_shard >= self._rows_per_shard
            if full or self._rows_waiting >= ROW_GROUP_DOCUMENTS or self._bytes_waiting >= 3 * ROW_GROUP_CHARS:
                self._flush()
            if full:
                self._finish_shard()

    def close(self) -> None:
        """Write what waits, and end the last shard."""
        self._flush()
        self._finish_shard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is None:
            self.close()
        elif self._shard is not None:
            self._shard.close()

    @property
    def _path(self) -> Path:
        return self._folder / f"part-{self._shards:05d}.parquet"

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.Table.from_batches(self._waiting).combine_chunks()
        if self._shard is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._shard = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._shard.write_table(table)
        self._rows_in_shard += table.num_rows
        self._waiting.clear()
        self._rows_waiting = self._bytes_waiting = 0

    def _finish_shard(self) -> None:
        if self._shard is None:
            return
        self._shard.close()
        self._draft.count(self._path, rows=self._rows_in_shard, part=self.part)
        self._shard = None
        self._shards += 1
        self._rows_in_shard = 0
