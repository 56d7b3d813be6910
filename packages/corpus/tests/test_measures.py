"""Measures of whole batches against the same counted by hand, one text at a time."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from bunbuku_corpus import words as words_module
from bunbuku_corpus.filters import (
    AnyMeasure,
    BulletLineRatio,
    Characters,
    CharactersPerKuten,
    CompressionRatio,
    DominantNgramRatio,
    DuplicateLineCharRatio,
    DuplicateLineRatio,
    DuplicateSentenceCharRatio,
    DuplicateSentenceRatio,
    EarlyKana,
    EllipsisLineRatio,
    EllipsisSentenceRatio,
    HiraganaRatio,
    JapaneseCharacters,
    JapaneseRatio,
    KanaRatio,
    KatakanaRatio,
    LetterRatio,
    LetterWordRatio,
    LineEndRatio,
    ListedWordCount,
    ListedWordRatio,
    LongestSentence,
    MeanSentence,
    MeanWord,
    Measure,
    NewlineWordRatio,
    NounRatio,
    ProseRatio,
    RecurringNgramShare,
    RepeatedLineRatio,
    RepeatedNgramRatio,
    RepeatedParagraphRatio,
    RepeatedWordNgramRatio,
    ShortLineRatio,
    StopWordCount,
    TopNgramShare,
    TopWordNgramRatio,
    WordCount,
)
from bunbuku_corpus.filters.pieces import BULLETS
from bunbuku_corpus.menus import LINE_ENDS
from bunbuku_corpus.policy import measured
from bunbuku_corpus.texts import LONGEST, Texts
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

pytest.importorskip("sudachipy", reason="needs bunbuku-corpus[words]")

SENTENCE = re.compile("[^。．！？!?]+[。．！？!?]?")
SCRIPTS = re.compile("[ぁ-ゖ]+|[a-zA-Z]+|[ァ-ヺー]+|[々〇〻\u3400-\u9fff]+|[0-9]+|[^\\w\\s]|\\w")
TEXTS = st.lists(st.text("かがカー猫年。！、!.…・a1 \n\n\u3000送料無料激安", max_size=40), min_size=1, max_size=6)


def share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def full_lines_of(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def sentences_of(text: str) -> list[str]:
    return [sentence for line in text.split("\n") for sentence in SENTENCE.findall(line)]


def again_of(pieces: Sequence[str]) -> list[str]:
    return [piece for index, piece in enumerate(pieces) if piece in pieces[:index]]


def repeated_share(pieces: Sequence[str]) -> float:
    return share(sum(map(len, again_of(pieces))), sum(map(len, pieces)))


def grams_of[T](items: Sequence[T], n: int) -> list[tuple[T, ...]]:
    return [tuple(items[start : start + n]) for start in range(len(items) - n + 1)]


def covered_share(text: str, n: int, starts: list[int]) -> float:
    if len(text) <= n:
        return math.nan
    return len({place for start in starts for place in range(start, start + n)}) / len(text)


def repeated_ngrams(text: str, n: int) -> float:
    grams = grams_of(text, n)
    return covered_share(text, n, [start for start, gram in enumerate(grams) if gram in grams[:start]])


def dominant_ngram(text: str, n: int) -> float:
    text = re.sub(r"\s+", "", text)
    grams = grams_of(text, n)
    most = max(Counter(grams).values(), default=0)
    top = next((gram for gram in grams if grams.count(gram) == most), None)
    return covered_share(text, n, [start for start, gram in enumerate(grams) if gram == top])


def top_share(text: str, n: int) -> float:
    grams = grams_of(text, n)
    return share(max(Counter(grams).values(), default=0), len(grams))


def recurring_share(text: str, n: int) -> float:
    counts = Counter(grams_of(text, n))
    return share(sum(count > 1 for count in counts.values()), len(counts))


def greedy_repeats(words: list[str], n: int, text: str) -> float:
    met: set[tuple[str, ...]] = set()
    chars = place = 0
    while place + n <= len(words):
        gram = tuple(words[place : place + n])
        if gram in met:
            chars += sum(map(len, gram))
            place += n
        else:
            met.add(gram)
            place += 1
    return share(chars, len(text))


def top_words(words: list[str], n: int, text: str, *, spaces: bool) -> float:
    grams = grams_of(words, n)
    most = max(Counter(grams).values(), default=0)
    top = next((gram for gram in grams if grams.count(gram) == most), ())
    return min(share((sum(map(len, top)) + (n - 1) * spaces) * most, len(text)), 1.0)


def japanese(text: str) -> int:
    return len(re.findall("[\u3041-\u3096\u30a1-\u30fa\u3400-\u9fff々〇〻、，。．！？]", text))


BY_HAND: list[tuple[Measure, Callable[[str], float]]] = [
    (Characters(), len),
    (JapaneseCharacters(), japanese),
    (
        KanaRatio(),
        lambda text: share(len(re.findall("[\u3041-\u3096\u30a1-\u30fa\u30fc]", text)), len("".join(text.split()))),
    ),
    (LetterRatio(), lambda text: share(sum(map(str.isalpha, text)), len("".join(text.split())))),
    (JapaneseRatio(), lambda text: share(japanese(text), len(text))),
    (HiraganaRatio(), lambda text: share(len(re.findall("[\u3041-\u3096]", text)), japanese(text))),
    (KatakanaRatio(), lambda text: share(len(re.findall("[\u30a1-\u30fa]", text)), japanese(text))),
    (EarlyKana(chars=5), lambda text: len(re.findall("[\u3041-\u3096\u30a1-\u30fa]", text[:5]))),
    (CompressionRatio(), lambda text: share(len(zlib.compress(text.encode(), 9)), len(text.encode()))),
    (RepeatedLineRatio(), lambda text: repeated_share(lines_of(text))),
    (RepeatedParagraphRatio(), lambda text: repeated_share([one.strip() for one in re.split(r"\n\s*\n", text)])),
    (DuplicateLineRatio(), lambda text: share(len(again_of(full_lines_of(text))), len(full_lines_of(text)))),
    (DuplicateLineRatio(blank=True), lambda text: share(len(again_of(text.split("\n"))), text.count("\n") + 1)),
    (DuplicateLineCharRatio(), lambda text: repeated_share(text.split("\n"))),
    (DuplicateSentenceRatio(), lambda text: share(len(again_of(sentences_of(text))), len(sentences_of(text)))),
    (DuplicateSentenceCharRatio(), lambda text: repeated_share(sentences_of(text))),
    (MeanSentence(), lambda text: share(sum(map(len, sentences_of(text))), len(sentences_of(text)))),
    (LongestSentence(), lambda text: max(map(len, sentences_of(text)), default=0)),
    (
        EllipsisSentenceRatio(),
        lambda text: share(sum(one.endswith(("・", "…")) for one in sentences_of(text)), len(sentences_of(text))),
    ),
    (CharactersPerKuten(), lambda text: len(text) / max(text.count("。"), 1)),
    (LineEndRatio(), lambda text: share(sum(line[-1] in LINE_ENDS for line in lines_of(text)), len(lines_of(text)))),
    (
        ProseRatio(chars=5),
        lambda text: share(
            sum(len(line) for line in lines_of(text) if len(line) >= 5 and line[-1] in LINE_ENDS),
            sum(map(len, lines_of(text))),
        ),
    ),
    (ShortLineRatio(chars=5), lambda text: share(sum(len(one) <= 5 for one in lines_of(text)), len(lines_of(text)))),
    (BulletLineRatio(), lambda text: share(sum(one[0] in BULLETS for one in lines_of(text)), len(lines_of(text)))),
    (
        EllipsisLineRatio(),
        lambda text: share(sum(one.endswith(("...", "…", "‥", "・")) for one in lines_of(text)), len(lines_of(text))),
    ),
    *((RepeatedNgramRatio(n=n), lambda text, n=n: repeated_ngrams(text, n)) for n in (2, 3, 5)),
    *((DominantNgramRatio(n=n), lambda text, n=n: dominant_ngram(text, n)) for n in (2, 3)),
    *((TopNgramShare(n=n), lambda text, n=n: top_share(text, n)) for n in (1, 2, 4)),
    *((RecurringNgramShare(n=n), lambda text, n=n: recurring_share(text, n)) for n in (2, 5, 6)),
    (
        WordCount(analyzer="scripts"),
        lambda text: len(re.findall("[ぁ-ゖ]+|[a-zA-Z]+|[ァ-ヺー]+|[猫年送料無激安]+|[0-9]+", text)),
    ),
    (
        LetterWordRatio(analyzer="scripts"),
        lambda text: share(
            sum(any(map(str.isalpha, word)) for word in SCRIPTS.findall(text)), len(SCRIPTS.findall(text))
        ),
    ),
    (NewlineWordRatio(analyzer="scripts"), lambda text: share(text.count("\n"), len(SCRIPTS.findall(text)))),
    (
        StopWordCount(analyzer="scripts", stop_words=("か", "猫", "。")),
        lambda text: len({"か", "猫", "。"} & set(SCRIPTS.findall(text))),
    ),
    *(
        (
            TopWordNgramRatio(analyzer="scripts", n=n, spaces=spaces),
            lambda text, n=n, spaces=spaces: top_words(SCRIPTS.findall(text), n, text, spaces=spaces),
        )
        for n, spaces in ((2, False), (3, True))
    ),
    *(
        (
            RepeatedWordNgramRatio(analyzer="scripts", n=n),
            lambda text, n=n: greedy_repeats(SCRIPTS.findall(text), n, text),
        )
        for n in (2, 3)
    ),
    (ListedWordCount(vocabulary="advertising"), lambda text: len(re.findall("送料無料|激安", text))),
    (
        ListedWordRatio(vocabulary="advertising"),
        lambda text: share(
            sum(map(len, found)) if len(found := re.findall("送料無料|激安", text)) > 1 else 0,
            len(text.replace("…", "...")),
        ),
    ),
]


@settings(max_examples=60)
@given(texts=TEXTS)
def test_every_measure_of_a_batch_is_what_one_counts_by_hand(texts: list[str]):
    values = measured(Texts(texts), {measure.name: measure for measure, _ in BY_HAND})
    for measure, by_hand in BY_HAND:
        expected = np.array([by_hand(text) for text in texts], np.float64)
        np.testing.assert_allclose(values[measure.name], expected, rtol=1e-12, atol=0, err_msg=measure.name)


EVERY: Sequence[Measure] = TypeAdapter(list[AnyMeasure]).validate_python(
    [
        {"type": name}
        | ({"vocabulary": "adult"} if name in ("listed_word_ratio", "listed_word_count", "url_word_count") else {})
        for name in TypeAdapter(AnyMeasure).json_schema()["discriminator"]["mapping"]
        if name != "site_category"  # it needs lists from outside: test_sites.py
    ]
)


@settings(max_examples=15)
@given(texts=st.lists(st.one_of(st.text(), st.text("猫は。\n a", max_size=30)), min_size=1, max_size=5))
def test_a_text_has_the_same_values_in_whatever_batch(texts: list[str]):
    together = measured(Texts(texts), {one.name: one for one in EVERY})
    for index, text in enumerate(texts):
        alone = measured(Texts([text]), {one.name: one for one in EVERY})
        for name, values in alone.items():
            np.testing.assert_array_equal(values[0], together[name][index], err_msg=name)


@pytest.mark.parametrize("measure", EVERY, ids=lambda measure: measure.name)
def test_an_empty_text_and_an_empty_batch_divide_by_nothing(measure: Measure):
    assert len(measure.of(Texts([]))) == 0
    [value] = measure.of(Texts([""]))
    assert value is None or value == "und" or math.isnan(value) or value == 0


@given(texts=TEXTS)
def test_no_ratio_is_above_one(texts: list[str]):
    names = [one for one in EVERY if one.name.endswith(("ratio", "share")) or "ngram" in one.name]
    batch = Texts([text * 3 for text in texts])
    for measure in names:
        if measure.name not in ("compression_ratio", "symbol_word_ratio_sudachi", "newline_word_ratio_sudachi"):
            values = measure.of(batch)
            assert not (values > 1).any() and not (values < 0).any(), measure.name


def test_a_measure_looks_at_the_first_million_characters_and_counts_all():
    long = Texts(["あ" * LONGEST + "a" * 10])
    assert Characters().of(long).tolist() == [LONGEST + 10]
    assert KanaRatio().of(long).tolist() == [1.0]


def test_every_text_is_analyzed_once_by_one_analyzer(monkeypatch: pytest.MonkeyPatch):
    analyzed: list[str] = []
    analyze = words_module.analyze

    def counting(text: str, analyzer: words_module.Analyzer, *, nouns: bool) -> words_module.Analysis:
        analyzed.append(text)
        return analyze(text, analyzer, nouns=nouns)

    monkeypatch.setattr("bunbuku_corpus.texts.analyze", counting)
    texts = ["猫が魚を食べた。", "犬が庭を走った。"]
    values = measured(Texts(texts), {one.name: one for one in EVERY})
    assert analyzed == texts
    assert values[NounRatio().name].tolist() == pytest.approx([3 / 7, 3 / 7])  # 猫, 魚 and 。 of 7
    assert values[MeanWord().name][0] > 1
    assert words_module._sudachi() is words_module._sudachi()


@pytest.mark.parametrize("analyzer", ["sudachi", "scripts"])
def test_a_long_text_is_analyzed_in_pieces_that_join_to_it(analyzer: words_module.Analyzer):
    text = "今日は良い天気ですね。" * 3000 + "長い" * 10_000
    assert "".join(words_module.pieces(text)) == text
    assert all(len(piece.encode()) <= words_module.MAX_BYTES for piece in words_module.pieces(text))
    analysis = words_module.analyze(text, analyzer)
    ends = (analysis.starts + analysis.chars).tolist()
    assert analysis.starts.tolist() == [0, *ends[:-1]] and ends[-1] == len(text)


_PIECES = st.sampled_from(
    [
        "国家公務員は",
        "食べ過ぎました",
        "2,000円と",
        "61.2％",
        "二〇二四年",
        "…",
        "　",
        " ",
        "  ",
        "\n\n",
        "New York",
        "PyTorch",
    ]
)


@settings(max_examples=200)
@given(st.lists(_PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_words_are_what_sudachi_says_when_it_looks_everything_up(text: str):
    # Every field is looked up there, and white space and words of no characters are left out, as spaCy and datatrove do.
    expected = [len(one) for word in _whole_sudachi()(text) if (one := word.surface()).strip()]
    assert Texts([text]).words("sudachi").chars.tolist() == expected


@cache
def _whole_sudachi():
    from sudachipy import Dictionary, SplitMode

    return Dictionary(dict="core").tokenizer(mode=SplitMode.A).tokenize


@settings(max_examples=200)
@given(st.lists(_PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_mecabs_words_are_the_same_with_their_nouns_and_without(text: str):
    pytest.importorskip("fugashi", reason="needs bunbuku-corpus[mecab]")
    pytest.importorskip("unidic_lite", reason="needs bunbuku-corpus[mecab]")
    plain, full = Texts([text]).words("mecab"), Texts([text]).words("mecab", nouns=True)
    assert plain.chars.tolist() == full.chars.tolist()
    assert plain.items.values.tolist() == full.items.values.tolist()
    visible = "".join(char for char in text if not char.isspace() and char != "\0")
    assert plain.chars.sum() >= len(visible)  # a word may have white space in it


def test_a_number_is_one_word_and_an_ellipsis_too():
    assert Texts(["2,000円…"]).words("sudachi").chars.tolist() == [5, 1, 1]
