"""Classifiers: features and models as others compute them, honest grades, and only what is bad is dropped."""

import json
from collections import Counter
from collections.abc import Sequence
from math import log
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Classifier, Corpus, load, read_sections
from bunbuku_corpus import (
    ClassifyConfig,
    ClassifyRun,
    GatherConfig,
    LearnConfig,
    classify,
    gather,
    learn,
    read_documents,
)
from bunbuku_corpus.batches import read_batches
from bunbuku_corpus.classifier import Linear, read_classifier, scores
from bunbuku_corpus.features import Features
from bunbuku_corpus.grading import calibration_error, cuts, grades, macro_f1
from bunbuku_corpus.labels import Example, LabelFields, fasttext_line, read_examples
from bunbuku_corpus.learning import sparse
from bunbuku_corpus.ngrams import codepoints, ngram_hashes
from hypothesis import given
from hypothesis import strategies as st

sklearn = pytest.importorskip("sklearn")

GOOD = (
    "雨が降ったので",
    "図書館で本を読み",
    "昔の町並みを歩き",
    "山の上から海を見て",
    "祖母に手紙を書き",
    "夕方まで畑で働き",
)
GOOD_ENDS = ("静かに過ごした。", "いろいろなことを考えた。", "とても楽しかった。", "家族に話して聞かせた。")
BAD = ("今だけ", "送料無料で", "限定価格", "クリックして", "登録するだけで", "在庫わずか")
BAD_ENDS = ("お得！！", "大特価セール中", "ポイント10倍♪", "今すぐ購入！")


def examples(count: int, seed: int = 0) -> list[dict[str, str]]:
    random = Random(seed)
    rows: list[dict[str, str]] = []
    for number in range(count):
        good = number % 2 == 0
        heads, ends = (GOOD, GOOD_ENDS) if good else (BAD, BAD_ENDS)
        text = "".join(random.choice(heads) + random.choice(ends) for _ in range(3)) + f"{number}"
        rows.append({"id": f"d{number}", "text": text, "label": "good" if good else "bad"})
    return rows


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def corpus_of(folder: Path, rows: Sequence[dict[str, Any]]) -> Artifact[Corpus]:
    source = lines(folder / "texts.jsonl", [{**row, "licence": "MIT", "language": "ja"} for row in rows])
    return gather(folder / "raw", GatherConfig(), source)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Artifact[Classifier]:
    folder = tmp_path_factory.mktemp("learned")
    config = LearnConfig(features=Features(slot_bits=12))
    return learn(folder / "classifier", config, lines(folder / "labels.jsonl", examples(200)))


@given(st.lists(st.text("あいうａＡ1\n", max_size=20), max_size=4), st.sampled_from([(1,), (1, 2, 3), (2, 4)]))
def test_features_are_those_of_a_brute_force_count(texts: list[str], ngrams: tuple[int, ...]):
    features = Features(ngrams=ngrams, slot_bits=20)
    rows = features.of(texts)
    assert len(rows.offsets) == len(texts) + 1
    for index, text in enumerate(texts):
        folded = text.replace("ａ", "a").replace("Ａ", "a")
        grams = Counter(folded[at : at + n] for n in ngrams for at in range(len(folded) - n + 1))
        slots = {gram: int(ngram_hashes(codepoints(gram), len(gram))[0] >> np.uint64(44)) for gram in grams}
        raw = {slots[gram]: 1 + log(count) for gram, count in grams.items()}
        length = sum(value**2 for value in raw.values()) ** 0.5
        mine = slice(rows.offsets[index], rows.offsets[index + 1])
        assert dict(zip(rows.slots[mine].tolist(), rows.values[mine].tolist(), strict=True)) == pytest.approx(
            {slot: value / length for slot, value in raw.items()}
        )


def test_scores_are_the_matrix_product():
    features = Features(slot_bits=10)
    rows = features.of(["吾輩は猫である", "", "名前はまだ無い"])
    weights = np.random.default_rng(0).normal(size=(features.slots, 3)).astype(np.float32)
    assert scores(rows, weights) == pytest.approx(sparse(rows, features.slots) @ weights, abs=1e-5)


