"""Whole runs of one rank: phases, packing, what was seen, what is kept of a run that is gone on from.

Ranks are started few times: what several tests look at is made once.
"""

import math
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import (
    Artifact,
    ArtifactError,
    BunbukuError,
    Checkpoint,
    Config,
    ConfigError,
    Corpus,
    Draft,
    Tokenizer,
    Tokens,
    load,
    read_sections,
    stage,
)
from bunbuku_pretrain import (
    AdamW,
    Linear,
    ModelShape,
    Phase,
    SeenConfig,
    TokenizeConfig,
    TrainConfig,
    TrainRun,
    seen,
    tokenize,
    train,
)
from bunbuku_pretrain.indexed import IndexedFile
from bunbuku_pretrain.job import TrainState, read_state

pytestmark = pytest.mark.slow

RUN = TrainRun(micro_batch_sequences=2, checkpoint_interval_steps=5)
MIX = {"web": 3.0, "wiki": 1.0}
STEPS, SKIPPED = 14, (3, 4)


class TextsConfig(Config):
    texts: dict[str, tuple[str, ...]]


@stage("test.texts")
def make_texts(draft: Draft, config: TextsConfig) -> Corpus:
    """A part of the corpus for every name; those of validation have a domain."""
    for part, texts in config.texts.items():
        path = draft.dir / part / "part-00000.parquet"
        path.parent.mkdir()
        constant = {"source": "test", "url": None, "licence": "CC0", "language": "ja"}
        rows = [
            {"id": f"{part}:{row}", "text": text, "domain": ("web", "wiki")[row % 2], **constant}
            for row, text in enumerate(texts)
        ]
        pq.write_table(pa.Table.from_pylist(rows), path)
        draft.count(path, rows=len(rows), part=part)
    return Corpus()


@pytest.fixture(scope="module")
def texts(made: Path, tiny: SimpleNamespace) -> Artifact[Corpus]:
    """Two of the documents to measure on are among those to train on."""
    counts = {"web": 60, "wiki": 25, "validation": 8}
    found = {part: tuple(tiny.documents(count, seed)) for seed, (part, count) in enumerate(counts.items())}
    found["validation"] += (found["web"][0], found["wiki"][0])
    return make_texts(made / "texts", TextsConfig(texts=found))


@pytest.fixture(scope="module")
def parts(made: Path, texts: Artifact[Corpus], tokenizer: Artifact[Tokenizer]) -> Artifact[Tokens]:
    config = TokenizeConfig(parts=("web", "wiki", "validation"), validation_column="domain")
    return tokenize(made / "parts", config, texts, tokenizer)


def config(**changes: Any) -> TrainConfig:
    fields: dict[str, Any] = {
        "model": ModelShape(layers=2, hidden_size=32, ffn_size=48, heads=4, kv_heads=2),
        "sequence_length": 32,
        "batch_tokens": 256,
        "optimizer": AdamW(learning_rate=5e-3),
        "schedule": Linear(warmup_tokens=512, final=0.1),
        "seed": 3,
    }
    return TrainConfig(**fields | changes)


FIRST = Phase(name="short", tokens=4 * 256, mix=MIX)
SECOND = Phase(name="long", tokens=4 * 256, mix={"web": 1.0, "wiki": 1.0}, sequence_length=64, rope_theta=5e5)
BOUNDS = {"eps": 1e-5, "clip": 0.5}
GOING_ON = {"shuffle_tokens": 64, "schedule_tokens": 8 * 256}


@pytest.fixture(scope="module")
def planned(made: Path, parts: Artifact[Tokens], tokenizer: Artifact[Tokenizer]) -> Artifact[Checkpoint]:
    second = SECOND.model_copy(update=BOUNDS)
    return train(made / "planned", config(phases=(FIRST, second)), parts, tokenizer, run=RUN)


@pytest.fixture(scope="module")
def half(made: Path, parts: Artifact[Tokens], tokenizer: Artifact[Tokenizer]) -> Artifact[Checkpoint]:
    return train(made / "half", config(phases=(FIRST,), **GOING_ON), parts, tokenizer, run=RUN)


@pytest.fixture(scope="module")
def packed(made: Path, parts: Artifact[Tokens], tokenizer: Artifact[Tokenizer]) -> Artifact[Checkpoint]:
    phase = Phase(name="packed", tokens=STEPS * 256, mix=MIX)
    packing = config(phases=(phase,), packing="best_fit", skip_steps=(SKIPPED,), validation_interval_steps=7)
    return train(made / "packed", packing, parts, tokenizer, run=RUN)


