"""The map: texts that share terms lie together, and it says which prompts no corpus is near to."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Config, Corpus, Dialogues, Draft, stage
from bunbuku_corpus import GatherConfig, MapConfig, draw_map, gather

pytest.importorskip("sklearn")

WORDS = {
    "cooking": ("醤油", "味噌", "台所", "野菜", "煮物", "包丁"),
    "trains": ("電車", "駅員", "線路", "切符", "改札", "特急"),
    "stars": ("惑星", "彗星", "銀河", "月面", "衛星", "軌道"),
}
CONFIG = MapConfig(dimensions=6, slot_bits=12, documents=25, prompts=10)


class NoConfig(Config):
    """Nothing to choose."""


@stage("test.prompts")
def make_prompts(draft: Draft, config: NoConfig, texts: Path) -> Dialogues:
    """Prompts of a file, a line each."""
    rows = [
        {"id": f"p{n}", "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "はい"}]}
        for n, text in enumerate(texts.read_text(encoding="utf-8").splitlines())
    ]
    path = draft.dir / "part-00000.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    draft.count(path, rows=len(rows))
    return Dialogues()


def sentence(about: str, n: int) -> str:
    words = WORDS[about]
    return f"{words[n % 6]}と{words[(n + 1) % 6]}と{words[(n * 5 + 2) % 6]}のことです。"


def corpus_of(folder: Path, about: str) -> Artifact[Corpus]:
    folder.mkdir(parents=True)
    rows = [
        {"id": f"{about}{n}", "text": sentence(about, n) * 2, "licence": "MIT", "language": "ja"} for n in range(30)
    ]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(), folder / "texts.jsonl")


def prompts_of(folder: Path, *more: str) -> Artifact[Dialogues]:
    lines = [*(sentence("cooking", n) for n in range(5)), *(sentence("stars", n) for n in range(5)), *more]
    (folder / "prompts.txt").write_text("\n".join(lines), encoding="utf-8")
    return make_prompts(folder / "prompts", NoConfig(), folder / "prompts.txt")


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_texts_that_share_terms_lie_together(method: str, tmp_path: Path):
    corpora = {about: corpus_of(tmp_path / about, about) for about in ("cooking", "trains")}
    config = MapConfig.model_validate(CONFIG.model_dump() | {"method": method})
    report = draw_map(tmp_path / "map", config, corpora, {"exam": prompts_of(tmp_path)})
    rows = pq.read_table(report.dir / "points.parquet").to_pylist()
    assert [sum(row["of"] == name for row in rows) for name in ("cooking", "trains", "exam")] == [25, 25, 10]
    middles = {name: np.mean([(r["x"], r["y"]) for r in rows if r["of"] == name], axis=0) for name in corpora}
    for row in rows:
        if row["of"] in corpora:
            nearest = min(corpora, key=lambda name: float(np.hypot(*(middles[name] - (row["x"], row["y"])))))
            assert nearest == row["of"]
    assert report.manifest.metrics["covered.exam.cooking"] == 0.5
    assert report.manifest.metrics["covered.exam.trains"] == 0
    html = (report.dir / "index.html").read_text(encoding="utf-8")
    assert html.count("<circle") == 60 and "惑星" in html


def test_prompts_without_terms_are_neither_covered_nor_far(tmp_path: Path):
    config = CONFIG.model_copy(update={"method": "pca", "prompts": 12})
    prompts = prompts_of(tmp_path, "これは何ですか。", "どうしてそうなるの。")
    report = draw_map(tmp_path / "map", config, {"cooking": corpus_of(tmp_path / "a", "cooking")}, {"exam": prompts})
    assert report.manifest.metrics["covered.exam.cooking"] == 0.5
    html = (report.dir / "index.html").read_text(encoding="utf-8")
    assert "2 texts without terms are not drawn" in html and "惑星" in html
    assert "これは何ですか" not in html and "どうして" not in html


def test_the_same_texts_give_the_same_map(tmp_path: Path):
    corpora = {"cooking": corpus_of(tmp_path / "a", "cooking"), "trains": corpus_of(tmp_path / "b", "trains")}
    config = CONFIG.model_copy(update={"method": "pca"})
    assert draw_map(tmp_path / "x", config, corpora).content == draw_map(tmp_path / "y", config, corpora).content


def test_nothing_to_draw_is_one_sentence(tmp_path: Path):
    with pytest.raises(BunbukuError, match="there is no corpus to draw"):
        draw_map(tmp_path / "map", CONFIG, {})
