import sys
import unicodedata

import pyarrow as pa
import pytest
from bunbuku_corpus.comparison import Buffer, comparable
from hypothesis import given
from hypothesis import strategies as st

# Voicing marks, half-width kana, Hangul jamo, Kannon and Tibetan marks, expansions and white space, all mixed.
TRICKY = st.text(
    st.one_of(
        st.characters(codec="utf-8"), st.sampled_from("かカﾊﾞ\u3099\u309a゛㍍…①㈱ﬁ　 \n각ᄀ\u1161\u11a8é\u0301\u0327神")
    )
)


def back(buffer: Buffer) -> list[str]:
    return [points.tobytes().decode("utf-32-le") for points in buffer.texts()]


@given(st.lists(TRICKY, max_size=8))
def test_a_batch_is_compared_as_its_texts_are(texts: list[str]):
    assert back(Buffer.of(texts)) == [comparable(text) for text in texts]


@given(st.lists(TRICKY, min_size=1, max_size=8), st.data())
def test_a_slice_of_an_array_is_compared_like_the_array(texts: list[str], data: st.DataObject):
    begin = data.draw(st.integers(0, len(texts)))
    for kind in (pa.string(), pa.large_string()):
        part = pa.array(texts, kind).slice(begin, 3)
        assert back(Buffer.of(part)) == [comparable(text) for text in texts[begin : begin + 3]]


def test_beyond_the_planes_that_the_table_looks_at_nothing_changes():
    for point in range(0x30000, sys.maxunicode + 1):
        char = chr(point)
        assert unicodedata.normalize("NFKC", char) == char and not char.isspace() and not unicodedata.combining(char)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("です。ガギグゲゴ", "てす。カキクケコ", False),
        ("2024年", "2025年", False),
        ("ｶﾞｿﾘﾝ１００円", "ガソリン100円", True),
        ("か\u3099っこう", "がっこう", True),
        ("改行\nと　空白", "改行と空白", True),
    ],
)
def test_voicing_marks_and_digits_make_a_difference_and_width_does_not(one: str, other: str, equal: bool):
    assert (comparable(one) == comparable(other)) is equal
