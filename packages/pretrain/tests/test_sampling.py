from pathlib import Path

import numpy as np
import pytest
from bunbuku_pretrain.sampling import Order, ScoredWindows, Windows
from hypothesis import given, settings
from hypothesis import strategies as st


def windows(folder: Path, tokens: int, length: int) -> Windows:
    np.arange(tokens, dtype=np.uint16).tofile(folder / "part.bin")
    return Windows(folder / "part.bin", dtype="uint16", sequence_length=length)


@settings(deadline=None)
@given(count=st.integers(1, 400), key=st.text(max_size=8))
def test_an_order_has_everything_once(count: int, key: str) -> None:
    order = Order(count, key=key)
    places = order.places(range(count)).tolist()
    assert sorted(places) == list(range(count))
    assert [order.place(number) for number in range(0, count, 7)] == places[::7]


def test_keys_have_orders_of_their_own() -> None:
    orders = {tuple(Order(50, key=f"{seed}/{epoch}").places(range(50)).tolist()) for seed in (1, 2) for epoch in (0, 1)}
    assert len(orders) == 4


def test_an_order_is_shuffled_well() -> None:
    count = 4000
    order = Order(count, key="1").places(range(count))
    assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.05
    assert np.mean(np.abs(np.diff(order)) < count // 100) < 0.05


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_every_permutation_comes_about_as_often(count: int) -> None:
    times = 3000
    firsts = np.array([Order(count, key=str(number)).place(0) for number in range(times)])
    expected = times / count
    assert ((np.bincount(firsts, minlength=count) - expected) ** 2 / expected).sum() < 30  # chi squared, 6 degrees


def test_windows_predict_every_token_but_the_first_and_the_last_few_once(tmp_path: Path) -> None:
    made = windows(tmp_path, tokens=100, length=8)
    labels = np.concatenate([made[index][1:] for index in range(len(made))])
    assert labels.tolist() == list(range(1, 97))


@pytest.mark.parametrize("most", [None, 1, 8, 50, 1000])
def test_measuring_counts_every_token_but_the_first_once_up_to_the_limit(tmp_path: Path, most: int | None) -> None:
    made = windows(tmp_path, tokens=100, length=8)
    measured = ScoredWindows(made, most_tokens=most)
    counted = [window.tokens[1:][window.counted == 1] for window in map(measured.__getitem__, range(len(measured)))]
    assert np.concatenate(counted).tolist() == list(range(1, 1 + min(99, most or 99)))