def tensors(artifact: Artifact[Checkpoint]) -> dict[str, str]:
    return {file.path: file.sha256 for file in artifact.manifest.files if file.path.endswith(".distcp")}


def rows(artifact: Artifact[Checkpoint]) -> list[dict[str, Any]]:
    (file,) = artifact.files("seen")
    return pq.read_table(artifact.path(file)).to_pylist()


def test_a_run_that_keeps_all_goes_on_to_the_bytes_of_the_run_that_was_planned_so(
    made: Path,
    parts: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    planned: Artifact[Checkpoint],
    half: Artifact[Checkpoint],
) -> None:
    own = AdamW(learning_rate=5e-3, **BOUNDS)
    kept = ("optimizer", "sampler", "schedule")
    keeping = config(model=None, phases=(SECOND,), optimizer=own, keep=kept, **GOING_ON)
    rest = train(made / "rest", keeping, parts, tokenizer, half, run=RUN)
    assert tensors(rest) == tensors(planned) != tensors(half)
    assert (rest.spec.step, rest.spec.tokens_seen) == (planned.spec.step, planned.spec.tokens_seen) == (8, 2048)
    assert rest.spec.architecture == planned.spec.architecture
    ends = [read_state(one.dir) for one in (rest, planned)]
    assert ends[0].sampler == ends[1].sampler and ends[0].schedule_tokens == ends[1].schedule_tokens == 2048
    assert rest.manifest.recipe.inputs["start"] == half.content


def test_length_and_rotary_positions_change_in_one_run_and_are_told(
    planned: Artifact[Checkpoint], half: Artifact[Checkpoint]
) -> None:
    assert (half.spec.architecture.rope_theta, half.spec.architecture.max_positions) == (1e4, 32)
    assert (planned.spec.architecture.rope_theta, planned.spec.architecture.max_positions) == (5e5, 64)
    (table, *_) = read_sections(planned)[1].tables
    assert [row[:6] for row in table.rows] == [("short", 1, 4, 1024, 32, 256), ("long", 5, 8, 2048, 64, 256)]


def test_weights_of_other_rotary_positions_than_they_say_are_refused_unless_a_phase_asks(
    tmp_path: Path, parts: Artifact[Tokens], tokenizer: Artifact[Tokenizer], half: Artifact[Checkpoint]
) -> None:
    shutil.copytree(half.dir, tmp_path / "forged")
    state = tmp_path / "forged" / "state.json"
    state.write_text(state.read_text().replace('"rope_theta":10000.0', '"rope_theta":20000.0'))
    forged = load(tmp_path / "forged", Checkpoint)
    with pytest.raises(BunbukuError, match=r"was trained with `rope_theta` 20000, and is to be loaded with 10000"):
        train(tmp_path / "out", config(model=None, phases=(FIRST,)), parts, tokenizer, forged, run=RUN)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"keep": ("sampler",), "seed": 4}, "read in the order of `seed` 3, and this run has 4"),
        (
            {"keep": ("sampler",), "packing": "best_fit"},
            "the order of `packing` concatenate, and this run has best_fit",
        ),
        (
            {"keep": ("sampler",), "sequence_length": 128},
            "was shuffled in blocks of 64 tokens, which is no multiple of the sequence length 128",
        ),
    ],
)
def test_an_order_that_cannot_be_kept_is_refused(
    tmp_path: Path,
    parts: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    half: Artifact[Checkpoint],
    changes: dict[str, Any],
    problem: str,
) -> None:
    with pytest.raises(ConfigError, match=problem):
        train(tmp_path / "out", config(model=None, phases=(FIRST,), **changes), parts, tokenizer, half, run=RUN)


def test_nothing_is_kept_of_what_has_weights_alone(
    tmp_path: Path, parts: Artifact[Tokens], tokenizer: Artifact[Tokenizer], mixture_start: Artifact[Checkpoint]
) -> None:
    keeping = config(model=None, phases=(FIRST,), keep=("optimizer",))
    with pytest.raises(ConfigError, match=r"`optimizer` is to be kept of .*, which has weights alone"):
        train(tmp_path / "out", keeping, parts, tokenizer, mixture_start, run=RUN)
    with pytest.raises(ConfigError, match="`optimizer` is to be kept, and no checkpoint"):
        train(tmp_path / "out", config(phases=(FIRST,), keep=("optimizer",)), parts, tokenizer, run=RUN)


