"""Balance: rules tell what texts are for, shares and agreements are what they should be, whoever judges."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, read_sections
from bunbuku_corpus import BalanceConfig, GatherConfig, LearnConfig, balance, gather, learn
from bunbuku_corpus.features import Features
from bunbuku_corpus.genres import form, purpose
from bunbuku_corpus.judges import Judged, Verdict, agreements, crossed, kappa, shares
from bunbuku_corpus.pictures import grid
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = {
    "advertising": "【本日限定】大特価セール開催中！送料無料、ポイント10倍。お買い得な商品を今すぐ購入してください。クーポンもあります。",
    "education": "この授業では、分数の足し算を学習します。教科書の例題を解いてみましょう。宿題は練習問題の三番です。",
    "law": "第二条第一項の規定は、前項の届出について準用する。この法律の施行の日から適用する。",
    "technical": "この関数は引数に文字列を渡すとオブジェクトを返します。ライブラリのバージョンを設定ファイルで指定します。",
    "conversation": "こんにちは、はじめまして。今日は暑いですね。私も暑いのは苦手ですよ。そうですね、ありがとうございます。",
}


@pytest.mark.parametrize("name", TEXTS)
def test_rules_tell_what_a_text_is_for(name: str):
    assert purpose(TEXTS[name]) == name
    assert purpose(TEXTS[name].replace("。", "。\n")) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "other"),
        ("雨がやんだ。空が明るくなった。", "prose"),
        ("名前\t値\t単位\n長さ\t3\tm\n重さ\t5\tkg", "table"),
        ("A：こんにちは。\nB：こんにちは。\nA：暑いですね。", "dialogue"),
        ("Q. 何時からですか。\nA. 九時からです。", "question_answer"),
        ("def f(x):\n    return x\nimport os\nprint(1)", "code"),
    ],
)
def test_rules_tell_what_form_a_text_has(text: str, expected: str):
    assert form(text) == expected


@settings(max_examples=30)
@given(st.text(max_size=200))
def test_every_text_has_a_purpose_and_a_form(text: str):
    assert purpose(text) and form(text)


LABELS = st.sampled_from(["a", "b", None])


@settings(max_examples=15)
@given(st.lists(st.tuples(LABELS, st.integers(0, 50)), min_size=1, max_size=25))
def test_shares_are_of_what_was_judged_and_sum_to_one(rows: list[tuple[str | None, int]]):
    documents = [Judged(str(n), chars, "") for n, (_, chars) in enumerate(rows)]
    found = shares(Verdict("purpose", "x", tuple(label for label, _ in rows)), documents, seed=0)
    judged = [(label, chars) for label, chars in rows if label]
    assert {one.label: one.documents for one in found} == {
        a: sum(x == a for x, _ in judged) for a in {x for x, _ in judged}
    }
    assert sum(one.share for one in found) == pytest.approx(1 if judged else 0)
    assert all(one.interval.low <= one.share <= one.interval.high for one in found)
    if sum(chars for _, chars in judged):
        assert sum(one.chars for one in found) == pytest.approx(1)


def test_agreement_is_of_what_both_judged():
    left = Verdict("purpose", "rules", ("a", "a", "b", "b", None))
    right = Verdict("purpose", "labels", ("a", "a", "b", "a", "a"))
    other = Verdict("format", "rules", ("x",) * 5)
    [one] = agreements([left, right, other], seed=0)
    assert (one.documents, one.same, round(one.kappa, 3)) == (4, 0.75, 0.5)
    assert crossed(left, other) == {("a", "x"): 0.5, ("b", "x"): 0.5}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_kappa_is_that_of_the_library(pairs: list[tuple[int, int]]):
    metrics = pytest.importorskip("sklearn.metrics")
    left, right = np.array(pairs).T
    mine = kappa(left, right, 3)
    if len({*left.tolist(), *right.tolist()}) < 2:
        assert np.isnan(mine)
    else:
        assert mine == pytest.approx(metrics.cohen_kappa_score(left, right))


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def corpus_of(folder: Path, count: int) -> Artifact[Corpus]:
    names = list(TEXTS)
    rows = [
        {"id": f"{names[n % 5]}-{n}", "text": f"{TEXTS[names[n % 5]]}{n}", "licence": "MIT", "language": "ja"}
        for n in range(count)
    ]
    return gather(folder / "raw", GatherConfig(), lines(folder / "texts.jsonl", rows))


def test_the_stage_shows_shares_and_how_far_judges_agree(tmp_path: Path):
    pytest.importorskip("sklearn")
    corpus = corpus_of(tmp_path, 100)
    labels = lines(
        tmp_path / "labels.jsonl",
        [
            {"id": f"{name}-{n}", "purpose": name, "format": "prose"}
            for n in range(100)
            for name in [list(TEXTS)[n % 5]]
        ],
    )
    examples = [{"text": f"{text}{n}", "label": name} for name, text in TEXTS.items() for n in range(40)]
    config = LearnConfig(features=Features(slot_bits=10))
    classifier = learn(tmp_path / "classifier", config, lines(tmp_path / "examples.jsonl", examples))
    report = balance(tmp_path / "balance", BalanceConfig(sample=60), corpus, {"purpose": classifier}, labels)
    rows = pq.read_table(report.dir / "annotations.parquet").to_pylist()
    assert len(rows) == 60
    assert all(row["purpose_rules"] == row["purpose_labels"] == row["id"].partition("-")[0] for row in rows)
    metrics = report.manifest.metrics
    assert metrics["kappa.purpose.rules.labels"] == 1
    assert metrics["purpose.rules.advertising"] == sum(row["purpose_rules"] == "advertising" for row in rows) / 60
    titles = [section.title for section in read_sections(report)]
    assert titles[:2] == ["What documents are for", "Purpose by topic and format"]
    html = (report.dir / "index.html").read_text(encoding="utf-8")
    assert "advertising is " in html and html.count("<svg") == 3
    assert "Of 60 documents drawn at random, by labels: advertising is " in html
    again = balance(tmp_path / "again", BalanceConfig(sample=60), corpus, {"purpose": classifier}, labels)
    assert again.content == report.content


def test_names_over_a_grid_of_many_columns_are_whole():
    drawn = grid(["法律"], [f"規定・法律・施行{n}" for n in range(10)], {}, label="shares")
    names = re.findall(
        r'x="([\d.]+)" y="([\d.]+)" [^>]*anchor="(\w+)" transform="rotate\((-?\d+) [^>]*>([^<]+)<', drawn
    )
    assert len(names) == 10
    for x, y, anchor, degrees, name in names:
        reach = 11 * len(name) * (1 if anchor == "start" else -1)
        angle = math.radians(int(degrees))
        assert 0 <= float(x) + reach * math.cos(angle) <= 760 and float(y) + reach * math.sin(angle) >= 0


def test_judging_by_rules_alone_says_so(tmp_path: Path):
    report = balance(tmp_path / "balance", BalanceConfig(), corpus_of(tmp_path, 10))
    assert "Only one judge was asked" in (report.dir / "index.html").read_text(encoding="utf-8")


def test_a_judge_of_some_of_the_sample_says_of_how_many(tmp_path: Path):
    labels = lines(tmp_path / "labels.jsonl", [{"id": f"advertising-{n}", "purpose": "advertising"} for n in (0, 5)])
    report = balance(tmp_path / "balance", BalanceConfig(), corpus_of(tmp_path, 10), None, labels)
    html = (report.dir / "index.html").read_text(encoding="utf-8")
    assert "Of 10 documents drawn at random, 2 are judged by labels; of these advertising is 100.0% " in html


def test_labels_of_other_documents_are_one_sentence(tmp_path: Path):
    labels = lines(tmp_path / "labels.jsonl", [{"id": "elsewhere", "purpose": "law"}])
    with pytest.raises(BunbukuError, match="labels not one of the 10 documents of the sample"):
        balance(tmp_path / "balance", BalanceConfig(), corpus_of(tmp_path, 10), None, labels)
