from collections import Counter

import pytest
from bunbuku_corpus.document import Document
from bunbuku_corpus.filters import (
    AnyFilter,
    DominantNgram,
    Filter,
    OtherLanguage,
    RepeatedLines,
    RepeatedNgrams,
    RepeatedParagraphs,
    TooFewLetters,
    TooLittleKana,
    TooLong,
    TooShort,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

PROSE = "春はあけぼの。やうやう白くなりゆく山ぎは、すこしあかりて、紫だちたる雲のほそくたなびきたる。"
ENGLISH = "The weather was fine yesterday, so we walked to the lake and had our lunch there."
CHINESE = "今天天气很好，我们去公园散步，晚上一起吃饭，然后看了一部电影。の字很可爱。"


def document(text: str, language: str = "ja") -> Document:
    return Document("id", text, "source", None, "MIT", language)


@pytest.mark.parametrize(
    ("judge", "text", "dropped"),
    [
        (TooShort(min_chars=5), "四文字だ", True),
        (TooShort(min_chars=4), "四文字だ", False),
        (TooShort(min_chars=1), "", True),
        (TooLong(max_chars=4), "五文字です", True),
        (TooLong(max_chars=5), "五文字です", False),
        (OtherLanguage(), PROSE, False),
        (OtherLanguage(), ENGLISH, True),
        (OtherLanguage(), CHINESE, True),
        (OtherLanguage(expected=("ja", "en")), ENGLISH, False),
        (OtherLanguage(), "Home | About | Contact | Sign in\n\n" + PROSE * 3, False),
        (OtherLanguage(), "12345 !!! …", True),
        (TooLittleKana(), PROSE, False),
        (TooLittleKana(), CHINESE, True),
        (TooLittleKana(), "ｺﾝﾆﾁﾊ｡ｹﾞﾝｷﾃﾞｽ｡", False),
        (TooLittleKana(), "", False),
        (TooFewLetters(), PROSE, False),
        (TooFewLetters(), "|---|---|\n| 1 | 2 |", True),
        (TooFewLetters(), "", False),
        (RepeatedLines(), PROSE, False),
        (RepeatedLines(max_ratio=0.5), "同じ行。\n同じ行。", False),
        (RepeatedLines(max_ratio=0.5), "同じ行。\n同じ行。\n同じ行。", True),
        (RepeatedLines(), "\n\n\n\n", False),
        (RepeatedParagraphs(), f"{PROSE}\n\n{PROSE}\n\n{PROSE}", True),
        (RepeatedParagraphs(), PROSE.replace("。", "。\n\n"), False),
        (RepeatedNgrams(n=5, max_ratio=0.3), PROSE * 2, True),
        (RepeatedNgrams(n=5, max_ratio=0.3), PROSE, False),
        (RepeatedNgrams(), "", False),
        (DominantNgram(), "お得です" * 20, True),
        (DominantNgram(), "w w w w w w w w w w", True),
        (DominantNgram(), PROSE, False),
        (DominantNgram(), "", False),
    ],
)
def test_a_filter_drops_what_it_is_named_for(judge: Filter, text: str, dropped: bool):
    assert judge.drops(text) is dropped


EVERY = TypeAdapter(list[AnyFilter]).validate_python(
    [
        {"type": name}
        for name in (
            "too_short",
            "too_long",
            "other_language",
            "too_little_kana",
            "too_few_letters",
            "repeated_lines",
            "repeated_paragraphs",
            "repeated_ngrams",
            "dominant_ngram",
        )
    ]
)


@pytest.mark.parametrize("judge", EVERY, ids=lambda judge: judge.name)
def test_a_filter_with_languages_lets_other_documents_pass(judge: Filter):
    scoped = judge.model_copy(update={"languages": ("fr",)})
    awful = document("x " * 10)
    assert not scoped.rejects(awful)
    assert judge.rejects(awful) == judge.drops(awful.text)
    assert scoped.name == f"{judge.name}.fr"


@pytest.mark.parametrize("judge", EVERY, ids=lambda judge: judge.name)
def test_a_megabyte_is_judged(judge: Filter):
    assert judge.drops("あいう\n" * 250_000) in (True, False)


def _repeated_by_hand(text: str, n: int) -> int:
    seen: set[str] = set()
    places: set[int] = set()
    for start in range(len(text) - n + 1):
        gram = text[start : start + n]
        if gram in seen:
            places.update(range(start, start + n))
        seen.add(gram)
    return len(places)


def _dominant_by_hand(text: str, n: int) -> int:
    grams = [text[start : start + n] for start in range(len(text) - n + 1)]
    most = max(Counter(grams).values())
    gram = next(gram for gram in grams if grams.count(gram) == most)
    return len({place for start, one in enumerate(grams) if one == gram for place in range(start, start + n)})


@given(text=st.text("かきa\n", min_size=5, max_size=60), n=st.integers(1, 4), max_ratio=st.floats(0, 1))
def test_repeated_ngrams_counts_as_one_would_by_hand(text: str, n: int, max_ratio: float):
    assert RepeatedNgrams(n=n, max_ratio=max_ratio).drops(text) is (_repeated_by_hand(text, n) > max_ratio * len(text))


@given(text=st.text("かきa", min_size=5, max_size=60), n=st.integers(1, 4), max_ratio=st.floats(0, 1))
def test_dominant_ngram_counts_as_one_would_by_hand(text: str, n: int, max_ratio: float):
    assert DominantNgram(n=n, max_ratio=max_ratio).drops(text) is (_dominant_by_hand(text, n) > max_ratio * len(text))


@given(st.text(), st.sampled_from(EVERY))
def test_every_text_is_judged_alike_twice(text: str, judge: Filter):
    assert judge.drops(text) is judge.drops(text)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "too_shrot"}, "too_short"),
        ({"type": "too_short", "min_char": 1}, "min_char"),
        ({"type": "repeated_lines", "max_ratio": 2}, "max_ratio"),
    ],
)
def test_a_mistaken_config_is_refused(config: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(AnyFilter).validate_python(config)
