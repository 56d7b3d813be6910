"""Ray holds what the local engine promises. Skipped where Ray is not installed."""

import json
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus
from bunbuku_corpus import DedupConfig, GatherConfig, MixConfig, ThinConfig, dedup, gather, mix, thin
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.minhash import NearDuplicates

pytest.importorskip("ray")

RAY = EngineRun(engine="ray")


@pytest.fixture(scope="module")
def two_nodes() -> Generator[None]:
    """A cluster of two raylets, each with a store of its own: what goes from one to the other is sent."""
    import ray
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 200 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    assert len([one for one in ray.nodes() if one["Alive"]]) == 2
    yield
    ray.shutdown()
    cluster.shutdown()


def corpus_of(folder: Path, count: int) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    texts: list[str] = []
    for n in range(count):
        text = "".join(chr(0x4E00 + (n // 4 * 611 + at * 7) % 20_000) for at in range(300))
        texts.append(f"送料無料\nお問い合わせ\n{text[: 300 - n % 4]}。")
    rows = [{"id": f"d{n}", "text": text, "language": "ja", "licence": "MIT"} for n, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(rows_per_shard=count // 5), folder / "texts.jsonl")


def numbers_up_to(count: int) -> pa.RecordBatch:
    numbers = np.arange(count, dtype=np.uint64)
    return pa.record_batch({"bucket": pa.array((numbers % 3).astype(np.uint16)), "number": pa.array(numbers)})


def summed(batch: pa.RecordBatch) -> pa.RecordBatch:
    total = sum(batch["number"].to_pylist())
    return pa.record_batch({"bucket": pa.array([0], pa.uint16()), "number": pa.array([total])})


def refused(item: int) -> int:
    raise BunbukuError(f"{item} is refused", hint="give another")


@pytest.mark.long
def test_two_nodes_make_the_same_bytes_as_this_process(two_nodes: None, tmp_path: Path):
    raw = corpus_of(tmp_path, 400)
    configs: dict[str, tuple[Any, Any]] = {
        "dedup": (dedup, DedupConfig(near=NearDuplicates(bands=14, rows=8), index=True)),
        "thin": (thin, ThinConfig(min_documents=100)),
    }
    for name, (one, config) in configs.items():
        local, far = (one(tmp_path / f"{name}-{run.engine}", config, raw, run=run) for run in (EngineRun(), RAY))
        assert local.content == far.content and local.manifest.metrics == far.manifest.metrics
    local, far = (mix(tmp_path / f"mix-{run.engine}", MixConfig(), {"web": raw}, run=run) for run in (EngineRun(), RAY))
    assert local.content == far.content


@pytest.mark.long
def test_rows_of_a_bucket_come_together_on_two_nodes(two_nodes: None, tmp_path: Path):
    with open_engine(RAY, tmp_path) as engine:
        once = [n for batch in engine.grouped(numbers_up_to, [4, 7], summed) for n in batch["number"].to_pylist()]
        twice = [
            n for batch in engine.grouped(numbers_up_to, [4, 7], summed, summed) for n in batch["number"].to_pylist()
        ]
        assert list(engine.each(abs, [-3, 2, -1])) == [3, 2, 1]
        assert not list(engine.each(abs, [])) and not list(engine.grouped(numbers_up_to, [], summed))
    assert sorted(once) == [1 + 5, 2 + 7, 3 + 9] and twice == [27]


@pytest.mark.long
def test_what_a_step_refuses_is_the_sentence_that_it_says(two_nodes: None, tmp_path: Path):
    with pytest.raises(BunbukuError, match="2 is refused") as error, open_engine(RAY, tmp_path) as engine:
        list(engine.each(refused, [2]))
    assert error.value.hint == "give another"
