import struct
import unicodedata

import pytest
from bunbuku_tokenizer.vocabulary import EXACT_UP_TO, GIVEN, SCORE_STEP, assemble, mandatory, on_step
from hypothesis import given
from hypothesis import strategies as st

LEARNED = [*((character, -9.3) for character in "石油▁#:指示応答"), ("石油", -5.1)]


def test_ids_are_in_the_agreed_order() -> None:
    pieces = assemble(LEARNED)
    assert [piece.text for piece in pieces[:6]] == ["<unk>", "<s>", "</s>", "<pad>", "<0x00>", "<0x01>"]
    assert tuple(piece.text for piece in pieces[260 : 260 + len(GIVEN)]) == GIVEN
    assert [piece.text for piece in pieces[260 + len(GIVEN) :]] == [text for text, _ in LEARNED]


@given(st.lists(st.floats(-50, -0.01), min_size=1, max_size=200))
def test_sums_of_scores_are_exact_in_single_precision(scores: list[float]) -> None:
    single = exact = 0.0
    for score in map(on_step, scores):
        exact += score
        (single,) = struct.unpack("f", struct.pack("f", single + score))
    assert single == exact


def test_sums_stop_being_exact_only_beyond_the_stated_bound() -> None:
    for total in (EXACT_UP_TO - SCORE_STEP, EXACT_UP_TO):
        assert struct.unpack("f", struct.pack("f", total)) == (total,)
    beyond = EXACT_UP_TO + SCORE_STEP
    assert struct.unpack("f", struct.pack("f", beyond)) != (beyond,)


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        (("石油", -7.0), "there twice"),
        (("", -7.0), "empty"),
        (("<s>", -7.0), "there twice"),
        (("水素", -7.0), "is in a piece and no piece itself"),
        (("石▁", -1e9), "the score"),
    ],
)
def test_a_vocabulary_that_could_not_encode_is_refused(extra: tuple[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        assemble([*LEARNED, extra])


def test_the_kanji_of_general_use_are_the_2136_of_the_official_list() -> None:
    kanji = [character for character in mandatory("joyo") if unicodedata.name(character).startswith("CJK UNIFIED")]
    assert len(kanji) == len(set(kanji)) == 2136 + 4
    assert {"亜", "腕", "鬱", "塡", "填", "𠮟", "叱", "俺", "岡"} <= set(kanji)
    assert not {"匁", "銑", "勺", "錘", "脹"} & set(kanji)  # taken off the list in 2010
    # All but these are in the first level of JIS X 0208, whose rows 16 to 47 hold the commonest kanji.
    first = {character for character in kanji if _jis_row(character) in range(16, 48)}
    assert "".join(sorted(set(kanji) - first)) == "丼傲刹剝哺喩嗅嘲塡彙恣惧慄憬拉摯曖楷毀璧瘍箋籠緻羞訃諧貪踪辣錮頰鬱𠮟"


def _jis_row(character: str) -> int:
    encoded = character.encode("euc_jp", "ignore")
    return encoded[0] - 0xA0 if len(encoded) == 2 else 0
