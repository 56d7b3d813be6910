"""The bridge to lm-evaluation-harness: the same checkpoint and questions through both, and its format."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_eval import EvalRun, ExportConfig, HarnessConfig, ScoreConfig, export, harness, score
from bunbuku_inference import TransformersEngine

# Two models are loaded by both; the documentation's own page exports in the default suite.
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
WORDS = ("水", "米", "空", "花", "本")
LABELS = ("entailment", "contradiction", "neutral")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files in the shape of JCommonsenseQA's and JNLI's, made here."""
    folder = tmp_path_factory.mktemp("data")
    questions = [
        {"q_id": n, "question": f"{'猫犬鳥'[n % 3]}が好きなのは？", "label": n % 5,
         **{f"choice{at}": WORDS[(at + n) % 5] for at in range(5)}} for n in range(15)
    ]  # fmt: skip
    pairs = [
        {"sentence_pair_id": f"p{n}", "sentence1": f"猫は{WORDS[n % 5]}が好き。", "sentence2": f"犬は{WORDS[n % 3]}が好き。",
         "label": LABELS[n % 3]} for n in range(12)
    ]  # fmt: skip
    for name, rows in (("jcommonsenseqa-v1.3-valid.jsonl", questions), ("jnli-v1.3-valid.json", pairs)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def scored(place, models, data):
    """Two tasks in both modes, with short prompts, since the models know 128 positions."""
    terse = {"name": "terse", "instruction": "", "input": "{question}{list}"}
    pair = {"name": "terse", "instruction": "", "input": "{premise}{hypothesis}"}
    tasks = [
        {"type": "jcommonsenseqa", "phrasings": [terse], "max_tokens": 4},
        {"type": "jnli", "phrasings": [pair], "max_tokens": 4},
    ]
    wanted = ScoreConfig.model_validate(
        {"tasks": tasks, "styles": ["plain"], "modes": ["generation", "likelihood"], "bootstrap_rounds": 50}
    )
    run = EvalRun(engine=TransformersEngine(threads=1, device="cpu"))
    return score(place("score"), wanted, models, data, run=run)


def test_answer_by_answer_the_harness_says_the_same(place, scored, models) -> None:
    pytest.importorskip("lm_eval")
    report = harness(place("harness"), HarnessConfig(), scored, models)
    rows = pq.read_table(report.dir / "items.parquet").to_pylist()
    assert len(rows) == 2 * 2 * (15 + 12)
    likelihood = [row for row in rows if "_likelihood_" in row["task"]]
    assert max(row["logprob_gap"] for row in likelihood) < 1e-4
    assert all(row["ours"] == row["theirs"] for row in likelihood)
    assert all(row["same"] for row in rows)
    assert all(row["our_score"] == row["their_score"] for row in likelihood)
    metrics = report.manifest.metrics
    for model in models:
        task = f"{model}.jcommonsenseqa_likelihood_plain_terse_0"
        assert metrics[f"ours.{task}"] == metrics[f"theirs.{task}"]
        said = json.loads((report.dir / "harness.json").read_text(encoding="utf-8"))[model]["results"]
        assert said["jcommonsenseqa_likelihood_plain_terse_0"]["acc,none"] == metrics[f"theirs.{task}"]


def test_exported_scores_are_what_the_harness_itself_writes_of_its_own(place, scored, models) -> None:
    exported = export(place("export"), ExportConfig(), scored)
    written = json.loads((exported.dir / "first" / "results.json").read_text(encoding="utf-8"))
    names = {
        f"{task}_{mode}_plain_terse_0" for task in ("jcommonsenseqa", "jnli") for mode in ("generation", "likelihood")
    }
    assert set(written["results"]) == names
    for task, found in written["results"].items():
        if "_likelihood_" in task:
            assert found["acc,none"] == scored.manifest.metrics[f"strict.first.{task.split('_')[0]}.likelihood.plain"]
        else:
            strict = scored.manifest.metrics[f"strict.first.{task.split('_')[0]}.generation.plain"]
            assert found["exact_match,strict"] == strict
            assert found["exact_match_stderr,lenient"] >= 0
    samples = (exported.dir / "first" / "samples_jnli_likelihood_plain_terse_0.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in samples.splitlines()]
    assert [row["doc_id"] for row in rows] == list(range(12))
    assert all(len(row["filtered_resps"]) == 3 and row["acc"] in (0, 1) for row in rows)


def test_the_harness_reads_what_is_exported(place, scored, models) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.utils import make_table

    exported = export(place("export"), ExportConfig(), scored)
    written = json.loads((exported.dir / "first" / "results.json").read_text(encoding="utf-8"))
    table = make_table(written)
    assert table.count("acc") == 2
    assert "jnli_generation_plain_terse_0" in table
    # Its own results of a task made here, without any download, have the same keys.
    task = {
        "task": "own", "dataset_path": "parquet", "test_split": "test", "output_type": "multiple_choice",
        "dataset_kwargs": {"data_files": {"test": str(_parquet(exported.dir.parent / "own.parquet"))}},
        "doc_to_text": "prompt", "doc_to_choice": "choices", "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    own: Any = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(models["first"].dir), "device": "cpu"},
        tasks=[task],
        bootstrap_iters=10,
    )
    named = "jnli_likelihood_plain_terse_0"
    assert set(written["results"][named]) == set(own["results"]["own"])
    assert set(written) - {"model_name", "model_name_sanitized", "model_source"} <= set(own)
    samples = (exported.dir / "first" / f"samples_{named}.jsonl").read_text(encoding="utf-8").splitlines()
    assert set(json.loads(samples[0])) == set(own["samples"]["own"][0])


def test_models_that_were_not_scored_are_named(place, scored, models) -> None:
    with pytest.raises(BunbukuError, match="is called so in plain style"):
        harness(place("harness"), HarnessConfig(), scored, {"stranger": models["first"]})


def _parquet(path):
    import pyarrow as pa

    pq.write_table(pa.table({"prompt": ["猫は"], "choices": [["水", "米"]], "answer": [0]}), path)
    return path
