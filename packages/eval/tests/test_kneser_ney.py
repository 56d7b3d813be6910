"""The bigram model against its formula, against nltk, and against what every distribution must satisfy."""

from itertools import pairwise

import numpy as np
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_eval.kneser_ney import BigramCounts, KneserNeyBigram, estimated_discount
from hypothesis import given
from hypothesis import strategies as st

TEXT = "猫が好き。犬が好き。猫は犬が嫌い。犬は猫が好き。鳥は空が好き。空は青い。猫は青い鳥が好き。"

ids = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)


def counted(pairs, vocab_size: int) -> BigramCounts:
    previous, following = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    return BigramCounts.none(vocab_size).add(previous, following)


def every_pair(vocab_size: int):
    previous, following = np.divmod(np.arange(vocab_size * vocab_size, dtype=np.int64), vocab_size)
    return previous, following


@given(ids, st.floats(0.05, 1), st.floats(0.05, 1))
def test_probabilities_behind_every_context_sum_to_one_and_none_is_zero(pairs, discount, unigram_discount) -> None:
    model = KneserNeyBigram.fit(counted(pairs, 7), discount=discount, unigram_discount=unigram_discount)
    table = model.probabilities(*every_pair(7)).reshape(7, 7)
    assert table.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-12)
    assert (table > 0).all()


@given(ids, ids)
def test_counting_in_pieces_is_counting_at_once(first, second) -> None:
    in_pieces = counted(first, 7).add(*(np.array(side, dtype=np.int64) for side in zip(*second, strict=True)))
    at_once = counted(first + second, 7)
    assert np.array_equal(in_pieces.codes, at_once.codes)
    assert np.array_equal(in_pieces.counts, at_once.counts)
    assert at_once.total == len(first) + len(second)


def test_it_follows_the_formula_term_by_term() -> None:
    pairs = [(0, 1), (0, 1), (0, 2), (3, 1)]
    model = KneserNeyBigram.fit(counted(pairs, 4), discount=0.5, unigram_discount=0.25)
    # 1 was seen behind two tokens, 2 behind one; three kinds of bigram; two kinds of following token.
    lower = {
        1: (2 - 0.25) / 3 + 0.25 * 2 / 3 / 4,
        2: (1 - 0.25) / 3 + 0.25 * 2 / 3 / 4,
        3: 0.25 * 2 / 3 / 4,
    }
    assert model.probabilities(np.array([0]), np.array([1]))[0] == pytest.approx((2 - 0.5) / 3 + 0.5 * 2 / 3 * lower[1])
    assert model.probabilities(np.array([0]), np.array([3]))[0] == pytest.approx(0.5 * 2 / 3 * lower[3])
    assert model.probabilities(np.array([2]), np.array([2]))[0] == pytest.approx(lower[2])  # 2 was never a context


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("discount", [0.1, 0.75])
def test_it_equals_nltk_where_nltk_is_defined(discount) -> None:
    """nltk leaves the lowest order unsmoothed, so an unseen token has probability 0 there: no unigram discount here.

    It is given the same bigrams, those across a boundary not among them, and the same discount.
    """
    KneserNeyInterpolated = pytest.importorskip("nltk.lm").KneserNeyInterpolated

    sentences = [list(sentence) for sentence in TEXT.split("。") if sentence]
    letters = sorted({letter for sentence in sentences for letter in sentence})
    place = {letter: index for index, letter in enumerate(letters)}
    pairs = [pair for sentence in sentences for pair in pairwise(sentence)]
    oracle = KneserNeyInterpolated(2, discount=discount)
    oracle.fit([pairs], vocabulary_text=letters)
    counts = counted([(place[u], place[v]) for u, v in pairs], len(letters))
    model = KneserNeyBigram.fit(counts, discount=discount, unigram_discount=0.0)
    ours = model.probabilities(*every_pair(len(letters))).reshape(len(letters), len(letters))
    theirs = [[oracle.unmasked_score(v, (u,)) for v in letters] for u in letters]
    assert ours == pytest.approx(np.array(theirs), abs=1e-9)


def test_a_discount_is_estimated_from_the_counts_of_one_and_two() -> None:
    assert estimated_discount(np.array([1, 1, 1, 2, 5]), "discount") == pytest.approx(3 / (3 + 2 * 1))


def test_counts_that_give_no_discount_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(BunbukuError, match="no discount can be estimated") as raised:
        KneserNeyBigram.fit(counted([(0, 1), (0, 1)], 2))
    assert "`discount`" in raised.value.hint


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the vocabulary of 3"):
        counted([(0, 3)], 3)


def test_with_enough_text_it_comes_close_to_the_chain_that_made_it() -> None:
    random = np.random.default_rng(0)
    chain = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    tokens = [0]
    for _ in range(4000):
        tokens.append(int(random.choice(3, p=chain[tokens[-1]])))
    held = np.array(tokens[3000:])
    truth = -np.log2(chain[held[:-1], held[1:]]).mean()
    bits = []
    for size in (30, 3000):
        model = KneserNeyBigram.fit(counted(list(pairwise(tokens[:size])), 3), discount=0.75, unigram_discount=0.75)
        bits.append(-np.log2(model.probabilities(held[:-1], held[1:])).mean())
    assert bits[1] < bits[0]
    assert bits[1] == pytest.approx(truth, rel=0.01)
