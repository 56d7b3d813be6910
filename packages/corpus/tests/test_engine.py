"""The local engine; `test_ray.py` holds Ray to it."""

import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.spill import Spill, one_batch
from hypothesis import given
from hypothesis import strategies as st


def numbers_up_to(count: int) -> pa.RecordBatch:
    numbers = np.arange(count, dtype=np.uint64)
    return pa.record_batch({"bucket": pa.array((numbers % 3).astype(np.uint16)), "number": pa.array(numbers)})


def summed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A row a bucket; `bucket` sends all of them together."""
    assert len(set(batch["bucket"].to_pylist())) == 1
    total = sum(batch["number"].to_pylist())
    return pa.record_batch({"bucket": pa.array([0], pa.uint16()), "number": pa.array([total])})


def die(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_of_a_bucket_come_together_step_after_step(tmp_path: Path, workers: int):
    with open_engine(EngineRun(workers=workers), tmp_path) as engine:
        once = [batch["number"].to_pylist() for batch in engine.grouped(numbers_up_to, [4, 7], summed)]
        twice = [batch["number"].to_pylist() for batch in engine.grouped(numbers_up_to, [4, 7], summed, summed)]
        assert list(engine.each(abs, [-3, 2, -1])) == [3, 2, 1]
    assert once == [[3 + 9], [1 + 5], [2 + 7]]
    assert twice == [[27]]
    assert not list(tmp_path.iterdir())


def test_a_worker_that_is_killed_is_one_sentence(tmp_path: Path):
    with (
        pytest.raises(BunbukuError, match="one of 2 worker processes was killed, as happens when memory runs out"),
        open_engine(EngineRun(workers=2), tmp_path) as engine,
    ):
        list(engine.each(die, range(10)))


@given(batches=st.lists(st.lists(st.integers(0, 5), max_size=20), max_size=5))
def test_no_row_is_lost_on_the_way(tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]):
    folder = tmp_path_factory.mktemp("spill") / "rows"
    with Spill(folder, "bucket") as spill:
        for batch in batches:
            spill.add(pa.record_batch({"bucket": pa.array(batch, pa.uint16()), "n": pa.array(range(len(batch)))}))
        rows = [read() for read in spill.buckets()]
    assert [set(one["bucket"].to_pylist()) for one in rows] == [
        {key} for key in sorted({key for batch in batches for key in batch})
    ]
    assert sum(one.num_rows for one in rows) == sum(map(len, batches))
    assert not folder.exists()


def test_many_batches_are_one_in_the_end():
    table = pa.concat_tables([pa.table({"n": [1]}), pa.table({"n": [2]})])
    assert one_batch(table)["n"].to_pylist() == [1, 2]
    assert one_batch(table.slice(0, 0)).num_rows == 0
