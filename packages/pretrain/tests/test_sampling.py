from pathlib import Path

import numpy as np
import pytest
from bunbuku_pretrain.sampling import Order, Windows, scored_windows
from hypothesis import given, settings
from hypothesis import strategies as st


def windows(folder: Path, tokens: int, length: int) -> Windows:
    np.arange(tokens, dtype=np.uint16).tofile(folder / "part.bin")
    return Windows(folder / "part.bin", dtype="uint16", sequence_length=length)


@settings(deadline=None)
@given(count=st.integers(1, 400), seed=st.integers(0, 2**40), epoch=st.integers(0, 3))
def test_every_epoch_reads_every_window_once(count: int, seed: int, epoch: int) -> None:
    order = Order(count, seed=seed)
    read = [order.window(sample) for sample in range(epoch * count, (epoch + 1) * count)]
    assert sorted(read) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {
        tuple(Order(50, seed=seed).window(sample) for sample in range(50 * epoch, 50 * epoch + 50))
        for seed in (1, 2)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_an_order_is_shuffled_well() -> None:
    count = 4000
    order = np.array([Order(count, seed=1).window(sample) for sample in range(count)])
    assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.05
    assert np.mean(np.abs(np.diff(order)) < count // 100) < 0.05


def test_windows_predict_every_token_but_the_first_and_the_last_few_once(tmp_path: Path) -> None:
    made = windows(tmp_path, tokens=100, length=8)
    labels = np.concatenate([made[index][1:] for index in range(len(made))])
    assert labels.tolist() == list(range(1, 97))


@pytest.mark.parametrize("most", [None, 1, 8, 50, 1000])
def test_measuring_counts_every_token_but_the_first_once_up_to_the_limit(tmp_path: Path, most: int | None) -> None:
    made = windows(tmp_path, tokens=100, length=8)
    counted = [window.tokens[1:][window.counted == 1] for window in scored_windows(made, most_tokens=most)]
    assert np.concatenate(counted).tolist() == list(range(1, 1 + min(99, most or 99)))
