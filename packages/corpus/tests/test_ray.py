"""Ray holds what the local engine promises. Skipped where Ray is not installed."""

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, load
from bunbuku_corpus import (
    AnnotateConfig,
    AnnotateRun,
    ClassifyConfig,
    ClassifyRun,
    CleanConfig,
    CleanRun,
    ContaminationConfig,
    CoverageConfig,
    DecideConfig,
    DecontaminateConfig,
    DedupConfig,
    ExtractConfig,
    ExtractRun,
    GatherConfig,
    GatherRun,
    LearnConfig,
    MixConfig,
    SplitConfig,
    ThinConfig,
    TopicsConfig,
    annotate,
    classify,
    clean,
    contamination,
    coverage,
    decide,
    decontaminate,
    dedup,
    extract,
    gather,
    learn,
    mix,
    read_documents,
    split,
    thin,
    topics,
)
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.features import Features
from bunbuku_corpus.filters import TooShort
from bunbuku_corpus.minhash import NearDuplicates

pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")

RAY, EXTRACT = EngineRun(engine="ray"), ExtractRun(engine="ray")


@pytest.fixture(scope="module")
def two_nodes() -> Generator[Any]:
    """A cluster of two raylets, each with a store of its own: what goes from one to the other is sent."""
    import ray
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 200 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    assert len([one for one in ray.nodes() if one["Alive"]]) == 2
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def corpus_of(make, folder: Path, count: int) -> Artifact[Corpus]:
    """Fours that are alike, under a menu that all share."""
    texts: list[str] = []
    for n in range(count):
        text = "".join(chr(0x4E00 + (n // 4 * 611 + at * 7) % 20_000) for at in range(300))
        texts.append(f"送料無料\nお問い合わせ\n{text[: 300 - n % 4]}。")
    return make.corpus(folder, texts, shard=count // 5)


def numbers_up_to(count: int) -> pa.RecordBatch:
    numbers = np.arange(count, dtype=np.uint64)
    return pa.record_batch({"bucket": pa.array((numbers % 3).astype(np.uint16)), "number": pa.array(numbers)})


def summed(batch: pa.RecordBatch) -> pa.RecordBatch:
    total = sum(batch["number"].to_pylist())
    return pa.record_batch({"bucket": pa.array([0], pa.uint16()), "number": pa.array([total])})


def refused(item: int) -> int:
    raise BunbukuError(f"{item} is refused", hint="give another")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_nodes_make_the_same_bytes_as_this_process(make, two_nodes: Any, tmp_path: Path):
    raw = corpus_of(make, tmp_path, 400)
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
def test_stages_that_look_at_each_document_make_the_same_bytes_on_two_nodes(
    make, two_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("sklearn")
    raw = corpus_of(make, tmp_path, 400)
    (tmp_path / "facts.jsonl").write_text('{"subject": "送料無料", "object": "お問い合わせ"}\n', encoding="utf-8")
    questions = ["お問い合わせ先はこちら", next(read_documents(raw)).text[20:60]]
    make.lines(tmp_path / "items.jsonl", ({"id": n, "question": text} for n, text in enumerate(questions)))
    monkeypatch.chdir(tmp_path)  # paths are relative: Ray's processes are elsewhere
    raw = load(Path("raw"), Corpus)
    annotated = annotate(Path("annotated"), AnnotateConfig(), raw)
    findings = contamination(Path("findings"), ContaminationConfig(), raw, Path("items.jsonl"))
    labels = make.lines(Path("labels.jsonl"), ({"id": f"d{n}", "label": str(n // 4 % 2)} for n in range(200)))
    classifier = learn(Path("classifier"), LearnConfig(features=Features(slot_bits=12)), labels, raw)
    few = TopicsConfig(topics=3, dimensions=6, slot_bits=12)
    runs: dict[str, Callable[[Path, Any], Artifact[Any]]] = {
        "gather": lambda out, run: gather(out, GatherConfig(), Path("texts.jsonl"), run=GatherRun(**run)),
        "clean": lambda out, run: clean(out, CleanConfig(filters=(TooShort(),)), raw, run=CleanRun(**run)),
        "annotate": lambda out, run: annotate(out, AnnotateConfig(), raw, run=AnnotateRun(**run)),
        "decide": lambda out, run: decide(out, DecideConfig(filters=(TooShort(),)), annotated, run=EngineRun(**run)),
        "split": lambda out, run: split(out, SplitConfig(validation=0.2, test=0.2), raw, run=EngineRun(**run)),
        "contamination": lambda out, run: contamination(
            out, ContaminationConfig(), raw, Path("items.jsonl"), run=EngineRun(**run)
        ),
        "decontaminate": lambda out, run: decontaminate(
            out, DecontaminateConfig(min_chars=1), raw, findings, run=EngineRun(**run)
        ),
        "classify": lambda out, run: classify(out, ClassifyConfig(), raw, classifier, run=ClassifyRun(**run)),
        "topics": lambda out, run: topics(out, few, raw, run=EngineRun(**run)),
        "coverage": lambda out, run: coverage(out, CoverageConfig(), raw, Path("facts.jsonl"), run=EngineRun(**run)),
    }
    for name, stage in runs.items():
        local, far = (stage(Path(f"{name}-{run.get('engine')}"), run) for run in ({}, {"engine": "ray"}))
        assert local.content == far.content and local.manifest.metrics == far.manifest.metrics, name


@pytest.mark.long
def test_pages_are_extracted_the_same_on_two_nodes(two_nodes: Any, tmp_path: Path):
    pytest.importorskip("resiliparse")
    for n in range(30):
        body = f"<html><body><article><p>{n}番目の頁である。{'今日は朝から雨が降っていた。' * 9}</p></article></body></html>"
        (tmp_path / f"{n}.html").write_text(body, encoding="utf-8")
    (tmp_path / "cut.html.gz").write_bytes(b"no gzip")
    local, far = (extract(tmp_path / run.engine, ExtractConfig(), tmp_path, run=run) for run in (ExtractRun(), EXTRACT))
    assert local.content == far.content and local.manifest.metrics["failed"] == 1


@pytest.mark.long
def test_rows_of_a_bucket_come_together_on_two_nodes(two_nodes: Any, tmp_path: Path):
    with open_engine(RAY, tmp_path) as engine:
        once = [n for batch in engine.grouped(numbers_up_to, [4, 7], summed) for n in batch["number"].to_pylist()]
        twice = [
            n for batch in engine.grouped(numbers_up_to, [4, 7], summed, summed) for n in batch["number"].to_pylist()
        ]
        assert list(engine.each(abs, [-3, 2, -1])) == [3, 2, 1]
        assert not list(engine.each(abs, [])) and not list(engine.grouped(numbers_up_to, [], summed))
    assert sorted(once) == [1 + 5, 2 + 7, 3 + 9] and twice == [27]


@pytest.mark.long
def test_what_a_step_refuses_is_the_sentence_that_it_says(two_nodes: Any, tmp_path: Path):
    with pytest.raises(BunbukuError, match="2 is refused") as error, open_engine(RAY, tmp_path) as engine:
        list(engine.each(refused, [2]))
    assert error.value.hint == "give another"


def workers_of_ray() -> list[Any]:
    """Those that the raylets of this process have started and that do something; a raylet ends with its agents."""
    found: list[Any] = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            title = (one.cmdline() or [""])[0]
            if title.startswith("ray::") and "IDLE" not in title and "Agent" not in title:
                found.append(one)
    return found


def when_signing(folder: Path, done: Callable[[], object]) -> threading.Thread:
    """Does something once the first signatures are there, in the middle of `dedup`."""

    def wait() -> None:
        deadline = time.monotonic() + 300
        while len(list(folder.glob(".far.*.scratch/signatures/*.arrow"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        done()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["worker", "node"])
def test_a_worker_or_a_node_that_is_lost_in_the_middle_costs_nothing(make, two_nodes: Any, tmp_path: Path, what: str):
    """Ray does again what was lost. Where it cannot, that is one sentence, and the same command goes on."""
    raw = make.corpus(tmp_path, (make.prose(n // 2, 200) + "。" * (n % 2) for n in range(2000)), shard=100)
    local = dedup(tmp_path / "local", DedupConfig(), raw)
    lost: list[int] = []

    def kill() -> None:
        if what == "node":
            lost.append(1)
            two_nodes.remove_node(two_nodes.list_all_nodes()[-1], allow_graceful=False)
        for one in workers_of_ray() if what == "worker" else ():
            lost.append(one.pid)
            one.kill()

    thread = when_signing(tmp_path, kill)
    try:
        far = dedup(tmp_path / "far", DedupConfig(), raw, run=RAY)
    except BunbukuError as error:
        assert "the Ray cluster failed" in str(error) and "\n" not in str(error)
        assert not (tmp_path / "far").exists()
        far = dedup(tmp_path / "far", DedupConfig(), raw, run=RAY)
    thread.join()
    assert lost and far.content == local.content
