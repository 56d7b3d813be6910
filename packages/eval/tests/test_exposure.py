"""Exposure and accuracy joined fact by fact; licences that forbid; an engine that breaks down midway."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Config, Draft, Report, read_sections, stage
from bunbuku_eval import ExposureConfig, ScoreConfig, exposure, score
from bunbuku_eval.exposures import Fact, half_known
from bunbuku_eval.models import outcomes
from bunbuku_inference import EngineError, Score

WAY = ("m", "facts", "generation", "chat")


class Counts(Config):
    counts: tuple[int, ...]


@stage("corpus.coverage")
def covered(draft: Draft, config: Counts) -> Report:
    rows = [{"id": f"f{n}", "subject": "x", "exposures": count} for n, count in enumerate(config.counts)]
    pq.write_table(pa.Table.from_pylist(rows), draft.dir / "facts.parquet")
    return Report(title="coverage")


@stage("eval.score")
def known(draft: Draft, config: Counts) -> Report:
    """A fact said ten times or more is known."""
    rows = [
        {"model": "m", "task": "facts", "mode": "generation", "style": "chat", "id": f"f{n}"}
        | {"strict": float(count >= 10), "lenient": float(count >= 10)}
        for n, count in enumerate(config.counts)
    ]
    pq.write_table(pa.Table.from_pylist(rows), draft.dir / "items.parquet")
    draft.count(draft.dir / "items.parquet", rows=len(rows), part="items")
    return Report(title="scores")


COUNTS = (0, 0, 1, 2, 4, 8, 9, 10, 11, 12, 20, 40, 100, 400)


def test_accuracy_is_given_by_exposure_with_the_point_where_half_are_known(place) -> None:
    coverage, scores = covered(place("coverage"), Counts(counts=COUNTS)), known(place("known"), Counts(counts=COUNTS))
    report = exposure(place("exposure"), ExposureConfig(bins=(0, 1, 10, 100)), coverage, {"m": scores})
    metrics = report.manifest.metrics
    name = ".".join(WAY)
    assert [metrics[f"lenient.{name}.from_{start}"] for start in (0, 1, 10, 100)] == [0, 0, 1, 1]
    assert 7 < metrics[f"half_known.{name}"] < 12
    assert metrics[f"half_known.{name}.low"] <= metrics[f"half_known.{name}"] <= metrics[f"half_known.{name}.high"]
    assert 0.8 < metrics[f"ranks.{name}"] < 1
    groups, _ = read_sections(report)[0].tables
    assert [row[4:6] for row in groups.rows] == [("0", 2), ("1 to 9", 5), ("10 to 99", 5), ("100 or more", 2)]
    again = exposure(place("exposure"), ExposureConfig(bins=(0, 1, 10, 100)), coverage, {"m": scores})
    assert again.content == report.content


def test_other_ids_and_another_column_are_one_sentence(place) -> None:
    coverage = covered(place("coverage"), Counts(counts=COUNTS))
    with pytest.raises(BunbukuError, match="has no column 'documents'"):
        exposure(
            place("e"), ExposureConfig(count="documents"), coverage, {"m": known(place("k"), Counts(counts=COUNTS))}
        )
    with pytest.raises(BunbukuError, match="there are no scores"):
        exposure(place("e"), ExposureConfig(), coverage, {})


def test_the_interval_of_the_half_holds_it_as_often_as_it_says() -> None:
    random, inside, told = np.random.default_rng(3), 0, 0
    for trial in range(60):
        exposures = np.expm1(random.uniform(0, 6, 80)).astype(int)
        chance = 1 / (1 + np.exp(-1.5 * (np.log1p(exposures) - math.log1p(20))))
        facts = [
            Fact(WAY, str(n), int(count), float(hit), float(hit))
            for n, (count, hit) in enumerate(zip(exposures, random.random(80) < chance, strict=True))
        ]
        found = half_known(facts, rounds=200, seed=trial)
        if found is not None:
            told += 1
            inside += found.low <= 20 <= found.high
    assert told >= 57
    assert inside / told >= 0.85


def test_a_half_is_not_made_up_where_nothing_rises() -> None:
    random = np.random.default_rng(5)
    flat = [Fact(WAY, str(n), n, float(hit), float(hit)) for n, hit in enumerate(random.random(60) < 0.5)]
    assert half_known(flat, rounds=200, seed=0) is None
    assert half_known(flat[:5], rounds=200, seed=0) is None
    assert half_known([Fact(WAY, str(n), n, 1.0, 1.0) for n in range(40)], rounds=50, seed=0) is None


# Licences.


def test_data_that_may_not_be_used_commercially_are_refused_until_accepted(place, models, tmp_path, talk) -> None:
    row = {"id": "1", "question": "亀は飛ぶ？", "correct": ["いいえ、飛びません"], "incorrect": ["はい、飛びます"]}
    (tmp_path / "t.jsonl").write_text(json.dumps(row), encoding="utf-8")
    task = {"type": "truth", "file": "t.jsonl", "terms": "CC-BY-NC-SA-4.0"}
    config = {"tasks": [task], "styles": ["chat"], "bootstrap_rounds": 20}
    run = talk(lambda prompt, seed: "いいえ、飛びません。")
    with pytest.raises(BunbukuError, match=r"has data under CC-BY-NC-SA-4\.0"):
        score(place("s"), ScoreConfig.model_validate(config), {"m": models["first"]}, tmp_path, run=run)
    accepted = ScoreConfig.model_validate(config | {"accept_licences": ["CC-BY-NC-SA-4.0"]})
    report = score(place("s"), accepted, {"m": models["first"]}, tmp_path, run=run)
    assert report.spec.licences == ("CC-BY-NC-SA-4.0", "CC0-1.0")  # of the questions, and of the model


def test_tasks_that_are_made_need_no_folder(place, models, talk) -> None:
    config = ScoreConfig.model_validate(
        {
            "tasks": [{"type": "memory", "count": 8}, {"type": "system_prompts", "count": 8}],
            "styles": ["chat"],
            "bootstrap_rounds": 20,
        }
    )
    report: Artifact[Report] = score(
        place("s"), config, {"m": models["first"]}, run=talk(lambda prompt, seed: "わかりません")
    )
    metrics = report.manifest.metrics
    assert metrics["lenient.m.memory.generation.chat"] == 0
    assert report.spec.licences == ("Apache-2.0", "CC0-1.0")  # of the instructions, and of the model


# An engine that breaks down.


def test_an_engine_that_breaks_down_midway_fails_the_rest_alone() -> None:
    def down(requests):
        raise EngineError("the server is gone")

    with pytest.raises(EngineError):
        outcomes(down, ["a"], begun=False)
    assert [one.detail for one in outcomes(down, ["a", "b"], begun=True) if not isinstance(one, Score)] == [
        "the server is gone"
    ] * 2
