"""Intervals against published values and against what they promise."""

import numpy as np
import pytest
from bunbuku_contracts.intervals import wilson
from bunbuku_eval.intervals import bootstrap_ratio
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (score, no continuity correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_published_values(successes, trials, low, high) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_inside_zero_and_one(case) -> None:
    successes, trials = case
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson(trials - successes, trials)
    assert (1 - high, 1 - low) == pytest.approx(tuple(mirrored), abs=1e-12)


def test_nothing_measured_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_bootstrap_covers_a_known_ratio_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        sizes = random.integers(5, 50, 80).astype(float)
        bits = random.poisson(3 * sizes).astype(float)
        low, high = bootstrap_ratio(bits, sizes, seed=trial, rounds=300)
        covered += low <= 3 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_the_bootstrap_is_the_same_for_the_same_seed() -> None:
    values, ones = np.arange(20.0), np.ones(20)
    assert bootstrap_ratio(values, ones, seed=3) == bootstrap_ratio(values, ones, seed=3)
    assert bootstrap_ratio(values, ones, seed=3) != bootstrap_ratio(values, ones, seed=4)