def test_probabilities_are_those_of_the_library_at_temperature_one(learned: Artifact[Classifier]):
    linear = read_classifier(learned)
    from sklearn.linear_model import LogisticRegression

    rows = examples(200)
    matrix = sparse(linear.facts.features.of([row["text"] for row in rows]), linear.facts.features.slots)
    model: Any = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(matrix, [row["label"] for row in rows])
    weights = np.hstack([np.zeros_like(model.coef_.T), model.coef_.T]).astype(np.float32)
    facts = linear.facts.model_copy(update={"biases": (0.0, float(model.intercept_[0])), "temperature": 1.0})
    texts = [row["text"] for row in examples(20, seed=9)]
    expected = model.predict_proba(sparse(facts.features.of(texts), facts.features.slots))
    assert Linear(facts, weights).probabilities(texts) == pytest.approx(expected, abs=1e-5)


@given(st.integers(2, 4), st.integers(0, 1000))
def test_grades_are_those_of_the_library(labels: int, seed: int):
    from sklearn.metrics import f1_score, log_loss

    random = np.random.default_rng(seed)
    truth = random.integers(0, labels, 30)
    probabilities = random.dirichlet(np.ones(labels), 30)
    guesses = probabilities.argmax(axis=1)
    there = sorted({*truth.tolist(), *guesses.tolist()})
    assert macro_f1(guesses, truth, labels) == pytest.approx(f1_score(truth, guesses, labels=there, average="macro"))
    names = [str(n) for n in range(labels)]
    if seed < 10:
        found = {one.name: one for one in grades(probabilities, truth, names, seed=0)}
        assert found["log_loss"].value == pytest.approx(log_loss(truth, probabilities, labels=range(labels)))
        assert all(
            one.interval.low <= one.value <= one.interval.high for one in found.values() if one.name == "accuracy"
        )
    for one in cuts(probabilities, truth, names, (0.5,)):
        called = probabilities[:, int(one.label)] >= 0.5
        assert one.called == called.sum()
        assert one.precision == (None if not called.any() else pytest.approx((truth[called] == int(one.label)).mean()))


def test_calibration_error_is_nought_for_who_is_right_as_often_as_sure():
    probabilities = np.tile([[0.75, 0.25]], (400, 1))
    truth = np.tile([0, 0, 0, 1], 100)
    assert calibration_error(probabilities, truth) == pytest.approx(0, abs=0.02)
    assert calibration_error(np.tile([[1.0, 0.0]], (400, 1)), truth) == pytest.approx(0.25, abs=0.02)


def test_a_classifier_is_tested_on_texts_it_has_not_seen(learned: Artifact[Classifier]):
    metrics = learned.manifest.metrics
    assert learned.spec.labels == ("bad", "good")
    assert metrics["examples.train"] + metrics["examples.test"] == 200
    assert metrics["accuracy"] >= 0.95 and metrics["accuracy.low"] <= metrics["accuracy"] <= metrics["accuracy.high"]
    assert metrics["calibration_error"] <= 0.1
    titles = [section.title for section in read_sections(learned)]
    assert titles[2:] == ["What thresholds would do", "Where it is surest and wrong"]
    assert "<svg" in (learned.dir / "index.html").read_text(encoding="utf-8")


def test_the_same_examples_give_the_same_bytes(learned: Artifact[Classifier], tmp_path: Path):
    again = learn(
        tmp_path / "again", LearnConfig(features=Features(slot_bits=12)), lines(tmp_path / "l.jsonl", examples(200))
    )
    assert again.content == learned.content


def test_labels_may_name_documents(learned: Artifact[Classifier], tmp_path: Path):
    rows = examples(200)
    labels = lines(tmp_path / "labels.jsonl", [{"id": row["id"], "label": row["label"]} for row in rows])
    named = learn(tmp_path / "named", LearnConfig(features=Features(slot_bits=12)), labels, corpus_of(tmp_path, rows))
    assert (named.dir / "weights.npy").read_bytes() == (learned.dir / "weights.npy").read_bytes()


