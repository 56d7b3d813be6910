from itertools import product
from math import inf
from operator import add

from bunbuku_tokenizer.learning import with_words
from bunbuku_tokenizer.vocabulary import SCORE_STEP
from hypothesis import given
from hypothesis import strategies as st

KANA = "かきくけこ"
TEXT = st.text(KANA, min_size=2, max_size=6)
PIECES = st.dictionaries(TEXT, st.floats(-20, -5), min_size=1, max_size=30)


def learned(pieces: dict[str, float]) -> list[tuple[str, float]]:
    return sorted([*pieces.items(), *((kana, -9.0) for kana in KANA), ("the", -30.0)], key=lambda each: -each[1])


@given(pieces=PIECES, words=st.lists(TEXT, unique=True, max_size=10), share=st.floats(0, 1))
def test_the_most_frequent_words_that_are_none_become_one_token_and_the_number_of_pieces_stays(
    pieces: dict[str, float], words: list[str], share: float
) -> None:
    before = learned(pieces)
    after = dict(with_words(before, words, share))
    assert len(after) == len(before)
    assert {*KANA, "the"} <= after.keys()
    new = [word for word in words if word in after and word not in pieces]
    assert len(new) <= share * len(pieces)
    missing = [word for word in words if word not in pieces]
    assert new == missing[: len(new)]
    assert len(new) == min(int(share * len(pieces)), len(missing)) or not pieces.keys() - set(words) - after.keys()
    for word in new:
        assert after[word] >= best_of_parts(word, after) + SCORE_STEP


@given(pieces=PIECES, words=st.lists(TEXT, unique=True, max_size=10), share=st.floats(0, 1))
def test_the_least_likely_pieces_make_room(pieces: dict[str, float], words: list[str], share: float) -> None:
    after = dict(with_words(learned(pieces), words, share))
    gone = pieces.keys() - after.keys()
    stay = pieces.keys() - gone - set(words)
    assert not gone or not stay or max(pieces[piece] for piece in gone) <= min(pieces[piece] for piece in stay)


def best_of_parts(word: str, scores: dict[str, float]) -> float:
    """By trying every way to cut the word in two or more."""
    ways = product(("", "|"), repeat=len(word) - 1)
    cuts = ("".join(map(add, word, (*way, ""))).split("|") for way in ways)
    return max(sum(scores.get(part, -inf) for part in cut) for cut in cuts if len(cut) > 1)
