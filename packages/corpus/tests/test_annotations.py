"""Measuring and deciding apart give what cleaning gives, and can be decided again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft, load
from bunbuku_corpus import (
    AnnotateConfig,
    AnnotateRun,
    CleanConfig,
    DecideConfig,
    ExplainConfig,
    GatherConfig,
    annotate,
    clean,
    decide,
    explain,
    gather,
    read_documents,
)
from bunbuku_corpus.annotations import Annotator, values_of
from bunbuku_corpus.batches import BATCH_CHARS, BatchWriter, read_batches
from bunbuku_corpus.document import read_rows
from bunbuku_corpus.filters import AnyFilter, KanaRatio
from bunbuku_corpus.policy import measures_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

PROSE = (
    "今日は朝から雨が降っていたので、外に出るのをやめて家で本を読んだ。",
    "駅前の新しい食堂では、安くておいしい定食が毎日食べられる。",
    "来週の会議で使う資料を、明日までに準備しておかなければならない。",
)
AWFUL = (
    "短い",
    "安い！安い！安い！安い！安い！" * 4,
    "This is English, not Japanese, whatever its label says.",
    "12345678901234567890 12345 67890",
    "送料無料 激安セール 今すぐ購入 カートに入れる ポイント還元",
    "縺薙ｓ縺ｫ縺｡縺ｯ縲∽ｻ頑律縺ｯ縺ｩ縺",
    "",
)
FILTERS: list[dict[str, Any]] = [
    {"type": "too_short", "min_chars": 20},
    {"type": "other_language"},
    {"type": "too_little_kana", "languages": ["ja"]},
    {"type": "repeated_ngrams", "n": 4},
    {"type": "listed_words", "vocabulary": "advertising"},
    {"type": "mojibake"},
    {"type": "other_top_level_domain"},
]
MEASURES = [
    one.measure.model_dump() for one in TypeAdapter(list[AnyFilter]).validate_python(FILTERS)
]  # what these filters judge by
ANNOTATE = AnnotateConfig.model_validate({"measures": MEASURES})


def corpus_of(folder: Path, texts: list[str], **fields: str) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"d{n}", "text": text, "licence": "MIT", **fields} for n, text in enumerate(texts)]
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(), source)


def rows_of(artifact: Artifact[Corpus], part: str, *columns: str) -> list[dict[str, Any]]:
    if part not in artifact.manifest.parts:
        return []
    return list(read_rows(artifact, part, ("id", "text", "source", "url", "licence", "language", *columns)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)
@given(texts=st.lists(st.sampled_from([*PROSE, *AWFUL]), max_size=12), count=st.integers(0, len(FILTERS)))
def test_annotating_and_deciding_is_cleaning(texts: list[str], count: int, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("run")
    raw = corpus_of(folder, [PROSE[0], *texts], url="https://example.jp/")
    policy = {"filters": FILTERS[:count]}
    cleaned = clean(folder / "clean", CleanConfig.model_validate(policy), raw)
    decided = decide(folder / "decided", DecideConfig.model_validate(policy), annotate(folder / "a", ANNOTATE, raw))
    assert rows_of(decided, "data") == rows_of(cleaned, "data")
    assert rows_of(decided, "dropped", "reason") == rows_of(cleaned, "dropped", "reason")
    counts = {name: value for name, value in cleaned.manifest.metrics.items() if not name.startswith("normalization")}
    assert decided.manifest.metrics == counts


def test_annotations_are_columns_beside_the_documents(tmp_path: Path):
    annotated = annotate(tmp_path / "a", ANNOTATE, corpus_of(tmp_path, ["か\u3099っこう abc", ""]))
    [file] = annotated.files()
    columns = ["text", "annotations.kana_ratio", "annotations.characters"]
    table = pq.ParquetFile(annotated.path(file)).read(columns)
    assert table.to_pylist() == [
        {"text": "がっこう abc", "annotations": {"kana_ratio": 4 / 7, "characters": 8}},
        {"text": "", "annotations": {"kana_ratio": None, "characters": 0}},
    ]
    made_by = json.loads(pq.read_schema(annotated.path(file)).metadata[b"bunbuku.annotations"])
    assert made_by["repeated_ngram_ratio_4"] == {"type": "repeated_ngram_ratio", "n": 4, "revision": 1}
    assert [one.text for one in read_documents(annotated)] == ["がっこう abc", ""]


def test_another_policy_is_decided_from_the_same_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    annotated = annotate(tmp_path / "a", ANNOTATE, corpus_of(tmp_path, [*PROSE, *AWFUL]))

    def measured_again(*_: object) -> None:
        raise AssertionError("nothing may be measured again")

    monkeypatch.setattr(KanaRatio, "of", measured_again)
    kept: list[int] = []
    for ratio in (0.1, 0.5, 0.6):
        policy = DecideConfig.model_validate({"filters": [{"type": "too_little_kana", "min_ratio": ratio}]})
        kept.append(len(rows_of(decide(tmp_path / f"{ratio}", policy, annotated), "data")))
    assert kept == sorted(kept, reverse=True) and len(set(kept)) > 1


def test_dropped_documents_can_be_decided_about_anew(tmp_path: Path):
    annotated = annotate(tmp_path / "a", ANNOTATE, corpus_of(tmp_path, [*PROSE, *AWFUL]))
    strict = decide(tmp_path / "strict", DecideConfig.model_validate({"filters": FILTERS}), annotated)
    dropped = load(strict.dir, Corpus, part="dropped")
    lenient = decide(tmp_path / "lenient", DecideConfig.model_validate({"filters": FILTERS[:1]}), dropped)
    assert {row["reason"] for row in rows_of(lenient, "dropped", "reason")} == {"too_short"}
    assert len(rows_of(lenient, "data")) + len(rows_of(lenient, "dropped")) == len(rows_of(strict, "dropped"))


def test_a_measure_that_was_not_taken_is_one_sentence(tmp_path: Path):
    raw = corpus_of(tmp_path, list(PROSE))
    annotated = annotate(tmp_path / "a", ANNOTATE, raw)
    policy = DecideConfig.model_validate({"filters": [{"type": "repeated_ngrams", "n": 17}]})
    with pytest.raises(
        BunbukuError,
        match=r"was not measured by 'repeated_ngram_ratio_17'.*it has character_variety_150, character_variety_200, characters",
    ):
        decide(tmp_path / "d", policy, annotated)
    with pytest.raises(BunbukuError, match="has no annotations"):
        decide(tmp_path / "d", DecideConfig(), raw)


def test_annotations_of_an_older_measure_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    annotated = annotate(tmp_path / "a", ANNOTATE, corpus_of(tmp_path, list(PROSE)))
    monkeypatch.setattr(KanaRatio, "revision", 2)
    with pytest.raises(BunbukuError, match=r"'kana_ratio' of .* was measured as .*'revision': 1"):
        decide(tmp_path / "d", DecideConfig(), annotated)


def test_the_number_of_workers_and_of_rows_in_a_shard_changes_no_value(tmp_path: Path):
    texts = [f"{PROSE[n % 3]}{n}" * (1 + n % 7) for n in range(1300)] + list(AWFUL)
    raw = corpus_of(tmp_path, texts)
    one = annotate(tmp_path / "one", ANNOTATE, raw)
    two = annotate(tmp_path / "two", ANNOTATE, raw, run=AnnotateRun(workers=2))
    assert one.content == two.content
    small = gather(tmp_path / "small", GatherConfig(rows_per_shard=100), tmp_path / "texts.jsonl")
    many = annotate(tmp_path / "many", ANNOTATE, small)
    assert [file.rows for file in many.files()] == [100] * 13 + [7]
    assert [file.path for file in many.files()] == [file.path for file in small.files()]
    assert rows_of(many, "data", "annotations") == rows_of(one, "data", "annotations")


def test_a_batch_is_a_pure_function_of_its_rows_and_carries_other_columns(tmp_path: Path):
    raw = corpus_of(tmp_path, [*PROSE, "あ" * (BATCH_CHARS + 1), *PROSE])
    batches = list(read_batches(raw))
    assert [batch.num_rows for batch in batches] == [3, 1, 3]
    annotator = Annotator(ANNOTATE, ANNOTATE.measures)
    batch = batches[0].append_column("cluster", batches[0].column("id"))
    first = annotator(batch)
    assert first.equals(annotator(batch)) and first.schema.names[-2:] == ["cluster", "annotations"]
    filters = TypeAdapter(list[AnyFilter]).validate_python(FILTERS)
    assert set(values_of(first, filters)) == set(measures_of(filters))
    assert annotator(first).column("annotations").equals(first.column("annotations"))


def test_presets_are_written_out_in_the_recipe(tmp_path: Path):
    config = AnnotateConfig.model_validate({"presets": ["llm-jp-v1"]})
    assert "compression_ratio" in {one.name for one in config.measures}
    assert AnnotateConfig.model_validate(config.model_dump()) == config
    with pytest.raises(ValidationError, match="llm-jp-v1"):
        AnnotateConfig.model_validate({"presets": ["llm-jp"]})


@pytest.mark.parametrize("damage", ["empty", "cut", "column"])
def test_a_damaged_shard_is_one_sentence(tmp_path: Path, damage: str):
    raw = corpus_of(tmp_path, list(PROSE))
    [file] = raw.files()
    path = raw.path(file)
    whole = path.read_bytes()
    path.chmod(0o644)
    if damage == "column":
        pq.write_table(pq.read_table(path).drop_columns(["text"]), path)
    else:
        path.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    messages = {
        "empty": "does not read as Parquet: it is empty",
        "cut": "does not read as Parquet",
        "column": "no column 'text'",
    }
    with pytest.raises(BunbukuError, match=messages[damage]):
        annotate(tmp_path / "a", ANNOTATE, raw)
    assert not (tmp_path / "a").exists()


def test_a_writer_cuts_shards_where_it_is_told(tmp_path: Path):
    raw = corpus_of(tmp_path, list(PROSE))
    draft = Draft(tmp_path / "draft", tmp_path / "draft" / "scratch")
    draft.dir.mkdir()
    with BatchWriter(draft, rows_per_shard=2) as writer:
        for batch in read_batches(raw):
            writer.add(batch)
    assert [pq.read_metadata(path).num_rows for path in sorted(draft.dir.glob("*.parquet"))] == [2, 1]


def _scored(tmp_path: Path, folder: str, scores: Sequence[float | None]) -> Artifact[Corpus]:
    """An annotated corpus with a score and a probability of somebody else's beside each document."""
    raw = corpus_of(tmp_path / folder, list(PROSE))
    [file] = raw.files()
    table = pq.read_table(raw.path(file))
    bad = [{"good": 1 - (one or 0), "bad": one} for one in scores]
    scored = table.append_column("bits_per_byte", pa.array(scores, pa.float32())).append_column(
        "quality", pa.array(bad)
    )
    raw.path(file).chmod(0o644)
    pq.write_table(scored, raw.path(file))
    return raw


