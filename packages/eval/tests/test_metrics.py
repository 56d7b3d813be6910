"""Metrics: equal to llm-jp-eval's where it is right, and right where it is not."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from bunbuku_eval.metrics import (
    bleu,
    char_f1,
    exact_match,
    numbers,
    parse_float,
    pearson,
    sentence_bleu,
    set_f1,
    spearman,
)
from hypothesis import given
from hypothesis import strategies as st


def test_full_and_half_width_are_the_same() -> None:
    assert exact_match("ＡＢＣ　", "ABC") == 1
    assert char_f1("１２３ｱｲｳ", "123アイウ") == 1
    assert set_f1("ａ\nｂ", "b\na") == 1


def test_a_minus_sign_counts() -> None:
    assert [parse_float(text) for text in ("-3.5", "−3.5", "－３．５", "+2", "3.", "", "a")] == [
        -3.5, -3.5, -3.5, 2.0, None, None, None,
    ]  # fmt: skip


@given(st.floats(-1e9, 1e9).map(lambda value: round(value, 4)))
def test_a_number_reads_as_itself(value) -> None:
    assert parse_float(f"{value:.4f}") == pytest.approx(value)
    assert numbers(f"答えは{value:.4f}です") == [pytest.approx(value)]


def test_correlations_have_their_sign_and_are_undefined_for_one_pair() -> None:
    assert pearson([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)
    for correlation in (pearson, spearman):
        assert math.isnan(correlation([1.0], [1.0]))
        assert math.isnan(correlation([], []))
        assert math.isnan(correlation([1.0, 1.0], [1.0, 2.0]))


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30))
def test_correlations_are_scipys(pairs) -> None:
    from scipy import stats

    one, other = np.array(pairs, float).T
    if np.ptp(one) and np.ptp(other):
        assert pearson(one.tolist(), other.tolist()) == pytest.approx(stats.pearsonr(one, other)[0], abs=1e-9)
        assert spearman(one.tolist(), other.tolist()) == pytest.approx(stats.spearmanr(one, other)[0], abs=1e-9)


def test_bleu_is_sacrebleus() -> None:
    import sacrebleu

    said = ["猫が魚を食べた。", "今日は雨が降るでしょう。", "彼は走る"]
    gold = ["猫が魚を食べました。", "今日は雨でしょう。", "彼は走った"]
    for tokenize in ("char", "13a"):
        ours, theirs = bleu(said, gold, tokenize=tokenize), sacrebleu.corpus_bleu(said, [gold], tokenize=tokenize).score
        assert ours == pytest.approx(theirs, abs=1e-9)
    one = sacrebleu.BLEU(tokenize="char", effective_order=True).sentence_score(said[2], [gold[2]]).score
    assert sentence_bleu(said[2], gold[2]) == pytest.approx(one)


@given(st.text(max_size=30), st.text(max_size=30))
def test_char_f1_is_a_symmetric_share_in_hundredths(one, other) -> None:
    value = char_f1(one, other)
    assert 0 <= value <= 1
    assert value == round(value, 2)
    assert value == char_f1(other, one)
    assert char_f1(one, one) == 1


@pytest.mark.skipif("BUNBUKU_JASTER" not in os.environ, reason="needs BUNBUKU_JASTER, a table of logged Jaster answers")
def test_scores_are_those_that_were_logged() -> None:
    table = json.loads(Path(os.environ["BUNBUKU_JASTER"]).read_text(encoding="utf-8"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) >= 100
    for row in rows:
        for name, metric in (("exact", exact_match), ("char_f1", char_f1), ("set_f1", set_f1)):
            assert round(metric(row["pred"], row["true"]), 2) == round(float(row[name]), 2), row
