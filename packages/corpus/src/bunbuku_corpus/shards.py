"""Shards of a corpus as work to hand out: which row groups there are, and results that are kept on disk.

Documents are numbered by where they stand: file order, then row order. A number is as good as an id within one run, takes
eight bytes, and says in which row group a document is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from bunbuku_contracts import Artifact, Corpus
from numpy.typing import NDArray

from bunbuku_corpus.batches import open_shard
from bunbuku_corpus.document import COLUMNS
from bunbuku_corpus.spill import one_batch

NUMBER = "number"
"""The column of documents' numbers."""
_OPEN_FILES = 64


@dataclass(frozen=True)
class RowGroup:
    """Some documents, read where the work is done."""

    path: Path
    group: int
    """Number in its file."""
    place: int
    """Number among all row groups."""
    first: int
    """Number of its first document."""
    rows: int
    columns: tuple[str, ...] | None = None
    """All columns if left out; those that the file lacks are left out."""

    def read(self) -> pa.RecordBatch:
        """Its rows, with the documents' numbers as a column more."""
        with open_shard(self.path) as shard:
            there = shard.schema_arrow.names
            columns = there if self.columns is None else [name for name in self.columns if name in there]
            batch = one_batch(shard.read_row_group(self.group, columns=columns))
        numbers = np.arange(self.first, self.first + self.rows, dtype=np.uint64)
        return batch.append_column(NUMBER, pa.array(numbers))


def row_groups(
    corpus: Artifact[Corpus],
    part: str | None = None,
    *,
    first: int = 0,
    place: int = 0,
    columns: Sequence[str] = (),
    needed: Sequence[str] = COLUMNS,
) -> list[RowGroup]:
    """The row groups of a part, numbered from `place`, their documents from `first`.

    Raises:
        BunbukuError: A shard is empty, damaged or cut off, or lacks a column that is `needed`.
    """
    found: list[RowGroup] = []
    for file in corpus.files(part):
        with open_shard(corpus.path(file), needed) as shard:
            metadata = shard.metadata
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            found.append(RowGroup(corpus.path(file), group, place, first, rows, tuple(columns) or None))
            place, first = place + 1, first + rows
    return found


def renumbered(groups: Sequence[RowGroup], place: int) -> list[RowGroup]:
    """The same row groups, whose results are kept from another place on."""
    return [replace(group, place=place + at) for at, group in enumerate(groups)]


@dataclass(frozen=True)
class Keep:
    """Does a step on a row group and keeps the result in a folder, where the next run finds it if this one is killed."""

    step: Callable[[pa.RecordBatch], pa.RecordBatch]
    folder: Path

    def __call__(self, group: RowGroup) -> int:
        path = self.folder / f"{group.place:08d}.arrow"
        if not path.exists():
            write_arrow(path, self.step(group.read()))
        return group.rows


@dataclass(frozen=True)
class Kept:
    """Results that were kept, to go on with."""

    step: Callable[[pa.RecordBatch], pa.RecordBatch]

    def __call__(self, path: Path) -> pa.RecordBatch:
        return self.step(read_arrow(path))


def kept(folder: Path) -> list[Path]:
    """The files of a folder that `Keep` wrote, in the order of their row groups."""
    return sorted(folder.glob("*.arrow"))


def write_arrow(path: Path, batch: pa.RecordBatch, *, compression: str | None = None) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(unfinished, batch.schema, options=options) as file:
        file.write_batch(batch)
    unfinished.rename(path)


def read_arrow(path: Path) -> pa.RecordBatch:
    """What was written, mapped into memory and not read."""
    return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)


_read_again = lru_cache(_OPEN_FILES)(read_arrow)


class Numbered(NamedTuple):
    """Kept results, one row a document, looked up by the documents' numbers."""

    folder: Path
    places: NDArray[np.int64]
    """Of the row groups that were kept."""
    firsts: NDArray[np.uint64]
    """Numbers of the first documents of those row groups."""

    @classmethod
    def of(cls, folder: Path, groups: Sequence[RowGroup]) -> "Numbered":
        return cls(
            folder,
            np.array([group.place for group in groups], np.int64),
            np.array([group.first for group in groups], np.uint64),
        )

    def find(self, number: int, column: str) -> pa.Scalar:
        """The document's value."""
        place = self.places[np.searchsorted(self.firsts, number, side="right") - 1]
        batch = _read_again(self.folder / f"{place:08d}.arrow")
        row = int(np.searchsorted(batch[NUMBER].to_numpy(), number))
        return batch[column][row]
