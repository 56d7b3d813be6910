import pytest
from bunbuku_corpus.language import identify, sample
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("昨日は雨だったので、家で本を読んでいました。", "ja"),
        ("The train to the airport leaves every twenty minutes from platform four.", "en"),
        ("今天天气很好，我们一起去公园散步吧。晚上看电影。", "zh"),
        ("오늘은 날씨가 좋아서 공원에 산책하러 갔습니다.", "ko"),
        ("Hier, il pleuvait, alors je suis resté à la maison pour lire un livre.", "fr"),
        ("", "und"),
        ("3.14159 + 2 = ?", "und"),
    ],
)
def test_common_languages_are_told_apart(text: str, language: str):
    assert identify(text) == language


def test_a_chinese_page_with_a_kana_is_chinese():
    assert identify("我喜欢日本茶の香气，每天早上都喝一杯绿茶，然后去上班，晚上回家。") == "zh"


def test_an_english_header_does_not_make_a_japanese_page_english():
    header = "Home News Products Support About us Contact Privacy policy Terms of service Sign in " * 4
    page = header + "\n" + "この製品の使い方を説明します。電源を入れてから、画面の指示に従ってください。\n" * 40
    assert identify(page) == "ja"


@given(st.text(max_size=4000))
def test_any_text_is_identified_the_same_way_twice(text: str):
    assert identify(text) == identify(text)


@given(st.text(min_size=1000, max_size=3000))
def test_a_sample_is_short(text: str):
    assert len(sample(text)) <= 902
