"""The order in which rows are trained on."""

from collections import Counter

from bunbuku_align.order import training_order
from hypothesis import given
from hypothesis import strategies as st

LENGTHS = st.lists(st.integers(1, 100), min_size=1, max_size=80)


@given(lengths=LENGTHS, epochs=st.integers(1, 3), batch=st.integers(1, 9), seed=st.integers(0, 9))
def test_whole_epochs_hold_every_row_equally_often(lengths, epochs, batch, seed) -> None:
    order = training_order(lengths, examples=epochs * len(lengths), batch=batch, seed=seed)
    assert Counter(order) == dict.fromkeys(range(len(lengths)), epochs)


@given(lengths=LENGTHS, examples=st.integers(1, 200), batch=st.integers(1, 9))
def test_a_part_of_an_epoch_repeats_no_row_more_than_another(lengths, examples, batch) -> None:
    order = training_order(lengths, examples=examples, batch=batch, seed=0)
    often = Counter(dict.fromkeys(range(len(lengths)), 0) | Counter(order))
    assert len(order) == examples
    assert max(often.values()) - min(often.values()) <= 1


@given(lengths=LENGTHS, batch=st.integers(1, 9))
def test_the_order_is_the_same_for_the_same_seed(lengths, batch) -> None:
    one, other = (training_order(lengths, examples=len(lengths), batch=batch, seed=3) for _ in range(2))
    assert one == other


def test_batches_are_shuffled_and_hold_rows_of_like_length() -> None:
    lengths = [10 + row * 37 % 90 for row in range(640)]
    order = training_order(lengths, examples=640, batch=32, seed=1)
    assert order != training_order(lengths, examples=640, batch=32, seed=2)
    batches = [[lengths[row] for row in order[start : start + 32]] for start in range(0, 640, 32)]
    padded = sum(max(batch) * len(batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)
    longest = [max(batch) for batch in batches]
    assert longest != sorted(longest)