def test_every_held_out_part_is_measured_in_nats_a_token_and_bits_a_byte(
    packed: Artifact[Checkpoint], parts: Artifact[Tokens]
) -> None:
    metrics, sizes = packed.manifest.metrics, parts.manifest.metrics
    names = ("validation-web", "validation-wiki")
    predictions = {name: sizes[f"{name}.tokens"] - sizes[f"{name}.documents"] for name in names}
    for name in names:
        bits = metrics[f"validation.{name}.loss"] * predictions[name] / math.log(2) / sizes[f"{name}.bytes"]
        assert metrics[f"validation.{name}.bits_per_byte"] == pytest.approx(bits)
    whole = sum(metrics[f"validation.{name}.loss"] * predictions[name] for name in names)
    assert metrics["validation.loss"] == pytest.approx(whole / sum(predictions.values()))
    curves = {curve.name: curve.points for curve in read_sections(packed)[0].curves}
    assert [x for x, _ in curves["validation-wiki"]] == [0, 7 * 256, 14 * 256]
    assert curves["bits per byte"][-1][1] == pytest.approx(metrics["validation.bits_per_byte"])


def test_documents_are_packed_whole_and_filling_counts_nothing(
    packed: Artifact[Checkpoint], parts: Artifact[Tokens]
) -> None:
    metrics = packed.manifest.metrics
    assert 0.9 < metrics["text.web.fill"] <= 1
    lengths = IndexedFile(parts.dir / "web").lengths
    assert metrics["text.web.cut"] == pytest.approx(np.mean(lengths > 33))
    taken = (STEPS - 2) * 256
    assert 0.85 * taken < metrics["train.counted_tokens"] < taken


def test_what_was_seen_is_exact(packed: Artifact[Checkpoint], parts: Artifact[Tokens]) -> None:
    """Every epoch that was read to its end has every token of every document once, and nothing is in two rows."""
    found = rows(packed)
    for part in MIX:
        file = IndexedFile(parts.dir / part)
        begins = np.cumsum(file.lengths) - file.lengths
        own = [row for row in found if row["part"] == part]
        last = max(row["epoch"] for row in own)
        assert part == "wiki" or last >= 1
        for row in own:
            assert (
                begins[row["first_document"]]
                <= row["begin"]
                < begins[row["first_document"]] + file.lengths[row["first_document"]]
            )
            assert (
                begins[row["last_document"]]
                < row["end"]
                <= begins[row["last_document"]] + file.lengths[row["last_document"]]
            )
        for epoch in range(last):
            places = Counter(
                place for row in own if row["epoch"] == epoch for place in range(row["begin"] + 1, row["end"])
            )
            places.update(row["begin"] for row in own if row["epoch"] == epoch and row["begin"] in begins)
            assert set(places.values()) == {1} and len(places) == file.lengths.sum()
    passed = {(row["first_step"], row["last_step"]) for row in found if row["skipped"]}
    assert passed == {(3, 3), (4, 4)}


def test_a_document_is_found_by_its_id(
    packed: Artifact[Checkpoint],
    texts: Artifact[Corpus],
    parts: Artifact[Tokens],
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen(SeenConfig(id="wiki:7"), packed, texts)
    shown = capsys.readouterr().out
    times = sum(row["part"] == "wiki" and row["first_document"] <= 7 <= row["last_document"] for row in rows(packed))
    assert f"{times:,} rows" in shown
    seen(SeenConfig(part="web", first_step=3, last_step=3, most_rows=1), packed, texts)
    shown = capsys.readouterr().out
    assert "3-3" in shown and "passed" in shown and "web:" in shown
    with pytest.raises(ArtifactError, match="has no document 'wiki:700'"):
        seen(SeenConfig(id="wiki:700"), packed, texts)


def test_documents_in_training_and_validation_are_counted_and_refused_if_asked(
    tmp_path: Path,
    packed: Artifact[Checkpoint],
    texts: Artifact[Corpus],
    parts: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
) -> None:
    held, web = (
        [row for file in texts.files(part) for row in pq.read_table(texts.path(file)).to_pylist()]
        for part in ("validation", "web")
    )
    there = {row["text"] for row in web}
    for domain in ("web", "wiki"):
        expected = sum(row["text"] in there for row in held if row["domain"] == domain)
        assert packed.manifest.metrics[f"overlap.validation-{domain}.web"] == expected
    assert packed.manifest.metrics["overlap.validation-web.web"] >= 1
    with pytest.raises(BunbukuError, match=r"documents of part 'validation-.*' are in part '(web|wiki)' too"):
        train(tmp_path / "out", config(phases=(FIRST,), overlap="refuse"), parts, tokenizer, run=RUN)


def test_states_of_older_runs_are_read() -> None:
    assert TrainState.model_validate_json('{"step":3,"tokens":7}').sampler is None
