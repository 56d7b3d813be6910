"""Measures of phrasing against plain loops, in batches whose documents must not see each other."""

import math
import re

import numpy as np
import numpy.typing as npt
import pytest
from bunbuku_corpus.filters import (
    Echoes,
    EchoRatio,
    Exclamations,
    Fragments,
    KeywordDensity,
    OddParticles,
    ParticleSurprise,
    StrayParticleRatio,
    StrayParticles,
    StuffedWord,
    TemplateRatio,
    Templates,
    TooFewSentences,
    WholeSentenceRatio,
)
from bunbuku_corpus.filters.phrasing import _BITS, _PARTICLES
from bunbuku_corpus.policy import Policy
from bunbuku_corpus.texts import Texts
from hypothesis import given
from hypothesis import strategies as st

PIECES = (
    "本",
    "海辺",
    "カメラ",
    "を",
    "が",
    "は",
    "に",
    "の",
    "から",
    "した",
    "です",
    "、",
    "。",
    "！",
    "\n",
    " ",
    "A",
    "9",
    "」",
)
BATCHES = st.lists(st.lists(st.sampled_from(PIECES), max_size=120).map("".join), min_size=1, max_size=4)
MEASURES = (
    WholeSentenceRatio(),
    ParticleSurprise(),
    StrayParticleRatio(),
    TemplateRatio(),
    EchoRatio(),
    KeywordDensity(),
)

RUNS = re.compile(r"[一-鿿々]+|[ァ-ヺー]+|[ぁ-ゖ]+|[、，。．！？]+|\s+|[^一-鿿々ァ-ヺーぁ-ゖ、，。．！？\s]+")


def same(values: npt.ArrayLike, expected: list[float]) -> bool:
    return np.allclose(values, expected, equal_nan=True)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
@given(batch=BATCHES)
def test_a_document_has_the_value_that_it_has_alone(measure, batch):
    assert same(measure.of(Texts(batch)), [measure.of(Texts([text]))[0] for text in batch])


def surprise(text: str) -> float:
    runs, particles = RUNS.findall(text), "".join(map(chr, _PARTICLES))
    word = [bool(re.match("[一-鿿々ァ-ヺー]", run)) for run in runs]
    lone = [n > 0 and word[n - 1] and len(run) == 1 and run in particles for n, run in enumerate(runs)]
    pairs = [(runs[n], runs[n + 2]) for n in range(len(runs) - 2) if lone[n] and lone[n + 2]]
    bits = sum(_BITS[particles.index(a), particles.index(b)] for a, b in pairs)
    return (bits + 50) / (len(pairs) + 10) if len(pairs) >= 10 else math.nan


def stray(text: str) -> float:
    runs = RUNS.findall(text)
    word = [bool(re.match("[一-鿿々ァ-ヺー]", run)) for run in runs]
    mark = [bool(re.match("[、，。．！？]", run)) for run in runs]
    found = 0
    for n in range(1, len(runs) - 1):
        if runs[n] in tuple("をがはにのへでも"):
            found += (mark[n - 1] and word[n + 1]) or (word[n - 1] and runs[n + 1].startswith("。"))
    return max(found - 1, 0) / sum(mark) if sum(mark) >= 8 else math.nan


def echoes(text: str, n: int = 6, window: int = 400) -> float:
    kept = re.sub("[^ぁ-ゖァ-ヺー一-鿿々、，。．！？]", "", text)
    letters = re.sub("[、，。．！？]", "", kept)
    latin = sum(map(str.isascii, filter(str.isalpha, text)))
    if len(kept) < 150 or latin > 0.02 * (len(letters) + latin):
        return math.nan
    windows = max(len(kept) // window, 1)
    covered = 0
    for number in range(windows):
        end = len(kept) if number == windows - 1 else (number + 1) * window
        part = kept[number * window : end]
        grams = [part[at : at + n] for at in range(len(part) - n + 1)]
        twice = [grams.count(gram) > 1 for gram in grams]
        covered += sum(any(twice[max(at - n + 1, 0) : at + 1]) for at in range(len(part)))
    return covered / len(kept)


@given(batch=BATCHES)
def test_particles_are_counted_as_a_loop_counts_them(batch):
    assert same(ParticleSurprise().of(Texts(batch)), list(map(surprise, batch)))
    assert same(StrayParticleRatio().of(Texts(batch)), list(map(stray, batch)))


@given(
    st.lists(
        st.lists(st.sampled_from(("春の", "海を", "見る。", "山が", "青い、")), max_size=400).map("".join), max_size=3
    )
)
def test_echoes_are_counted_as_a_loop_counts_them(batch):
    assert same(EchoRatio().of(Texts(batch)), list(map(echoes, batch)))


@pytest.mark.parametrize(
    ("judge", "text", "dropped"),
    [
        (TooFewSentences(), "", False),
        (TooFewSentences(), "12345", False),
        (TooFewSentences(), "1.2. 借用\n1.3. 所有権\n2. 構造体\n2.1. メソッド記法\n", True),
        (TooFewSentences(), "横浜 水漏れ 修理 即日\n千葉 鍵 交換 夜間", True),
        (TooFewSentences(), "雨にもまけず\n風にもまけず\n雪にも夏の暑さにもまけぬ", False),
        (TooFewSentences(), "三匹ノコグマサンガ、ハジメテ汽車ニノリマシタ。", False),
        (Fragments(), "お知らせ一覧 2024年4月1日 臨時休業", True),
        (Fragments(), "家紋は竜胆。菩提寺は京都の金戒光明寺。", False),
        (Fragments(), "会社概要 " * 40, False),
        (OddParticles(), "石油を蜂蜜が裁判所はピアノを階段が農家も選挙は毛布へ天気を。" * 4, True),
        (OddParticles(), "石油を。", False),
        (StrayParticles(), "の城、跡が。を本、北へ。に鳥、道の。は人、舟を。", True),
        (StrayParticles(), "城の跡が残る。本を読み、北へ向かう。鳥が鳴き、道は続く。人も、舟も。", False),
        (Exclamations(), "安い！早い！旨い！" * 3, True),
        (Exclamations(), "安い。早い！旨い。" * 3, False),
        (Templates(), "腰痛で悩んでいませんか。" * 3 + "老眼で悩んでいませんか。" * 5, True),
        (Templates(), "安い。" * 8, False),
        (Echoes(), "この一冊なら費用もほとんどかかりません。" * 10, True),
        (Echoes(), "use この一冊なら時間もほとんどかかりません。" * 10, False),
        (StuffedWord(), "外壁塗装の相場はいくらでしょう。" * 8, True),
        (StuffedWord(), "外壁塗装の相場はいくらでしょう。" * 7, False),
    ],
)
def test_judges(judge, text, dropped):
    assert judge.drops(text) is dropped


def test_the_default_keeps_a_short_paragraph_and_drops_a_short_list():
    judges = Policy.model_validate({"preset": "web"}).filters
    paragraph = "大阪府の北部にある市で、明治の初めまで城下町であった。"
    titles = "お知らせ一覧 2024年4月1日 臨時休業 会社案内 採用情報"
    assert [one.name for one in judges if one.drops(paragraph)] == []
    assert "fragments" in [one.name for one in judges if one.drops(titles)]
