from collections import Counter

import pytest
from bunbuku_corpus.document import Document
from bunbuku_corpus.edits import MaskPersonalInformation
from bunbuku_corpus.filters import (
    AnyFilter,
    DominantNgram,
    Filter,
    ListedHost,
    ListedWords,
    MostlyMenus,
    NoEarlyKana,
    OneWordEverywhere,
    OtherLanguage,
    OtherTopLevelDomain,
    PersonalInformation,
    RepeatedLines,
    RepeatedNgrams,
    RepeatedParagraphs,
    SuspectUrl,
    TooFewLetters,
    TooLittleKana,
    TooLittleVariety,
    TooLong,
    TooManyListedWords,
    TooMuchPersonalInformation,
    TooShort,
    TopWordNgram,
)
from bunbuku_corpus.policy import Policy, measured, measures_of
from bunbuku_corpus.presets import presets
from bunbuku_corpus.texts import Texts
from bunbuku_corpus.vocabulary import Vocabulary, fold, words_of
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

pytest.importorskip("sudachipy", reason="needs bunbuku-corpus[words]")

PROSE = "春はあけぼの。やうやう白くなりゆく山ぎは、すこしあかりて、紫だちたる雲のほそくたなびきたる。"
ENGLISH = "The weather was fine yesterday, so we walked to the lake and had our lunch there."
CHINESE = "今天天气很好，我们去公园散步，晚上一起吃饭，然后看了一部电影。の字很可爱。"

ARTICLE = (
    "この城は十六世紀の後半に建てられ、戦国時代の末に落城した。落城のとき、城に残っていた者たちが虐殺されたと伝えられるが、"
    "同じ時代の記録には見えず、後の世の創作とする説が有力である。現在は公園になっており、春には桜の名所として多くの人が訪れる。"
    "二十世紀の末から発掘調査が続けられ、本丸の跡からは建物の礎石や陶磁器が見つかっている。"
)


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


NEEDED = {
    "listed_words": {"vocabulary": "adult"},
    "too_many_listed_words": {"vocabulary": "adult"},
    "listed_host": {"hosts": ["example.com"]},
}
EVERY = TypeAdapter(list[AnyFilter]).validate_python(
    [
        {"type": name} | NEEDED.get(name, {})
        for name in TypeAdapter(AnyFilter).json_schema()["discriminator"]["mapping"]
        # They need lists and columns from outside: test_sites.py, test_annotations.py.
        if name not in ("listed_site", "odd_value")
    ]
)


@pytest.mark.parametrize("judge", EVERY, ids=lambda judge: judge.name)
def test_a_filter_with_languages_lets_other_documents_pass(judge: Filter):
    scoped = judge.model_copy(update={"languages": ("fr",)})
    awful = document("x " * 10)
    assert not scoped.rejects(awful)
    assert judge.rejects(awful) == judge.drops(awful.text)
    assert scoped.name == f"{judge.name}.fr"


def test_a_megabyte_is_judged_by_every_filter():
    values = measured(Texts(["あいう\n" * 250_000]), measures_of(EVERY))
    names = [one.name for one in EVERY if one.excludes(values[one.measure.name])[0]]
    assert {"repeated_lines", "repeated_ngrams", "dominant_ngram", "repeated_word_ngrams"} <= set(names)


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


def test_the_most_frequent_ngram_of_a_repetitive_japanese_text_is_found():
    text = "今日も元気に頑張りましょう。" * 20
    assert DominantNgram(n=4, max_ratio=0.2).drops(text) and TopWordNgram(n=4, max_ratio=0.16).drops(text)


def test_one_kana_lets_no_chinese_page_pass_and_no_english_heading_stops_a_japanese_one():
    heading = "Home | About us | Contact | Sign in | Terms of service | Privacy policy"
    japanese, chinese = f"{heading}\n{PROSE}{ARTICLE}", CHINESE * 3
    web = presets()["web"].filters
    assert [one.name for one in web if one.drops(chinese)][:2] == ["other_language", "too_little_kana"]
    assert [one.name for one in web if one.drops(japanese) and one.name != "listed_words_boilerplate"] == []
    rule_of_thumb = NoEarlyKana()
    assert rule_of_thumb.drops(japanese) and not rule_of_thumb.drops("のんびり" + chinese)  # what the web preset is not


@pytest.mark.parametrize("vocabulary", ["adult", "violence", "discrimination", "advertising", "boilerplate"])
def test_one_word_of_a_list_rejects_no_article_however_strict_the_density(vocabulary: Vocabulary):
    judge = ListedWords(vocabulary=vocabulary, max_ratio=0.0)
    text = ARTICLE.replace("虐殺", "")
    word = words_of(vocabulary)[0]
    assert not judge.drops(text) and not judge.drops(f"{text}{word}。")
    assert judge.drops(f"{text}{word}、{word}。")
    assert [one.name for one in presets()["web"].filters if one.drops(ARTICLE)] == []


