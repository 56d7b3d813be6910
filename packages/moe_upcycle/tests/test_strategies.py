import numpy as np
import pytest
from bunbuku_moe_upcycle.layout import Place
from bunbuku_moe_upcycle.routers import NormalRouter, UniformRouter
from bunbuku_moe_upcycle.strategies import Copy, Drop, Noise, deviation_of
from hypothesis import given
from hypothesis import strategies as st

DENSE = np.random.default_rng(1).standard_normal((96, 64)).astype(np.float32) * np.float32(0.02)
GATE, DOWN = Place(0, 0, "gate"), Place(0, 0, "down")


def test_a_copy_is_the_dense_network():
    np.testing.assert_array_equal(Copy().expert(DENSE, GATE, 0), DENSE)


@pytest.mark.parametrize(("mode", "wanted"), [("absolute", 1e-3), ("relative", 1e-3 * 0.02)])
def test_noise_has_the_deviation_that_its_mode_says(mode: str, wanted: float):
    noise = Noise(scale=1e-3, mode=mode).expert(DENSE, GATE, 0) - DENSE  # type: ignore[arg-type]
    assert noise.std() == pytest.approx(wanted, rel=0.03)
    assert abs(noise.mean()) < wanted * 0.05


def test_absolute_noise_of_a_thousandth_is_five_percent_of_ordinary_weights():
    changed = Noise(scale=1e-3, mode="absolute").expert(DENSE, GATE, 0)
    assert (changed - DENSE).std() / DENSE.std() == pytest.approx(0.05, rel=0.03)


def test_no_noise_changes_no_bit():
    np.testing.assert_array_equal(Noise(scale=0).expert(DENSE, GATE, 0), DENSE)


@pytest.mark.parametrize("strategy", [Noise(), Drop()])
@pytest.mark.parametrize("other", [Place(1, 0, "gate"), Place(0, 1, "gate"), Place(0, 0, "up")])
def test_every_place_and_seed_draws_its_own(strategy: Noise | Drop, other: Place):
    here = strategy.expert(DENSE, GATE, 0)
    np.testing.assert_array_equal(strategy.expert(DENSE, GATE, 0), here)
    assert not np.array_equal(strategy.expert(DENSE, other, 0), here)
    assert not np.array_equal(strategy.expert(DENSE, GATE, 1), here)


@given(st.floats(0, 1), st.sampled_from(["gate", "up", "down"]))
def test_drop_redraws_its_share_of_inner_units_and_keeps_the_rest(ratio: float, weight: str):
    dense = DENSE.T if weight == "down" else DENSE
    made = Drop(ratio=ratio).expert(dense, Place(0, 0, weight), 0)  # type: ignore[arg-type]
    changed = (made != dense).any(axis=0 if weight == "down" else 1)
    assert changed.sum() == round(ratio * 96)
    assert (made != dense).sum() == pytest.approx(changed.sum() * 64, abs=64)


def test_dropped_units_keep_their_mean_and_deviation():
    dense = DENSE + np.float32(0.5)
    made = Drop(ratio=1.0).expert(dense, GATE, 0)
    assert made.mean() == pytest.approx(0.5, abs=1e-3)
    assert made.std() == pytest.approx(DENSE.std(), rel=0.03)


def test_the_three_matrices_of_an_expert_share_their_dropped_units_if_told_so():
    def units(drop: Drop) -> list[list[int]]:
        gate, up = (drop.expert(DENSE, Place(0, 0, weight), 0) for weight in ("gate", "up"))
        down = drop.expert(DENSE.T, DOWN, 0).T
        return [np.flatnonzero((made != DENSE).any(axis=1)).tolist() for made in (gate, up, down)]

    gate, up, down = units(Drop(units="shared"))
    assert gate == up == down
    gate, up, down = units(Drop(units="independent"))
    assert gate != up != down != gate


@pytest.mark.parametrize("router", [NormalRouter, UniformRouter])
@pytest.mark.parametrize("zero_mean", [True, False])
@given(std=st.sampled_from([0.001, 0.02, 1.0]), experts=st.integers(2, 9))
def test_a_router_has_the_deviation_that_is_stated(router, zero_mean: bool, std: float, experts: int):
    weights_ED = router(std=std, zero_mean=zero_mean).weights((experts, 4096), "router", 0)
    assert weights_ED.std() == pytest.approx(std, rel=0.06)
    assert (np.abs(weights_ED.sum(axis=0)).max() < 1e-5 * std * experts) == zero_mean


def test_the_deviation_is_the_population_s():
    wide = np.random.default_rng(0).standard_normal((3000, 2000)).astype(np.float32) + 3
    assert deviation_of(wide) == pytest.approx(wide.std(dtype=np.float64), rel=1e-6)
