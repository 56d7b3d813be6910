"""Stages that look at each document by itself: what comes out does not depend on who did the work, nor on how shards are cut."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, Corpus
from bunbuku_corpus import (
    AnnotateConfig,
    AnnotateRun,
    CleanConfig,
    CleanRun,
    ContaminationConfig,
    CoverageConfig,
    DecideConfig,
    GatherConfig,
    SplitConfig,
    annotate,
    clean,
    contamination,
    coverage,
    decide,
    gather,
    split,
)
from bunbuku_corpus.engine import EngineRun
from hypothesis import given, settings
from hypothesis import strategies as st

PROSE = "駅前の新しい食堂では、安くておいしい定食が毎日食べられる。昼時には長い列ができることもあるらしい。"
TEXTS = [
    *(f"{n}日の日記。のび太はあやとりをした。{PROSE * (1 + n % 5)}" for n in range(60)),
    *(f"安い！{n}" * 40 for n in range(20)),
    *(f"Nothing but English here, number {n}." for n in range(20)),
]
POLICY: dict[str, Any] = {
    "filters": [{"type": "too_short", "min_chars": 20}, {"type": "too_little_kana", "min_ratio": 0.3}]
}


def corpus_of(folder: Path, rows: list[tuple[str, str]], shard: int = 100_000) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "texts.jsonl"
    given = [{"id": id, "text": text, "licence": "MIT", "language": "ja"} for id, text in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(rows_per_shard=shard), path)


def named(texts: list[str]) -> list[tuple[str, str]]:
    return [(f"d{n}", text) for n, text in enumerate(texts)]


def facts_of(folder: Path) -> Path:
    (folder / "facts.jsonl").write_text('{"subject": "のび太", "object": "あやとり"}\n', encoding="utf-8")
    return folder / "facts.jsonl"


def rows_of(artifact: Artifact[Corpus], part: str) -> dict[str, dict[str, Any]]:
    if part not in artifact.manifest.parts:
        return {}
    return {row["id"]: row for file in artifact.files(part) for row in pq.read_table(artifact.path(file)).to_pylist()}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Artifact[Corpus]:
    return corpus_of(tmp_path_factory.mktemp("passes"), named(TEXTS), shard=17)


@pytest.fixture(scope="module")
def annotated(raw: Artifact[Corpus], tmp_path_factory: pytest.TempPathFactory) -> Artifact[Corpus]:
    return annotate(tmp_path_factory.mktemp("annotated") / "a", AnnotateConfig(), raw)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clean", "annotate", "decide", "split", "coverage", "contamination"])
def test_the_number_of_workers_changes_no_byte(
    tmp_path: Path, raw: Artifact[Corpus], annotated: Artifact[Corpus], name: str
):
    facts, items = facts_of(tmp_path), tmp_path / "items.jsonl"
    items.write_text(json.dumps({"id": "food", "question": PROSE}) + "\n", encoding="utf-8")

    def run(workers: int) -> Artifact[Any]:
        out, run = tmp_path / f"{name}-{workers}", EngineRun(workers=workers)
        made = {
            "clean": lambda: clean(out, CleanConfig.model_validate(POLICY), raw, run=CleanRun(workers=workers)),
            "annotate": lambda: annotate(out, AnnotateConfig(), raw, run=AnnotateRun(workers=workers)),
            "decide": lambda: decide(out, DecideConfig.model_validate(POLICY), annotated, run=run),
            "split": lambda: split(out, SplitConfig(validation=0.2, test=0.2), raw, run=run),
            "coverage": lambda: coverage(out, CoverageConfig(), raw, facts, run=run),
            "contamination": lambda: contamination(out, ContaminationConfig(), raw, items, run=run),
        }
        return made[name]()

    one, two = run(1), run(2)
    assert one.content == two.content and one.manifest.metrics == two.manifest.metrics


@settings(max_examples=5)
@given(order=st.permutations(named(TEXTS)), shard=st.integers(5, 60))
def test_order_and_shards_decide_nothing_about_a_document(
    tmp_path_factory: pytest.TempPathFactory, raw: Artifact[Corpus], order: list[tuple[str, str]], shard: int
):
    folder = tmp_path_factory.mktemp("order")
    config = CleanConfig.model_validate(POLICY)
    before, after = (
        clean(folder / name, config, corpus)
        for name, corpus in (("before", raw), ("after", corpus_of(folder / "shuffled", order, shard)))
    )
    assert all(rows_of(before, part) == rows_of(after, part) for part in ("data", "dropped"))
    assert before.manifest.metrics == after.manifest.metrics
    assert (before.dir / "report.json").read_bytes() == (after.dir / "report.json").read_bytes()
    assert list(rows_of(after, "data")) == [id for id, _ in order if id in rows_of(before, "data")]


def test_shards_keep_their_names_and_those_of_which_nothing_is_left_are_not_written(
    tmp_path: Path, raw: Artifact[Corpus]
):
    cleaned = clean(tmp_path / "clean", CleanConfig.model_validate(POLICY), raw)
    assert [file.path for file in raw.files()] == [f"part-{n:05d}.parquet" for n in range(6)]
    assert [file.path for file in cleaned.files()] == [f"part-{n:05d}.parquet" for n in range(4)]
    assert [file.path for file in cleaned.files("dropped")] == [f"dropped/part-{n:05d}.parquet" for n in (3, 4, 5)]
    assert sum(file.rows or 0 for file in (*cleaned.files(), *cleaned.files("dropped"))) == len(TEXTS)


def test_few_documents_that_are_kept_are_written_in_few_row_groups(tmp_path: Path):
    texts = [PROSE * 400 if n % 100 else "猫" for n in range(1200)]  # some 200 documents of these are a row group
    corpus = corpus_of(tmp_path, named(texts))
    assert pq.read_metadata(corpus.path(corpus.files()[0])).num_row_groups >= 5
    policy = CleanConfig.model_validate({"filters": [{"type": "too_long", "max_chars": 100}]})
    [file] = clean(tmp_path / "clean", policy, corpus).files()
    metadata = pq.read_metadata(tmp_path / "clean" / file.path)
    assert (metadata.num_rows, metadata.num_row_groups) == (12, 1)
    [dropped] = clean(tmp_path / "clean", policy, corpus).files("dropped")
    groups = pq.read_metadata(tmp_path / "clean" / dropped.path)
    assert groups.num_rows == 1188 and groups.num_row_groups >= 5


def test_columns_of_earlier_stages_are_carried_along(tmp_path: Path, annotated: Artifact[Corpus]):
    """But annotations, which are of a text that may be another one now."""
    decided = decide(tmp_path / "decided", DecideConfig.model_validate(POLICY), annotated)
    [first, *_] = decided.files("dropped")
    assert pq.read_schema(decided.path(first)).names[-2:] == ["annotations", "reason"]
    cleaned = clean(tmp_path / "clean", CleanConfig(filters=()), decided)
    assert "annotations" not in pq.read_schema(cleaned.path(cleaned.files()[0])).names
