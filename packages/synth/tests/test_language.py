import itertools

import pytest
from bunbuku_synth.language import blanks, content, is_plain_english, is_plain_japanese, normalized, sentences
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(alphabet="あいアイ亜。！？\n 」", max_size=40))
def test_sentences_of_japanese_lie_in_order_and_keep_every_letter(text: str):
    spans = sentences(text, "ja")
    assert all(start < end for start, end in spans)
    assert all(before <= start for (_, before), (start, _) in itertools.pairwise(spans))
    letters = set("あいアイ亜")
    assert [c for start, end in spans for c in text[start:end] if c in letters] == [c for c in text if c in letters]


@given(st.text(alphabet="ab .!?\n\"'1", max_size=40))
def test_sentences_of_english_keep_every_letter(text: str):
    spans = sentences(text, "en")
    assert [c for start, end in spans for c in text[start:end] if c.isalnum()] == [c for c in text if c.isalnum()]


@given(st.text(max_size=30))
def test_normalizing_twice_is_normalizing_once(text: str):
    assert normalized(normalized(text)) == normalized(text)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("先生は駅で新聞を買った。", ["先生", "駅", "新聞"]),
        ("トムはカメラをなくした。", ["トム", "カメラ"]),
        ("飲み物を買った。", []),  # 物 is half a word here
        ("私は彼を見た。", []),  # pronouns
        ("本の隣に本がある。", ["隣"]),  # 本 is there twice
        ("昨日彼女は来た。", []),  # two words and a pronoun
    ],
)
def test_nouns_are_found_by_what_stands_around_them(sentence: str, words: list[str]):
    found = blanks(sentence)
    assert [blank.word for blank in found] == words
    assert all(sentence[blank.start :].startswith(blank.word) for blank in found)


def test_content_takes_endings_off_so_that_forms_of_a_word_meet():
    assert content("He stops.") & content("They stopped.") & content("Stopping!")
    assert content("The library") == content("the LIBRARIES")
    assert not content("Is it you?")


@pytest.mark.parametrize(
    "text", ["猫がいる", "猫がいる。犬もいる。", "「はい」と言った。", "Aさんが来た。", "一二三。", "猫 が好き。"]
)
def test_a_japanese_sentence_that_is_not_plain_is_told_apart(text: str):
    assert not is_plain_japanese(text, min_chars=1, max_chars=99)


@pytest.mark.parametrize("text", ["No end", "One. Two.", 'He said "no".', "(Really.)", "日本 is here."])
def test_an_english_sentence_that_is_not_plain_is_told_apart(text: str):
    assert not is_plain_english(text, min_chars=1, max_chars=99)
