"""The engine on a Ray cluster: Ray Data takes the steps as they are.

What a step needs besides its batch it reads from files, so all nodes must see the same file system. Ray starts again what a
lost worker or node was doing; since steps are pure and files are written whole or not at all, that changes nothing.
"""

import logging
import os
import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from bunbuku_contracts import BunbukuError

from bunbuku_corpus.engine import BUCKET, Step
from bunbuku_corpus.spill import one_batch

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

try:
    import ray
    import ray.data
    from ray.exceptions import RayError
except ImportError as error:
    raise BunbukuError(
        '`engine = "ray"`, and Ray is not installed', hint="pip install 'bunbuku-corpus[ray]'"
    ) from error

_ITEM, _PLACE, _RESULT = "item", "place", "result"
_PARTITIONS, _ITEMS_A_PARTITION = 200, 256
"""So many partitions are what Ray takes unasked: for little work that is most of the time, for much they are too large.

An item stands for a row group, a thousand documents: of 20 bands, 256 of them are rows of 215 MB.
"""


@contextmanager
def open_ray(address: str | None, *, workers: int) -> Generator["RayEngine"]:
    """An engine on the cluster at the address; without one, on a cluster of this machine that ends with it.

    Raises:
        BunbukuError: There is no cluster, or it is lost on the way.
    """
    ours = not ray.is_initialized()
    try:
        if ours:
            options: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
            ray.init(**options, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise BunbukuError(
            f"there is no Ray cluster at {address!r}", hint="`ray status` shows what there is"
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    try:
        yield RayEngine()
    except RayError as error:
        raise BunbukuError(f"the Ray cluster failed: {str(error).strip().splitlines()[0]}") from error
    finally:
        if ours:
            ray.shutdown()


@dataclass(frozen=True)
class RayEngine:
    """A Ray cluster."""

    def each[T, R](self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        waiting: dict[int, R] = {}
        wanted = 0
        if not items:
            return
        for row in _items(items).map(_Each(work)).iter_rows():
            waiting[row[_PLACE]] = result = pickle.loads(row[_RESULT])
            if isinstance(result, BunbukuError):
                raise result
            while wanted in waiting:
                yield waiting.pop(wanted)
                wanted += 1

    def grouped[T](
        self, work: Callable[[T], pa.RecordBatch], items: Sequence[T], *steps: Step
    ) -> Iterator[pa.RecordBatch]:
        if not items:
            return
        rows = _items(items).map_batches(_Read(work), batch_size=1, batch_format="pyarrow")
        for step in steps:
            rows = rows.groupby(BUCKET, num_partitions=partitions(len(items))).map_groups(
                _grouped(step), batch_format="pyarrow"
            )
        for table in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield one_batch(table)


def partitions(items: int) -> int:
    """Into how many partitions rows of so many items are sent: each is held by one worker as a whole.

    >>> partitions(7), partitions(30_000), partitions(768_000)
    (7, 200, 3000)
    """
    return min(items, max(_PARTITIONS, items // _ITEMS_A_PARTITION))


def _items(items: Sequence[Any]) -> Any:
    rows = [{_PLACE: place, _ITEM: pickle.dumps(item)} for place, item in enumerate(items)]
    return ray.data.from_items(rows, override_num_blocks=len(rows))


@dataclass(frozen=True)
class _Home:
    """The folder that paths are relative to: Ray's processes are started elsewhere."""

    folder: Path = field(default_factory=Path.cwd)

    def enter(self) -> None:
        with suppress(FileNotFoundError):  # then paths are absolute, or the error names one
            os.chdir(self.folder)


@dataclass(frozen=True)
class _Each:
    """What is done to an item, as Ray Data wants it: from row to row."""

    work: Callable[[Any], Any]
    home: _Home = field(default_factory=_Home)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        self.home.enter()
        try:
            result = self.work(pickle.loads(row[_ITEM]))
        except BunbukuError as error:  # sent back as it is: Ray would wrap it into errors of its own
            result = error
        return {_PLACE: row[_PLACE], _RESULT: pickle.dumps(result)}


@dataclass(frozen=True)
class _Read:
    """What an item stands for, as a table."""

    work: Callable[[Any], pa.RecordBatch]
    home: _Home = field(default_factory=_Home)

    def __call__(self, items: pa.Table) -> pa.Table:
        self.home.enter()
        return pa.Table.from_batches([self.work(pickle.loads(item.as_py())) for item in items[_ITEM]])


def _grouped(step: Step) -> Callable[[pa.Table], pa.Table]:
    """A step on the rows of a bucket. Ray wants a function here, with a name."""
    home = _Home()

    def grouped(rows: pa.Table) -> pa.Table:
        home.enter()
        return pa.Table.from_batches([step(one_batch(rows))])

    return grouped