def test_a_number_in_a_column_of_others_is_judged_alike_by_clean_decide_and_explain(tmp_path: Path):
    raw = _scored(tmp_path, "raw", [0.5, 3.0, None])
    annotated = annotate(tmp_path / "annotated", ANNOTATE, raw)
    for name, values_in in (("plain", "bits_per_byte"), ("nested", "quality.bad")):
        policy = {"filters": [{"type": "odd_value", "values_in": values_in, "max_value": 2.0}]}
        decided = decide(tmp_path / name / "decided", DecideConfig.model_validate(policy), annotated)
        cleaned = clean(tmp_path / name / "clean", CleanConfig.model_validate(policy), raw)
        explained = explain(tmp_path / name / "why", ExplainConfig.model_validate(policy), annotated)
        for one in (decided, cleaned):
            assert [row["reason"] for row in read_rows(one, "dropped", ("reason",))] == [f"odd_value_{values_in}"]
            assert one.manifest.metrics["kept.documents"] == 2
        assert explained.manifest.metrics["kept.documents"] == 2
        assert explained.manifest.metrics[f"alone.odd_value_{values_in}.documents"] == 1


@pytest.mark.parametrize(
    ("values_in", "problem"),
    [
        ("surprise", "has no column 'surprise'"),
        ("quality.best", "has no column 'quality.best'"),
        ("url", "is string, no"),
    ],
)
def test_a_column_that_is_not_there_or_no_number_is_one_sentence(tmp_path: Path, values_in: str, problem: str):
    raw = _scored(tmp_path, "raw", [0.5, 3.0, None])
    policy = {"filters": [{"type": "odd_value", "values_in": values_in, "min_value": 0.1}]}
    with pytest.raises(BunbukuError, match=problem):
        decide(tmp_path / "decided", DecideConfig.model_validate(policy), raw)
    with pytest.raises(BunbukuError, match=problem):
        clean(tmp_path / "clean", CleanConfig.model_validate(policy), raw)
    with pytest.raises(ValidationError, match="needs a `min_value` or a `max_value`"):
        DecideConfig.model_validate({"filters": [{"type": "odd_value", "values_in": values_in}]})
