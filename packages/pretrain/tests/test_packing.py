"""Best-fit packing, and attention that ends with its document."""

from pathlib import Path

import numpy as np
import pytest
from bunbuku_pretrain.packing import Packing, Pieces, best_fit, cut, joined, whole_documents
from bunbuku_pretrain.reading import Texts, TokenFile
from bunbuku_pretrain.supply import lengths_cut
from hypothesis import given, settings
from hypothesis import strategies as st

CAPACITY = st.integers(1, 40)
LENGTHS = st.lists(st.integers(1, 100), min_size=1, max_size=80)


def one_by_one(lengths: list[int], capacity: int) -> list[int]:
    """The room that is left in every sequence by the definition: the longest first, each where least room remains."""
    room: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [left for left in room if left >= length]
        if fitting:
            room.remove(min(fitting))
        room.append((min(fitting) if fitting else capacity) - length)
    return sorted(room)


@given(LENGTHS, CAPACITY)
def test_pieces_of_equal_length_placed_together_end_where_they_would_one_by_one(
    lengths: list[int], capacity: int
) -> None:
    fitting = [min(length, capacity) for length in lengths]
    bins = best_fit(np.array(fitting), capacity)
    room = capacity - np.bincount(bins, weights=fitting).astype(int)
    assert sorted(room.tolist()) == one_by_one(fitting, capacity)


@settings(deadline=None)
@given(LENGTHS, CAPACITY)
def test_every_token_but_the_first_of_each_document_is_predicted_once(lengths: list[int], capacity: int) -> None:
    documents = whole_documents(np.array(lengths, dtype=np.int32))
    packing = Packing.of(documents, capacity)
    predicted: list[int] = []
    for number in range(len(packing)):
        pieces = packing.sequence(number)
        assert 0 < pieces.lengths.sum() <= capacity
        for begin, length in zip(*pieces, strict=True):
            predicted += range(int(begin) + 1, int(begin + length) + 1)
    firsts = {int(end - length) for end, length in zip(np.cumsum(lengths), lengths, strict=True)}
    assert sorted(predicted) == [place for place in range(sum(lengths)) if place not in firsts]


@given(LENGTHS, CAPACITY)
def test_what_was_cut_can_be_joined_again(lengths: list[int], capacity: int) -> None:
    documents = whole_documents(np.array(lengths, dtype=np.int32))
    pieces = cut(documents, capacity)
    shuffled = np.random.default_rng(0).permutation(len(pieces.begins))
    again = joined(Pieces(pieces.begins[shuffled], pieces.lengths[shuffled]))
    assert again.begins.tolist() == documents.begins.tolist() and again.lengths.tolist() == documents.lengths.tolist()
    assert all(length <= capacity for length in pieces.lengths)


def test_a_packing_is_read_as_it_was_written(tmp_path: Path) -> None:
    packing = Packing.of(whole_documents(np.array([5, 9, 2, 30, 1, 7], dtype=np.int32)), 16)
    packing.save(tmp_path / "web.16")
    again = Packing.load(tmp_path / "web.16")
    for number in range(len(packing)):
        assert [a.tolist() for a in again.sequence(number)] == [a.tolist() for a in packing.sequence(number)]
    assert again.fill(16) == packing.fill(16) == (4 + 8 + 1 + 29 + 6) / (16 * len(packing))


def test_few_documents_are_cut_when_they_are_packed() -> None:
    lengths = np.random.default_rng(1).integers(2, 60, 2000)
    assert lengths_cut(lengths, 64, packed=True) == 0
    assert 0.3 < lengths_cut(lengths, 64, packed=False) < 0.6
    assert Packing.of(whole_documents(lengths), 64).fill(64) > 0.99


def test_a_sequence_holds_documents_apart_and_counts_no_filling(tmp_path: Path) -> None:
    np.arange(10, 30, dtype=np.uint16).tofile(tmp_path / "web.bin")
    texts = Texts({"web": TokenFile(bin=tmp_path / "web.bin", tokens=20, documents=3)}, dtype="uint16")
    drawn = texts.draw("web", Pieces(np.array([0, 5]), np.array([3, 2])), 8, apart=True)
    assert drawn.tokens.tolist() == [10, 11, 12, 15, 16, 0, 0, 0]
    assert drawn.labels.tolist() == [11, 12, 13, 16, 17, 0, 0, 0]
    assert drawn.counted.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    assert drawn.pieces is not None and drawn.pieces.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_documents_in_one_sequence_have_the_losses_that_each_has_alone(probe: Path) -> None:
    """Positions are those in the sequence: rotary ones are relative, so that nothing changes but rounding."""
    losses = np.load(probe / "packed.npz")
    assert losses["together"].shape == (23,)
    np.testing.assert_allclose(losses["together"], losses["alone"], atol=1e-5)
    assert abs(losses["together"].mean() - losses["alone"].mean()) <= 1e-6


@pytest.mark.parametrize("lengths", [[], [3]])
def test_next_to_nothing_is_packed_too(lengths: list[int]) -> None:
    assert best_fit(np.array(lengths, dtype=np.int64), 4).tolist() == [0] * len(lengths)
