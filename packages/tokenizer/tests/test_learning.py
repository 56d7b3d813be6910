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


@given(pieces=PIECES, words=st.lists(TEXT, unique=True, max_size=10))
def test_every_word_there_is_room_for_becomes_one_token_and_the_number_of_pieces_stays(
    pieces: dict[str, float], words: list[str]
) -> None:
    before = learned(pieces)
    after = dict(with_words(before, words))
    assert len(after) == len(before)
    assert {*KANA, "the"} <= after.keys()
    missing = [word for word in words if word not in pieces]
    room = len(pieces.keys() - set(words))
    assert set(missing[:room]) <= after.keys()
    for word in missing[:room]:
        assert after[word] >= best_of_parts(word, after) + SCORE_STEP


@given(pieces=PIECES, words=st.lists(TEXT, unique=True, max_size=10))
def test_the_least_likely_pieces_make_room(pieces: dict[str, float], words: list[str]) -> None:
    after = dict(with_words(learned(pieces), words))
    gone = pieces.keys() - after.keys()
    assert not gone & set(words)
    stay = pieces.keys() - gone - set(words)
    assert not gone or not stay or max(pieces[piece] for piece in gone) <= min(pieces[piece] for piece in stay)


def best_of_parts(word: str, scores: dict[str, float]) -> float:
    """By trying every way to cut the word in two or more."""
    ways = product(("", "|"), repeat=len(word) - 1)
    cuts = ("".join(map(add, word, (*way, ""))).split("|") for way in ways)
    return max(sum(scores.get(part, -inf) for part in cut) for cut in cuts if len(cut) > 1)