def test_only_the_label_that_is_named_is_dropped_however_sure_the_others_are(
    learned: Artifact[Classifier], tmp_path: Path
):
    rows = examples(60, seed=3)
    corpus = corpus_of(tmp_path, rows)
    done = classify(tmp_path / "done", ClassifyConfig(drop={"bad": 0.9}), corpus, learned)
    truth = {row["id"]: row["label"] for row in rows}
    kept = {one.id for one in read_documents(done)}
    dropped = {one.id for one in read_documents(done, "dropped")}
    assert kept | dropped == set(truth) and not kept & dropped
    assert {truth[id] for id in dropped} == {"bad"} and len(dropped) >= 20
    assert {id for id, label in truth.items() if label == "good"} <= kept
    sure = [
        row
        for batch in read_batches(done)
        for row in batch.to_pylist()
        if row["quality_probabilities"]["good"] > 0.9 and row["quality"] == "good"
    ]
    assert len(sure) >= 20
    assert done.manifest.metrics["dropped.classified_bad.documents"] == len(dropped)


def test_nothing_is_dropped_unless_it_is_asked_for_and_workers_change_no_byte(
    learned: Artifact[Classifier], tmp_path: Path
):
    corpus = corpus_of(tmp_path, examples(60))
    one = classify(tmp_path / "one", ClassifyConfig(), corpus, learned)
    assert len(list(read_documents(one))) == 60 and "dropped" not in one.manifest.parts
    two = classify(tmp_path / "two", ClassifyConfig(), corpus, learned, run=ClassifyRun(workers=2))
    assert one.content == two.content
    again = classify(tmp_path / "again", ClassifyConfig(), one, learned)
    assert again.content == one.content


def test_a_label_that_is_not_there_is_one_sentence(learned: Artifact[Classifier], tmp_path: Path):
    corpus = corpus_of(tmp_path, examples(2))
    with pytest.raises(BunbukuError, match="`drop` names the label 'awful'; the classifier knows 'bad', 'good'"):
        classify(tmp_path / "done", ClassifyConfig(drop={"awful": 0.9}), corpus, learned)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "has no line with 'label'"),
        ([{"text": "a", "label": "good"}] * 30, "every example is called 'good'"),
        ([{"text": "a", "label": "good"}, {"text": "b", "label": "bad"}], "5 and 1 are needed"),
        ([{"id": "x", "label": "good"}], "there is no document 'x' to take the text of"),
        ([{"label": "good"}], "has neither 'text' nor 'id'"),
    ],
)
def test_labels_that_teach_nothing_are_one_sentence(rows: list[dict[str, str]], complaint: str, tmp_path: Path):
    with pytest.raises(BunbukuError, match=complaint):
        learn(tmp_path / "out", LearnConfig(), lines(tmp_path / "labels.jsonl", rows))


def test_a_damaged_classifier_is_one_sentence(learned: Artifact[Classifier], tmp_path: Path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in learned.dir.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    (copy / "weights.npy").write_bytes(b"x" * (learned.dir / "weights.npy").stat().st_size)
    with pytest.raises(ArtifactError, match="does not read as a classifier"):
        read_classifier(load(copy, Classifier))


def test_fasttexts_format_teaches_what_json_lines_teach(learned: Artifact[Classifier], tmp_path: Path):
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"__label__{row['label']} {row['text']}\n" for row in examples(200)), encoding="utf-8")
    same = learn(tmp_path / "classifier", LearnConfig(features=Features(slot_bits=12)), path)
    assert same.content == learned.content


@given(st.lists(st.builds(Example, st.text("あa \n_", min_size=1), st.text("bad_ ", min_size=1)), min_size=1))
def test_examples_in_fasttexts_format_are_read_as_they_were_written(written: list[Example]):
    written = [one for one in written if one.text.split() and one.label.split()]
    with TemporaryDirectory() as folder:
        path = Path(folder, "labels.txt")
        path.write_text("".join(map(fasttext_line, written)), encoding="utf-8")
        found = read_examples(path, None, LabelFields()) if written else []
    assert found == [Example(" ".join(one.text.split()), "_".join(one.label.split())) for one in written]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("__label__a __label__b 雨が降る", "labels.txt:2 has several labels"),
        ("雨が降る __label__a", "labels.txt:2 has no label before its text"),
        ("__label__a", "labels.txt:2 has no text"),
        ("雨が降る", "labels.txt:2 has no label before its text"),
    ],
)
def test_a_line_that_is_not_one_label_and_a_text_is_named(line: str, problem: str, tmp_path: Path):
    (tmp_path / "labels.txt").write_text(f"__label__a 雪が降る\n{line}\n", encoding="utf-8")
    with pytest.raises(BunbukuError, match=problem):
        read_examples(tmp_path / "labels.txt", None, LabelFields())
