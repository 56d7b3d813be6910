import random

import numpy as np
import pyarrow as pa
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_corpus.clusters import First, FromSource, Highest, components, elect
from hypothesis import given
from hypothesis import strategies as st

COUNT = 12
EDGES = st.lists(
    st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)).filter(lambda edge: edge[0] != edge[1])
)


def ends(edges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array(edges, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def by_search(edges: list[tuple[int, int]]) -> list[int]:
    """The least number that can be reached from each."""
    reached = {one: {one} for one in range(COUNT)}
    for _ in range(COUNT):
        for one, other in edges:
            reached[one] |= reached[other]
            reached[other] |= reached[one]
    return [min(reached[one]) for one in range(COUNT)]


@given(EDGES, st.randoms(use_true_random=False))
def test_components_are_those_found_by_search_in_any_order_of_the_pairs(
    edges: list[tuple[int, int]], chooser: random.Random
):
    shuffled = [(other, one) if chooser.random() < 0.5 else (one, other) for one, other in edges]
    chooser.shuffle(shuffled)
    assert components(COUNT, *ends(edges)).tolist() == by_search(edges)
    assert components(COUNT, *ends(shuffled)).tolist() == by_search(edges)


def test_a_long_chain_is_one_component():
    count = 100_000
    labels = components(count, np.arange(count - 1)[::-1], np.arange(1, count)[::-1])
    assert not labels.any()


@given(EDGES, st.permutations(range(COUNT)), st.integers(0, 3))
def test_what_goes_is_near_to_a_better_one_that_stays_and_those_that_stay_are_not_near(
    edges: list[tuple[int, int]], order: list[int], olds: int
):
    old = np.isin(np.arange(COUNT), order[:olds])
    stands = elect(*ends(edges), np.full(len(edges), 0.9), order=np.array(order), old=old).stands_for_it.tolist()
    together = {frozenset(edge) for edge in edges}
    for one, other in enumerate(stands):
        if one != other:
            assert frozenset((one, other)) in together
            assert stands[other] == other and order.index(other) < order.index(one) and not old[one]
    for one, other in map(tuple, together):
        assert stands[one] != one or stands[other] != other or (old[one] and old[other])


def test_the_rules_rank_as_they_say():
    batch = pa.record_batch(
        {
            "number": pa.array([7, 8, 9], pa.uint64()),
            "source": pa.array(["web", "wiki", "other"]),
            "quality": pa.array([0.5, None, 0.9]),
        }
    )
    assert First().ranks(batch).tolist() == [-7, -8, -9]
    assert FromSource(sources=("wiki", "web")).ranks(batch).tolist() == [-1, 0, -2]
    assert Highest(column="quality").ranks(batch).tolist() == [0.5, float("-inf"), 0.9]
    with pytest.raises(BunbukuError, match="no column 'score'; it has number, source, quality"):
        Highest(column="score").ranks(batch)
