from itertools import pairwise

import pytest
from bunbuku_tokenizer.alignment import Cut, cut
from bunbuku_tokenizer.morphemes import mecab
from hypothesis import example, given, settings
from hypothesis import strategies as st

TEXTS = st.text("猫が好き。！ \n\t\u3000\0ab1ー①", max_size=60)


def _by_hand(found: Cut, spans: list[tuple[int, int]]) -> tuple[int, int]:
    """The definitions, a character at a time."""
    boundaries = {place for span in found.spans for place in span}
    straddling = multiple = 0
    for start, end in spans:
        held = [place for place in range(start, end) if any(a <= place < b for a, b in found.spans)]
        if not held:
            continue
        start, end = held[0], held[-1] + 1
        if any(place in boundaries for place in range(start + 1, end)):
            whole = {start, end} <= boundaries
            multiple, straddling = multiple + whole, straddling + (not whole)
    return straddling, multiple


@pytest.mark.parametrize(
    ("tokens", "straddling", "multiple"),
    [
        (["狸", "は", "茶釜", "から", "出た"], 0, 1),  # 出 and た are whole: 出た is two morphemes
        (["狸は", "茶釜から", "出", "た"], 0, 2),
        (["狸は茶", "釜", "から出", "た"], 1, 1),  # 狸は茶 ends inside 茶釜
        (["狸は茶", "釜から", "出た"], 2, 1),
        (["狸", "は", "茶", "釜", "か", "ら", "出", "た"], 0, 0),  # pieces of morphemes cross nothing
        (["狸は茶釜から出た"], 0, 1),
    ],
)
def test_tokens_lie_on_morphemes_as_counted_by_hand(tokens: list[str], straddling: int, multiple: int) -> None:
    found = cut("狸は茶釜から出た", mecab())
    assert found.morphemes == ["狸", "は", "茶釜", "から", "出", "た"]
    ends = [sum(map(len, tokens[: place + 1])) for place in range(len(tokens))]
    assert found.lying([0, *ends[:-1]], ends) == (straddling, multiple)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, cuts=st.sets(st.integers(0, 60)))
@example(text=" 猫 が", cuts={1, 2})
def test_tokens_lie_as_the_definitions_say_and_white_space_does_not_matter(text: str, cuts: set[int]) -> None:
    found = cut(text, mecab())
    places = [0, *sorted(place for place in cuts if 0 < place < len(text)), len(text)]
    spans = list(pairwise(places))
    assert found.lying([start for start, _ in spans], [end for _, end in spans]) == _by_hand(found, spans)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_morphemes_are_all_of_the_text_but_white_space(text: str) -> None:
    assert "".join(cut(text, mecab()).morphemes) == "".join(text.replace("\0", " ").split())


def test_an_analyzer_never_sees_a_long_stretch_and_nothing_is_lost() -> None:
    seen: list[str] = []

    def segment(stretch: str) -> list[str]:
        seen.append(stretch)
        return list(stretch)

    text = "吾輩は猫である。" * 1000 + "ー" * 9000
    assert "".join(cut(text, segment).morphemes) == text == "".join(seen)
    assert max(map(len, seen)) <= 4001
    assert seen[0].endswith("。")
