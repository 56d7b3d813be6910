"""`split` as a user calls it, after `dedup`."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus
from bunbuku_corpus import DedupConfig, GatherConfig, SplitConfig, dedup, gather, split
from bunbuku_corpus.clusters import First
from bunbuku_corpus.minhash import NearDuplicates

PARTS = ("train", "validation", "test")
CONFIG = SplitConfig(validation=0.25, test=0.25)
# Links of a chain are near-duplicates, and what is two links apart is not: many clusters have several documents that stay.
NEAR = NearDuplicates(threshold=0.5, bands=50, rows=2)


def chains(names: str, links: int = 5) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name in names:
        letters = "".join(chr(0x4E00 + (ord(name) - 97) * 700 + n) for n in range(400))
        texts |= {f"{name}{link}": letters[50 * link : 50 * link + 180] for link in range(links)}
    return texts


def deduplicated(folder: Path, texts: dict[str, str]) -> Artifact[Corpus]:
    folder.mkdir(parents=True)
    rows = [{"id": id, "text": text, "language": "ja", "licence": "MIT"} for id, text in texts.items()]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    raw = gather(folder / "raw", GatherConfig(rows_per_shard=20), folder / "texts.jsonl")
    return dedup(folder / "unique", DedupConfig(near=NEAR, representative=First()), raw)


def rows_of(artifact: Artifact[Corpus]) -> dict[str, dict[str, Any]]:
    return {
        row["id"]: row | {"part": part}
        for part in (*PARTS, "dropped")
        if part in artifact.manifest.parts
        for file in artifact.files(part)
        for row in pq.read_table(artifact.path(file)).to_pylist()
    }


def test_no_two_parts_share_a_cluster(tmp_path: Path):
    unique = deduplicated(tmp_path / "corpus", chains("abcdefghijklmnopqrst"))
    rows = rows_of(split(tmp_path / "split", CONFIG, unique))
    assert len(rows) == unique.manifest.metrics["kept.documents"] > 40
    parts = {(row["cluster"], row["part"]) for row in rows.values()}
    assert len(parts) == len({row["cluster"] for row in rows.values()}) == 20
    assert all(row["cluster_size"] == 5 for row in rows.values())


def test_added_documents_move_no_cluster_that_they_do_not_join(tmp_path: Path):
    few = rows_of(split(tmp_path / "few", CONFIG, deduplicated(tmp_path / "a", chains("abcdefghij"))))
    more = rows_of(split(tmp_path / "more", CONFIG, deduplicated(tmp_path / "b", chains("abcdefghijklmnopqrst"))))
    assert {id: more[id]["part"] for id in few} == {id: row["part"] for id, row in few.items()}


def test_documents_that_join_a_cluster_follow_it_after_an_earlier_split(tmp_path: Path):
    names = "abcdefghijklmnopqrst"
    first = split(tmp_path / "first", CONFIG, deduplicated(tmp_path / "a", chains(names, links=1)))
    unique = deduplicated(tmp_path / "b", chains(names, links=5))
    second = rows_of(split(tmp_path / "second", CONFIG, unique, first))
    before = rows_of(first)
    for id, row in second.items():
        if f"{id[0]}0" in second:
            assert row["part"] == second[f"{id[0]}0"]["part"]
        if id in before:
            assert row["part"] == before[id]["part"]


def test_a_bridge_between_parts_costs_training_and_not_the_test(tmp_path: Path):
    names = "abcdefghijklmnopqrst"
    ends = {id: text for id, text in chains(names).items() if id[1] in "04"}
    first = split(tmp_path / "first", CONFIG, deduplicated(tmp_path / "a", ends))
    before = rows_of(first)
    torn = [name for name in names if {before[f"{name}0"]["part"], before[f"{name}4"]["part"]} == {"train", "test"}]
    assert torn
    unique = deduplicated(tmp_path / "b", ends | chains(names))
    second = split(tmp_path / "second", CONFIG, unique, first)
    after = rows_of(second)
    for name in torn:
        parts = {id: row["part"] for id, row in after.items() if id[0] == name}
        assert set(parts.values()) == {"test", "dropped"}
        assert {before[id]["part"] for id, part in parts.items() if part == "dropped"} == {"train"}
        assert {after[id]["reason"] for id, part in parts.items() if part == "dropped"} == {"tied_to_another_part"}


def test_an_earlier_split_that_is_none_is_one_sentence(tmp_path: Path):
    unique = deduplicated(tmp_path / "a", chains("abcdefghij"))
    with pytest.raises(BunbukuError, match="has no part train, validation or test"):
        split(tmp_path / "split", CONFIG, unique, unique)