def test_a_word_in_katakana_is_not_found_inside_another():
    judge = TooManyListedWords(vocabulary="adult", words=("サックス",), max_count=0)
    assert judge.drops("サックスを吹く") and not judge.drops("アングロサックスンの歴史")


def test_word_lists_are_whole():
    for vocabulary in ("adult", "violence", "discrimination", "advertising", "boilerplate"):
        words = words_of(vocabulary)
        assert len(words) >= 40 and len(set(words)) == len(words)
        assert all(word == fold(word) for word in words)


@pytest.mark.parametrize(
    ("judge", "url", "dropped"),
    [
        (ListedHost(hosts=("example.com",)), "https://www.example.com/a", True),
        (ListedHost(hosts=("example.com",)), "https://notexample.com/", False),
        (ListedHost(hosts=("example.com",)), None, False),
        (ListedHost(hosts=("example.com",)), "http://[broken", False),
        (OtherTopLevelDomain(), "https://www.go.jp/", False),
        (OtherTopLevelDomain(), "https://example.ru/", True),
        (OtherTopLevelDomain(), None, False),
        (SuspectUrl(max_count=1), "https://example.com/xxx-porn-1", True),
        (SuspectUrl(max_count=1), "https://example.com/hentai", False),
    ],
)
def test_an_address_is_judged(judge: Filter, url: str | None, dropped: bool):
    assert judge.rejects(Document("id", PROSE, "source", url, "MIT", "ja")) is dropped


@pytest.mark.parametrize("name", sorted(presets()))
def test_a_preset_judges_prose_and_spam(name: str):
    names = [one.name for one in presets()[name].filters]
    assert len(set(names)) == len(names)
    spam = Document("id", "今だけ送料無料！激安セール！" * 60, "source", "https://shop.example.jp/", "MIT", "ja")
    assert any(one.rejects(spam) for one in presets()[name].filters)
    policy = Policy.model_validate({"preset": name})
    assert policy.filters == presets()[name].filters
    assert Policy.model_validate(policy.model_dump()) == policy


def test_a_preset_takes_other_values_and_further_filters():
    policy = Policy.model_validate(
        {"preset": "web", "filters": [{"type": "too_short", "min_chars": 7}, {"type": "bullet_lines"}]}
    )
    assert [one.name for one in policy.filters] == [*(one.name for one in presets()["web"].filters), "bullet_lines"]
    assert TooShort(min_chars=7) in policy.filters


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


SPAM = {
    "templates": "小顔で人生大逆転！えっ、まだ小顔してないの？競馬で人生大逆転！えっ、まだ競馬してないの？" * 8,
    "salad": "税金の音楽は部屋を届かない。雨に先生が野菜で食べられる。部屋の雨は税金を忘れました。" * 8,
    "search": "酵素ドリンクを比べました。" + "".join(f"{one}の酵素ドリンクは評判です。" for one in "春夏秋冬朝昼夜今"),
    "menu": "\n".join(["会社概要", "沿革", "採用情報", "拠点一覧", "製品情報", "株主総会", "環境報告", "特集記事"] * 3),
}


@pytest.mark.parametrize(
    ("kind", "judge"),
    [
        ("templates", TooLittleVariety(window=150, min_ratio=0.295)),
        ("salad", TooLittleVariety()),
        ("search", OneWordEverywhere()),
        ("menu", MostlyMenus()),
    ],
)
def test_spam_of_words_in_no_list_is_told_from_prose_by_its_form(kind: str, judge: Filter):
    assert judge.drops(SPAM[kind])
    assert not judge.drops(ARTICLE) and not judge.drops(ARTICLE * 4)


def test_verse_is_no_menu():
    verse = "\n".join(
        ["雨にもまけず", "風にもまけず", "雪にも夏の暑さにもまけぬ", "丈夫なからだをもち", "慾はなく"] * 3
    )
    assert not MostlyMenus().drops(verse)


def test_personal_information_is_counted_and_weighed_and_masks_count_as_what_they_stand_for():
    text = "連絡先は03-1234-5678、taro.yamada@mail.co.jpです。"
    for one in (text, MaskPersonalInformation().apply(text)):
        assert TooMuchPersonalInformation(max_count=1).drops(one)
        assert not TooMuchPersonalInformation(max_count=2).drops(one)
        assert PersonalInformation(max_ratio=0.5).drops(one)
        assert not PersonalInformation(max_ratio=0.5).drops(one + PROSE * 3)
    assert not TooMuchPersonalInformation(max_count=0).drops("2024-01-02、1,234円、第12345号")
