"""Topics: documents about the same thing share one, whatever their order, and later corpora are divided alike."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Corpus, read_sections
from bunbuku_corpus import GatherConfig, TopicsConfig, gather, read_documents, topics
from bunbuku_corpus.columns import read_described
from bunbuku_corpus.embedding import EmbeddingConfig, fit_embedding
from bunbuku_corpus.terms import telling_terms, unit_rows, units
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")

ABOUT = {
    "cooking": ("醤油", "味噌", "台所", "鍋料理", "野菜", "フライパン", "煮物", "包丁"),
    "trains": ("電車", "駅員", "線路", "切符", "改札口", "ホーム", "時刻表", "特急列車"),
    "stars": ("望遠鏡", "惑星", "彗星", "銀河", "天文台", "ロケット", "月面", "太陽系"),
}


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    random = Random(seed)
    found: list[dict[str, str]] = []
    for number in range(count):
        about = list(ABOUT)[number % 3]
        text = "".join(f"{random.choice(ABOUT[about])}と{random.choice(ABOUT[about])}のことです。" for _ in range(8))
        found.append({"id": f"{about}{seed}-{number}", "text": text, "licence": "MIT", "language": "ja"})
    return found


def corpus_of(folder: Path, some: list[dict[str, str]]) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(), folder / "texts.jsonl")


def topic_of(corpus: Artifact[Corpus]) -> dict[str, str | None]:
    return {one.document.id: one.value for one in read_described(corpus, "topic", needed=True)}


CONFIG = TopicsConfig(topics=3, dimensions=4, slot_bits=12)


def test_documents_about_one_thing_share_a_topic(tmp_path: Path):
    some = rows(90)
    divided = topics(tmp_path / "topics", CONFIG, corpus_of(tmp_path, some))
    found = topic_of(divided)
    together = {about: {topic for id, topic in found.items() if id.startswith(about)} for about in ABOUT}
    assert all(len(one) == 1 for one in together.values()) and len(set.union(*together.values())) == 3
    named = {about: next(iter(one)) or "" for about, one in together.items()}
    assert all(set(named[about].split("・")) <= {*ABOUT[about]} for about in ABOUT)
    assert [one.text for one in read_documents(divided)] == [row["text"] for row in some]
    assert divided.manifest.metrics["silhouette"] > 0.5
    assert [section.title for section in read_sections(divided)] == ["Topics", "Documents of each"]


def test_the_order_of_documents_changes_no_topic(tmp_path: Path):
    some = rows(90)
    one = topics(tmp_path / "one", CONFIG, corpus_of(tmp_path / "a", some))
    shuffled = Random(1).sample(some, len(some))
    other = topics(tmp_path / "other", CONFIG, corpus_of(tmp_path / "b", shuffled))
    assert topic_of(one) == topic_of(other)
    again = topics(tmp_path / "again", CONFIG, corpus_of(tmp_path / "c", some))
    assert again.content == one.content


def test_another_corpus_is_divided_by_the_same_topics(tmp_path: Path):
    first = topics(
        tmp_path / "one", CONFIG.model_copy(update={"names": ("a", "b", "c")}), corpus_of(tmp_path / "a", rows(90))
    )
    assert {*topic_of(first).values()} == {"a", "b", "c"}
    later = topics(tmp_path / "two", CONFIG, corpus_of(tmp_path / "b", rows(12, seed=5)), first)
    meaning = {id.rstrip("0123456789-"): topic for id, topic in topic_of(first).items()}
    assert topic_of(later) == {id: meaning[id.rstrip("0123456789-")] for id in topic_of(later)}
    with pytest.raises(ArtifactError, match="has no topics"):
        topics(tmp_path / "three", CONFIG, corpus_of(tmp_path / "c", rows(9)), corpus_of(tmp_path / "d", rows(9)))


def test_a_text_without_terms_has_no_topic(tmp_path: Path):
    some = [*rows(30), {"id": "none", "text": "それはとてもいいですね。", "licence": "MIT", "language": "ja"}]
    assert topic_of(topics(tmp_path / "out", CONFIG, corpus_of(tmp_path, some)))["none"] == "no terms"


def test_too_few_documents_are_one_sentence(tmp_path: Path):
    with pytest.raises(BunbukuError, match="5 documents are too few for 3 topics"):
        topics(tmp_path / "out", CONFIG, corpus_of(tmp_path, rows(5)))


@given(st.lists(st.text("図書館カメラabc、", max_size=15), min_size=1, max_size=4))
def test_unit_rows_hold_every_unit_once(texts: list[str]):
    found = unit_rows(texts, slot_bits=22, max_chars=1000)
    sizes = [len(units(text)) for text in texts]
    assert np.diff(found.offsets).tolist() == sizes
    assert (found.values >= 1).all()


def test_points_are_of_length_one_and_alike_where_terms_are():
    texts = [row["text"] for row in rows(30)]
    points = fit_embedding(texts, EmbeddingConfig(dimensions=4, slot_bits=12)).of([*texts, ""])
    assert np.linalg.norm(points[:-1], axis=1) == pytest.approx(1, abs=1e-5)
    assert not points[-1].any()
    alike = points[:-1] @ points[:-1].T
    same = np.equal.outer(np.arange(30) % 3, np.arange(30) % 3)
    assert alike[same].min() > alike[~same].max()


def test_telling_terms_are_not_merely_frequent():
    groups = [[{"東京", "料理"}] * 9 + [{"東京"}], [{"東京", "電車"}] * 10]
    assert [one[0].term for one in telling_terms(groups, 1)] == ["料理", "電車"]
    assert Counter(term.term for one in telling_terms(groups, 2) for term in one)["東京"] == 2
