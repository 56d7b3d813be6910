"""One pass over a corpus, document by document: measured, judged, or whatever else is said of each by itself.

The work is a pure function from a record batch to a record batch, and a tally of what it saw. Row groups are worked on wherever
there is a free worker, and what comes of them waits on disk, where the next run finds it if this one is killed. Then
shards are written, again wherever there is a free worker: they have the names and the order of those they come from. So
documents never pass through the process that leads.

Rows with a `reason` go into the part `dropped`, those without one into `data`.
"""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import pyarrow as pa
from bunbuku_contracts import Artifact, Corpus, Draft

from bunbuku_corpus.batches import bounded
from bunbuku_corpus.document import ROW_GROUP_CHARS, ROW_GROUP_DOCUMENTS
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.shards import NUMBER, RowGroup, read_arrow, row_groups, write_arrow
from bunbuku_corpus.writing import DATA, Shard, by_shard, count_rows

REASON = "reason"
DROPPED = "dropped"
_TALLY = b"bunbuku.tally"


class Tally(Protocol):
    """What was seen of some documents."""

    def add(self, other: Self, /) -> None:
        """Count what `other` counted, too."""
        ...


type Work[T] = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, T]]


def passed[T: Tally](
    draft: Draft,
    corpus: Artifact[Corpus],
    work: Work[T],
    tally: T,
    run: EngineRun,
) -> T:
    """Work through a corpus into the draft; gives the tally with everything added to it.

    Args:
        draft: Where to; its scratch holds what waits.
        corpus: What is read.
        work: What is done to each batch, whichever process does it.
        tally: An empty one.
        run: Where it is done.
    """
    groups = row_groups(corpus)
    do, write = _Do(work, draft.scratch / "done"), _Write(draft.scratch / "done", draft.dir)
    total = sum(group.rows for group in groups)
    with open_engine(run, draft.scratch) as engine:
        seen = _counted(zip(groups, engine.each(do, groups), strict=True), tally)
        for _ in draft.track(seen, unit="documents", total=total):
            pass
        shards = by_shard(groups)
        for rows in draft.track(engine.each(write, shards), unit="shards", total=len(shards)):
            count_rows(draft, rows)
    return tally


def _counted[T: Tally](done: Iterator[tuple[RowGroup, T]], tally: T) -> Iterator[int]:
    for group, seen in done:
        tally.add(seen)
        yield from range(group.rows)


@dataclass(frozen=True)
class _Do[T: Tally]:
    """Works on a row group and keeps what comes of it, the tally included; nothing is done twice."""

    work: Work[T]
    folder: Path

    def __call__(self, group: RowGroup) -> T:
        path = _waiting(self.folder, group)
        if path.exists():
            return pickle.loads((read_arrow(path).schema.metadata or {})[_TALLY])
        done = [self.work(some) for some in bounded(group.read().drop_columns([NUMBER]))]
        tally = done[0][1]
        for _, another in done[1:]:
            tally.add(another)
        [batch] = pa.Table.from_batches([batch for batch, _ in done]).combine_chunks().to_batches()
        metadata = {**(batch.schema.metadata or {}), _TALLY: pickle.dumps(tally)}
        write_arrow(path, batch.replace_schema_metadata(metadata), compression="lz4")
        return tally


@dataclass(frozen=True)
class _Write:
    """Writes the shards of what waits."""

    folder: Path
    out: Path

    def __call__(self, groups: tuple[RowGroup, ...]) -> dict[str, int]:
        with Shard(self.out, groups[0].path.name) as shard:
            parts = {part: _Together(shard, part) for part in (DATA, DROPPED)}
            for group in groups:
                batch = read_arrow(_waiting(self.folder, group))
                metadata = {name: said for name, said in (batch.schema.metadata or {}).items() if name != _TALLY}
                batch = batch.replace_schema_metadata(metadata)
                if REASON not in batch.schema.names:
                    parts[DATA].add(batch)
                    continue
                goes = batch[REASON].is_valid()
                parts[DROPPED].add(batch.filter(goes))
                parts[DATA].add(batch.filter(batch[REASON].is_null()).drop_columns([REASON]))
            for part in parts.values():
                part.flush()
        return shard.rows


@dataclass
class _Together:
    """Few rows are written together with those that come after them: a row group of three is a waste."""

    shard: Shard
    part: str
    _waiting: list[pa.RecordBatch] = field(default_factory=list[pa.RecordBatch])

    def add(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._waiting.append(batch)
        rows, size = sum(one.num_rows for one in self._waiting), sum(one.nbytes for one in self._waiting)
        if rows >= ROW_GROUP_DOCUMENTS or size >= 3 * ROW_GROUP_CHARS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            [batch] = pa.Table.from_batches(self._waiting).combine_chunks().to_batches()
            self.shard.write(batch, self.part, metadata=dict(batch.schema.metadata or {}))
            self._waiting.clear()


def _waiting(folder: Path, group: RowGroup) -> Path:
    return folder / f"{group.place:08d}.arrow"
