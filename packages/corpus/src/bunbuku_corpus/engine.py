"""Where the work is done: in this process, in a pool of them, or on a Ray cluster. The result is the same.

What is done to documents is a pure function from a record batch to a record batch, a *step*. An engine runs steps in
two ways. `each` does one thing after another, wherever there is a free worker, and gives the results in order. `grouped`
maps record batches, brings together the rows that agree in the column `bucket`, and gives each such batch to the next
step: rows that must meet, as two documents that share a band, are sent to the same bucket by their hash. In a bucket rows
come in any order, so a step sorts them; so do those who bring the results together.

A step that needs more than its batch is told a folder: whatever lies there was written once and does not change. So a
cluster needs a file system that all its nodes see, and nothing else; documents never pass through the process that leads.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa
from bunbuku_contracts import RunSettings
from pydantic import PositiveInt

from bunbuku_corpus.pool import Map, open_pool
from bunbuku_corpus.spill import Spill

type Step = Callable[[pa.RecordBatch], pa.RecordBatch]

BUCKET = "bucket"
"""The column whose values say which rows must meet: unsigned, 16 bits."""


class EngineRun(RunSettings):
    """Circumstance of a stage that computes: where, and with how many processes. The result does not depend on it."""

    workers: PositiveInt = 1
    """Processes on this machine. A cluster that is there already is used as it is."""
    engine: Literal["local", "ray"] = "local"
    """A pool of processes on this machine, or Ray (`bunbuku-corpus[ray]`)."""
    address: str | None = None
    """The Ray cluster, `auto` for the one this machine is part of. If left out, one is started here."""


class Engine(Protocol):
    """Runs steps."""

    def each[T, R](self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """What `work` gives for each item, in their order."""
        ...

    def grouped[T](
        self, work: Callable[[T], pa.RecordBatch], items: Sequence[T], *steps: Step
    ) -> Iterator[pa.RecordBatch]:
        """What the last step gives for each bucket of what came before it, in any order of the buckets."""
        ...


@contextmanager
def open_engine(run: EngineRun, scratch: Path) -> Generator[Engine]:
    """The engine that the run settings ask for. Rows on their way between steps lie in `scratch`.

    Raises:
        BunbukuError: A worker dies; or Ray is asked for, and is not installed or not there.
    """
    if run.engine == "ray":
        from bunbuku_corpus.ray_engine import open_ray

        with open_ray(run.address, workers=run.workers) as engine:
            yield engine
        return
    with open_pool(run.workers) as ordered:
        yield Local(ordered, scratch)


@dataclass(frozen=True)
class Local:
    """This process, or a pool of them."""

    _map: Map
    _scratch: Path

    def each[T, R](self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        return self._map(work, items)

    def grouped[T](
        self, work: Callable[[T], pa.RecordBatch], items: Sequence[T], *steps: Step
    ) -> Iterator[pa.RecordBatch]:
        results: Iterator[pa.RecordBatch] = self._map(work, items)
        for number, step in enumerate(steps):
            results = self._regrouped(results, step, self._scratch / f"spill-{number}")
        return results

    def _regrouped(self, batches: Iterator[pa.RecordBatch], step: Step, folder: Path) -> Iterator[pa.RecordBatch]:
        with Spill(folder, BUCKET) as spill:
            for batch in batches:
                spill.add(batch)
            yield from self._map(_Bucket(step), spill.buckets())


@dataclass(frozen=True)
class _Bucket:
    """A step on the rows of one bucket, read where the work is done."""

    step: Step

    def __call__(self, read: Callable[[], pa.RecordBatch]) -> pa.RecordBatch:
        return self.step(read())
