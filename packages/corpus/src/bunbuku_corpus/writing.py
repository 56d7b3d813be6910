"""Writing row groups into shards, a part of a corpus each, wherever there is a free worker.

A shard of the output has the name of the shard it came from, and its rows in the same order: whoever has something beside
a corpus, an embedding a shard for example, finds it again.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Draft

from bunbuku_corpus.shards import RowGroup

DATA = "data"


@dataclass
class Shard:
    """A shard of each part, opened when there is something for it."""

    out: Path
    """The artifact's folder. The part `data` lies at the top of it, every other one in a folder of its name."""
    name: str
    rows: dict[str, int] = field(default_factory=dict[str, int])
    """Of the files that were written, by path inside the artifact."""
    _open: dict[str, pq.ParquetWriter] = field(default_factory=dict[str, pq.ParquetWriter])
    _stack: ExitStack = field(default_factory=ExitStack)

    def write(self, batch: pa.RecordBatch, part: str = DATA, *, metadata: dict[bytes, bytes] | None = None) -> None:
        """Write a row group; nothing if there are no rows."""
        if not batch.num_rows:
            return
        path = self.name if part == DATA else f"{part}/{self.name}"
        batch = batch.replace_schema_metadata(metadata or None)
        if part not in self._open:
            (self.out / path).parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(self.out / path, batch.schema, compression="zstd")
            self._open[part] = self._stack.enter_context(writer)
        self._open[part].write_batch(batch)
        self.rows[path] = self.rows.get(path, 0) + batch.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def count_rows(draft: Draft, rows: dict[str, int]) -> None:
    """State of each file in the draft how many rows it has, and of which part it is."""
    for path, number in rows.items():
        draft.count(draft.dir / path, rows=number, part=path.rpartition("/")[0] or DATA)


def by_shard(groups: Iterable[RowGroup]) -> list[tuple[RowGroup, ...]]:
    """Row groups of the same file together, in their order."""
    shards: dict[Path, list[RowGroup]] = {}
    for group in groups:
        shards.setdefault(group.path, []).append(group)
    return [tuple(some) for some in shards.values()]
