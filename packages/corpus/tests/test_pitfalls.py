"""Mistakes that other pipelines have made, and that have no better place among the tests."""

import json
import sys
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, Corpus
from bunbuku_corpus import (
    ContaminationConfig,
    DecontaminateConfig,
    DedupConfig,
    GatherConfig,
    contamination,
    decontaminate,
    dedup,
    gather,
    read_documents,
)

TEXT = (
    "昨日は友人と一緒に山へ行った。頂上からの眺めは素晴らしく、写真をたくさん撮った。夕方には疲れて帰り、すぐに眠った。"
)


def corpus_of(folder: Path, texts: list[str]) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"d{n}", "text": text, "licence": "MIT", "language": "ja"} for n, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(), folder / "texts.jsonl")


def test_the_dictionary_of_the_analyzer_is_installed_with_it():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {one.partition(">")[0] for one in project["optional-dependencies"]["words"]}
    assert wanted >= {"sudachidict-core", "sudachipy"}


def test_duplicates_are_found_whatever_topics_they_are_said_to_be_about(tmp_path: Path):
    corpus = corpus_of(tmp_path, [TEXT, f"{TEXT}終わり。", TEXT])
    path = corpus.path(corpus.files()[0])
    path.chmod(0o644)
    pq.write_table(pq.read_table(path).append_column("topic", pa.array(["山", "海", "川"])), path)
    unique = dedup(tmp_path / "unique", DedupConfig(), corpus)
    assert [one.id for one in read_documents(unique)] == ["d1"]
    assert pq.read_table(unique.path(unique.files()[0]))["topic"].to_pylist() == ["海"]


def test_no_hash_is_one_of_a_library_that_changes_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Version 4 of xxhash takes bytes alone: what passed it a text came to an end."""
    corpus = corpus_of(tmp_path, [TEXT, TEXT])
    monkeypatch.setitem(sys.modules, "xxhash", None)
    assert dedup(tmp_path / "unique", DedupConfig(), corpus).manifest.metrics["kept.documents"] == 1


def test_a_corpus_that_has_none_of_the_items_is_as_good_as_it_was(tmp_path: Path):
    corpus = corpus_of(tmp_path, [TEXT])
    (tmp_path / "items.jsonl").write_text(
        '{"id": "1", "question": "日本でいちばん高い山の名前は何ですか。"}\n', encoding="utf-8"
    )
    audit = contamination(tmp_path / "audit", ContaminationConfig(), corpus, tmp_path / "items.jsonl")
    assert audit.manifest.metrics["items.contaminated"] == 0
    cleaned = decontaminate(tmp_path / "cleaned", DecontaminateConfig(), corpus, audit)
    assert [one.text for one in read_documents(cleaned)] == [TEXT]
