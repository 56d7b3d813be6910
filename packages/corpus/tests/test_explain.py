"""The page that says what each filter does, against `decide` and against counting by hand."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Report, read_sections
from bunbuku_corpus import (
    AnnotateConfig,
    DecideConfig,
    ExplainConfig,
    GatherConfig,
    annotate,
    decide,
    explain,
    gather,
    read_documents,
)
from bunbuku_corpus.batches import read_batches
from bunbuku_corpus.filters import Bounds
from bunbuku_corpus.policy_tally import FACTORS, PolicyTally, Sampled, moves
from hypothesis import given
from hypothesis import strategies as st

PROSE = [f"{n}日目の朝は雨が降っていたので、外に出るのをやめて家で本を読んだ。午後は晴れた。" for n in range(30)]
AWFUL = [
    "短い",
    "安い！" * 30,
    "This is English, not Japanese, whatever it says.",
    "<script>alert('悪い')</script>" + "あ" * 40,
]
FILTERS: list[dict[str, Any]] = [
    {"type": "too_short", "min_chars": 20},
    {"type": "other_language"},
    {"type": "repeated_ngrams", "n": 10},
    {"type": "odd_sentences"},
]
MEASURES = [
    {"type": "characters"},
    {"type": "language"},
    {"type": "repeated_ngram_ratio", "n": 10},
    {"type": "mean_sentence"},
]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Artifact[Corpus]:
    folder = tmp_path_factory.mktemp("explain")
    rows = [{"id": f"d{n}", "text": text, "language": "ja"} for n, text in enumerate([*PROSE, *AWFUL])]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = gather(folder / "raw", GatherConfig(), folder / "a.jsonl")
    return annotate(folder / "a", AnnotateConfig.model_validate({"presets": [], "measures": MEASURES}), raw)


def explained(annotated: Artifact[Corpus], out: Path, **more: Any) -> Artifact[Report]:
    return explain(out, ExplainConfig.model_validate({"filters": FILTERS, **more}), annotated)


def test_it_counts_what_deciding_does(annotated: Artifact[Corpus], tmp_path: Path):
    decided = decide(tmp_path / "d", DecideConfig.model_validate({"filters": FILTERS}), annotated).manifest.metrics
    metrics = explained(annotated, tmp_path / "e").manifest.metrics
    assert {name: metrics[name] for name in metrics if name != "warnings"} == {
        name: decided[name] for name in metrics if name != "warnings"
    }
    assert metrics["kept.documents"] == 30


def test_the_page_stands_by_itself_and_escapes_what_documents_say(annotated: Artifact[Corpus], tmp_path: Path):
    report = explained(annotated, tmp_path / "e")
    assert report.spec.page is not None
    page = (report.dir / report.spec.page).read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page and "http://" not in page.replace("http://www.w3.org", "")
    for section in read_sections(report):
        for picture in section.pictures:
            assert ET.parse(report.dir / picture.path).getroot().tag.endswith("svg")
    titles = [section.title for section in read_sections(report)]
    assert titles[:2] == ["What is kept", "Every filter"] and titles[-1] == "Samples"


def test_a_filter_that_drops_too_much_is_warned_of(annotated: Artifact[Corpus], tmp_path: Path):
    calm = explained(annotated, tmp_path / "calm")
    assert calm.manifest.metrics["warnings"] == 0
    strict = [{"type": "too_short", "min_chars": 60}]
    loud = explained(annotated, tmp_path / "loud", filters=strict, warn_share=0.5)
    assert loud.manifest.metrics["warnings"] == 1
    first = read_sections(loud)[0].paragraphs[0]
    assert first.startswith("Warning: too_short rejects 94.1% of all documents") and "more than 50%" in first


def test_what_other_thresholds_would_keep_is_what_they_keep(annotated: Artifact[Corpus], tmp_path: Path):
    tally = PolicyTally(DecideConfig.model_validate({"filters": FILTERS}).filters, samples=3)
    for batch in read_batches(annotated):
        tally.add(batch)
    [short] = [one for one in tally.filters if one.judge.name == "too_short"]
    for moved in short.what_if(tally.documents):
        if moved.value != int(moved.value) or not moved.kept:  # a threshold for whole numbers; all dropped is an error
            continue
        filters = [{"type": "too_short", "min_chars": int(moved.value)}, *FILTERS[1:]]
        config = DecideConfig.model_validate({"filters": filters})
        metrics = decide(tmp_path / f"{moved.value}", config, annotated).manifest.metrics
        assert (moved.alone, moved.kept) == (metrics["alone.too_short.documents"], metrics["kept.documents"])
        assert moved.present == (moved.value == 20)
    assert tally.together.diagonal().tolist() == [one.alone for one in tally.filters]
    assert sum(int(one.bins.sum()) + one.absent for one in tally.filters if not one.words) == 3 * tally.documents


def test_samples_are_of_the_documents_that_it_says(annotated: Artifact[Corpus], tmp_path: Path):
    tables = {table.caption: table for table in read_sections(explained(annotated, tmp_path / "e"))[-1].tables}
    texts = {one.id: one.text for one in read_documents(annotated)}
    assert {row[0] for row in tables["rejected by other_language"].rows} == {"d32"}
    for table in tables.values():
        for id, text in table.rows:
            assert texts[str(id)].startswith(str(text).replace(" ⏎ ", "\n"))


def test_a_corpus_without_annotations_is_one_sentence(annotated: Artifact[Corpus], tmp_path: Path):
    with pytest.raises(BunbukuError, match="was not measured by 'compression_ratio'"):
        explained(annotated, tmp_path / "e", filters=[{"type": "odd_compression"}])


@given(st.lists(st.text(max_size=5), unique=True, max_size=30), st.integers(0, 8), st.randoms())
def test_samples_do_not_depend_on_the_order(ids: list[str], size: int, random: Any):
    shuffled = list(ids)
    random.shuffle(shuffled)
    chosen = [Sampled(size), Sampled(size)]
    for sampled, order in zip(chosen, (ids, shuffled), strict=True):
        for id in order:
            sampled.add(id)
    assert chosen[0].ids == chosen[1].ids and len(chosen[0].ids) == min(size, len(ids))


def test_every_threshold_is_moved():
    assert len(moves(Bounds(low=20, high=90))) == 2 * len(FACTORS)
    assert moves(Bounds()) == [] and [value for _, value, _ in moves(Bounds(high=0))] == [0]
