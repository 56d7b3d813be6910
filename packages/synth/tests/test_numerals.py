import pytest
from bunbuku_synth.numerals import LIMIT, kanji, numbers, parse
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(0, LIMIT - 1))
def test_kanji_numerals_read_back_as_the_number(number: int):
    assert parse(kanji(number)) == number
    assert parse(str(number)) == number


@pytest.mark.parametrize(
    ("number", "word"),
    [(0, "〇"), (10, "十"), (11, "十一"), (100, "百"), (1000, "千"), (10_000, "一万"), (100_000_020, "一億二十")],
)
def test_kanji_numerals_are_written_as_in_japanese(number: int, word: str):
    assert kanji(number) == word


@given(st.text(alphabet="〇零一二三十百千万億", min_size=1, max_size=6))
def test_only_well_formed_numerals_have_a_value(word: str):
    value = parse(word)
    spelled_out = all(c not in "十百千万億" for c in word)
    assert value is None or spelled_out or kanji(value) == word


@pytest.mark.parametrize("number", [-1, LIMIT])
def test_a_number_that_cannot_be_written_is_refused(number: int):
    with pytest.raises(ValueError, match=str(number)):
        kanji(number)


def test_numbers_are_found_where_they_stand():
    text = "りんごが３個と十二個で、15個。"
    assert [(text[start:end], value) for start, end, value in numbers(text)] == [("３", 3), ("十二", 12), ("15", 15)]
