"""`thin`: boilerplate goes, documents stay."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, ArtifactError, Corpus, read_sections
from bunbuku_corpus import GatherConfig, ThinConfig, gather, thin
from bunbuku_corpus.engine import EngineRun
from hypothesis import given, settings
from hypothesis import strategies as st

LINES = ("送料無料", "お問い合わせ", "ホーム > 商品", "吾輩は猫である。", "名前はまだ無い。", "", "犬")
TEXTS = st.lists(st.lists(st.sampled_from(LINES), max_size=6).map("\n".join), min_size=1, max_size=10)


def corpus_of(folder: Path, texts: list[str], *, shard: int = 100_000) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"d{n}", "text": text, "language": "ja", "licence": "MIT"} for n, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(rows_per_shard=shard), folder / "texts.jsonl")


def rows_of(artifact: Artifact[Corpus], part: str = "data") -> list[dict[str, Any]]:
    if part not in artifact.manifest.parts:
        return []
    return [row for file in artifact.files(part) for row in pq.read_table(artifact.path(file)).to_pylist()]


@settings(max_examples=30)
@given(TEXTS, st.integers(2, 4), st.integers(0, 2))
def test_it_takes_out_what_is_counted_often_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], least: int, keep: int
):
    folder = tmp_path_factory.mktemp("run")
    thinned = thin(folder / "thin", ThinConfig(min_documents=least, keep_documents=keep), corpus_of(folder, texts))
    counts = Counter(line for text in texts for line in set(text.split("\n")) if len(line.replace(" ", "")) >= 3)
    often = {line for line, count in counts.items() if count >= least}
    removed = {row["id"]: row["text"].split("\n") for row in rows_of(thinned, "removed")}
    assert sorted(row["documents"] for row in rows_of(thinned, "table")) == sorted(counts[line] for line in often)
    for row, text in zip(rows_of(thinned), texts, strict=True):
        gone, left = removed.get(row["id"], []), row["text"].split("\n")
        assert set(gone) <= often
        assert sorted(line for line in [*gone, *left] if line) == sorted(line for line in text.split("\n") if line)
        stays = [line for line in text.split("\n") if line not in often and line]
        assert [line for line in left if line not in often and line] == stays
        if not keep and stays:
            assert not set(left) & often
        assert row["text"] == text or gone


def test_a_document_of_boilerplate_alone_is_left_as_it_is(tmp_path: Path):
    texts = ["送料無料\nお問い合わせ"] * 5 + ["送料無料\n吾輩は猫である。"] * 3 + ["名前はまだ無い。"]
    thinned = thin(tmp_path / "thin", ThinConfig(min_documents=5, keep_documents=0), corpus_of(tmp_path, texts))
    assert [row["text"] for row in rows_of(thinned)] == texts[:5] + ["吾輩は猫である。"] * 3 + texts[8:]
    metrics = thinned.manifest.metrics
    assert (metrics["documents"], metrics["changed.documents"], metrics["spared.documents"]) == (9, 3, 5)
    assert metrics["characters"] - metrics["kept.characters"] == 3 * len("送料無料\n")
    table = {row["text"]: (row["documents"], row["removed"]) for row in rows_of(thinned, "table")}
    assert table == {"送料無料": (8, 3), None: (5, 0)}
    [section] = read_sections(thinned)
    assert section.tables[0].rows == (("送料無料", 3),) and "5 are nothing but boilerplate" in section.paragraphs[0]


def test_lines_that_differ_in_digits_or_width_are_the_same_boilerplate(tmp_path: Path):
    texts = [f"{day}月{day}日更新　№{day}\n本文{chr(0x4E00 + day) * 5}" for day in range(1, 11)]
    raw = corpus_of(tmp_path, texts)
    gone = thin(tmp_path / "thin", ThinConfig(min_documents=10, keep_documents=0), raw)
    assert all("更新" not in row["text"] and "本文" in row["text"] for row in rows_of(gone))
    kept = thin(tmp_path / "kept", ThinConfig(min_documents=10, keep_documents=0, digits_matter=True), raw)
    assert [row["text"] for row in rows_of(kept)] == texts and "removed" not in kept.manifest.parts


def test_about_so_many_documents_keep_their_boilerplate(tmp_path: Path):
    texts = [f"送料無料\n本文{chr(0x4E00 + n) * 4}" for n in range(300)]
    thinned = thin(tmp_path / "thin", ThinConfig(min_documents=100, keep_documents=30), corpus_of(tmp_path, texts))
    assert 15 < sum("送料無料" in row["text"] for row in rows_of(thinned)) < 48


def test_a_quoted_line_stays_where_only_runs_go(tmp_path: Path):
    texts = [
        f"ホーム\n商品一覧\n送料無料\n本文{chr(0x4E00 + n)}です。\n送料無料\n続き{chr(0x5E00 + n)}です。"
        for n in range(20)
    ]
    rules = ThinConfig(min_documents=20, keep_documents=0, min_run=3)
    thinned = thin(tmp_path / "thin", rules, corpus_of(tmp_path, texts))
    assert [row["text"] for row in rows_of(thinned)] == [text.split("\n", 3)[3] for text in texts]


def test_a_table_of_an_earlier_run_is_taken(tmp_path: Path):
    config = ThinConfig(min_documents=3, keep_documents=0)
    earlier = thin(
        tmp_path / "earlier", config, corpus_of(tmp_path / "a", ["送料無料\n本文です。"] * 2 + ["送料無料\n犬です。"])
    )
    raw = corpus_of(tmp_path / "b", ["送料無料\n新しい本文です。"])
    assert rows_of(thin(tmp_path / "alone", config, raw))[0]["text"] == "送料無料\n新しい本文です。"
    assert rows_of(thin(tmp_path / "later", config, raw, earlier))[0]["text"] == "新しい本文です。"
    with pytest.raises(ArtifactError, match=r'was made with {"digits_matter": false, .*, not with .*true'):
        thin(tmp_path / "other", ThinConfig(min_documents=3, digits_matter=True), raw, earlier)
    with pytest.raises(ArtifactError, match=r"no paragraph in the table of .* is in 4 documents"):
        thin(tmp_path / "strict", ThinConfig(min_documents=4), raw, earlier)


def test_the_way_it_was_done_changes_no_byte(tmp_path: Path):
    raw = corpus_of(tmp_path, [f"送料無料\n本文{chr(0x4E00 + n) * 4}" for n in range(60)], shard=13)
    config = ThinConfig(min_documents=10)
    one, two = (thin(tmp_path / str(n), config, raw, run=EngineRun(workers=n)) for n in (1, 2))
    assert one.content == two.content and one.manifest.metrics == two.manifest.metrics
    assert [file.path for file in one.files()] == [file.path for file in raw.files()]
