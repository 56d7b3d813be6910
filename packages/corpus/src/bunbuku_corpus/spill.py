"""Rows on their way from one step to the next, sorted into buckets that lie on disk.

What a bucket holds fits in memory, since the number of buckets is chosen by the number of rows: so memory does not grow
with the corpus. Rows are appended to a file a bucket, through a buffer that is written out when all of them together
have become large.
"""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

_BUFFER_BYTES = 32 << 20


@dataclass(frozen=True)
class Rows:
    """The rows of one bucket, read when called."""

    folder: Path

    def __call__(self) -> pa.RecordBatch:
        tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in sorted(self.folder.iterdir())]
        return one_batch(pa.concat_tables(tables))


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """All rows of the table in one batch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


class Spill(AbstractContextManager["Spill"]):
    """Rows by bucket, in a folder that is there as long as this is."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        self._waiting: defaultdict[int, list[pa.RecordBatch]] = defaultdict(list)
        self._bytes = 0
        self._writings = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Send each row to its bucket."""
        if not batch.num_rows:
            return
        keys = batch[self._key].to_numpy()
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        edges = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] + 1))
        moved = batch.take(pa.array(order))
        for begin, end in zip(edges.tolist(), [*edges[1:].tolist(), len(keys)], strict=True):
            self._waiting[int(ordered[begin])].append(moved.slice(begin, end - begin))
        self._bytes += batch.nbytes
        if self._bytes >= _BUFFER_BYTES:
            self._write()

    def buckets(self) -> Sequence[Rows]:
        """The buckets that have rows, in their order."""
        self._write()
        folders = sorted(self._folder.iterdir(), key=lambda path: int(path.name)) if self._folder.exists() else []
        return [Rows(folder) for folder in folders]

    def _write(self) -> None:
        for bucket, batches in self._waiting.items():
            folder = self._folder / str(bucket)
            folder.mkdir(parents=True, exist_ok=True)
            table = pa.Table.from_batches(batches)
            with pa.ipc.new_file(folder / f"{self._writings:06d}.arrow", table.schema) as file:
                file.write_table(table.combine_chunks())
        self._writings += 1
        self._waiting.clear()
        self._bytes = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
