"""Measures of phrasing against plain loops, in batches whose documents must not see each other."""

import math
import re

import numpy as np
import numpy.typing as npt
import pytest
from bunbuku_corpus.filters import (
    CutOff,
    CutOffRatio,
    Echoes,
    EchoRatio,
    Exclamations,
    Fragments,
    JointBits,
    KeywordDensity,
    OddJoints,
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
from bunbuku_corpus.filters.joints import _bits
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
    "（",
    "…",
    "...",
    "ゆれる",
)
BATCHES = st.lists(st.lists(st.sampled_from(PIECES), max_size=120).map("".join), min_size=1, max_size=4)
MEASURES = (
    WholeSentenceRatio(),
    ParticleSurprise(),
    StrayParticleRatio(),
    TemplateRatio(),
    EchoRatio(),
    KeywordDensity(),
    JointBits(),
    CutOffRatio(),
)

PROSE = (
    "昨日は友達と公園に行き、弁当を食べました。午後は雨が降ったので、家で本を読んだ。夜になると星が見えました。"
    "朝の市場では魚を売る声が聞こえ、母は大根を二本買った。駅までの道は混んでいて、電車に乗り遅れそうになった。"
)
STIRRED = PROSE[::2] + PROSE[1::2]

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


def joint_kind(sign: str) -> int:
    kinds = ("[一-鿿々]", "[ァ-ヺーA-Za-z0-9]", "[、，]", "[。．！？]", "[「『（(【〈《]", "[」』］）)】〉》]")
    return next((n for n, kind in enumerate(kinds) if re.fullmatch(kind, sign)), -1)


def joint_bits(text: str) -> float:
    """By going through the text for either side, and for chance through all pairs of what was found there."""
    found: list[list[tuple[int, int]]] = []
    for step in (1, -1):
        pairs = [
            (ord(sign) - 0x3041, joint_kind(text[at + step]))
            for at, sign in enumerate(text)
            if "ぁ" <= sign <= "ゖ" and 0 <= at + step < len(text)
        ]
        found.append([(sign, kind) for sign, kind in pairs if kind >= 0])
    number, told = sum(map(len, found)), []
    for table in _bits():
        bits = sum(table[side, sign, kind] for side, pairs in enumerate(found) for sign, kind in pairs)
        chance = sum(
            sum(table[side, sign, kind] for sign, _ in pairs for _, kind in pairs) / len(pairs)
            for side, pairs in enumerate(found)
            if pairs
        )
        told.append(bits - chance)
    lines = [line for line in text.split("\n") if line.strip()]
    stops, commas = len(re.findall("[。．！？]", text)), len(re.findall("[、，]", text))
    judged = number >= 20 and stops >= 2 and stops + commas >= 5 and len(text) >= 45 * len(lines)
    return (max(told) + 20 * 0.4) / (number + 20) if judged else math.nan


def cut_off(text: str) -> float:
    cuts = 0
    for dots in re.finditer(r"[…‥.・]+", text):
        before = (
            re.sub("[ \\n]$", "", text[: dots.start()]) if text[: dots.start()].endswith(" ") else text[: dots.start()]
        )
        word = re.search(r"[^\W_]$|[ー、，]$", before)
        cuts += bool((len(dots[0]) >= 3 or dots[0][0] in "…‥") and word and not re.match(r"\S", text[dots.end() :]))
    sentences = int(Texts([text]).sentences.numbers[0])
    return min(cuts / max(sentences, 1), 1) if cuts >= 5 else 0.0


@given(batch=BATCHES)
def test_joints_and_cuts_are_counted_as_a_loop_counts_them(batch):
    assert same(JointBits().of(Texts(batch)), list(map(joint_bits, batch)))
    assert same(CutOffRatio().of(Texts(batch)), list(map(cut_off, batch)))


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
        (OddJoints(), STIRRED, True),
        (OddJoints(), PROSE, False),
        (OddJoints(), "海と\n山の\nまたは、空。\nを、鳥。\n" * 6, False),
        (CutOff(), "2020年 … 犬が公園で走っていると友達が … " * 5, True),
        (CutOff(), "犬が公園で走っていると友達が…\n猫は窓辺で・・・\n" * 3, True),
        (CutOff(), "犬が公園で走っていると友達が…\n" * 4, False),
        (CutOff(), "「そうか……」と言った。それなら……私は……行く。" * 5, False),
        (CutOff(), "見出し ... 1\n" * 5 + "本文はここにある。これも本文である。" * 12, False),
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


def test_a_heading_with_a_number_is_no_sentence():
    headings = "3. わかりやすく話すこと\n3.1. ゆっくり話すこと\n" * 2
    assert WholeSentenceRatio().of(Texts([headings, headings.replace("3", "")])).round(2).tolist() == [0, 1]


def test_the_default_keeps_a_short_paragraph_and_drops_a_short_list():
    judges = Policy.model_validate({"preset": "web"}).filters
    paragraph = "大阪府の北部にある市で、明治の初めまで城下町であった。"
    titles = "お知らせ一覧 2024年4月1日 臨時休業 会社案内 採用情報"
    assert [one.name for one in judges if one.drops(paragraph)] == []
    assert "fragments" in [one.name for one in judges if one.drops(titles)]
