"""The published trainings as configs: they are read, and their steps, rates and sizes are those that were published."""

from pathlib import Path

import pytest
from bunbuku_contracts import Architecture, Experts, RouterNormalization
from bunbuku_contracts.settings import read_settings
from bunbuku_pretrain import TrainConfig, TrainRun
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.training import check_layout

RUNS = Path(__file__).parents[3] / "runs" / "tanuki"
pytestmark = pytest.mark.skipif(not RUNS.is_dir(), reason="the runs are not there")


def course(name: str) -> Course:
    return Course(read_settings(TrainConfig, RUNS / f"pretrain-{name}.toml"))


def test_the_8b_takes_its_published_steps_at_its_published_rates() -> None:
    published = course("8b")
    ends = [126_000, 126_000 + 7_200, 126_000 + 7_200 + 7_400]
    assert [published.step(end).phase for end in ends] == [0, 1, 2]
    assert [published.step(end + 1).phase for end in ends] == [1, 2, 3]
    assert published.step(1_000).learning_rate == pytest.approx(4e-5, rel=1e-3)
    assert published.step(ends[1]).learning_rate == pytest.approx(5e-6)
    assert published.step(ends[1] + 500).learning_rate == pytest.approx(5e-5)
    assert [(published.step(end).eps, published.step(end).clip) for end in ends] == [(1e-5, 0.8)] * 2 + [(1e-8, 0.8)]
    assert published.step(ends[2] + 1).eps == 1e-8
    last = published.step(published.steps)
    assert (last.sequences, last.sequence_length, last.rope_theta) == (1536, 8192, 500_000)
    assert last.learning_rate == pytest.approx(1e-6)


def test_the_first_phase_of_the_8b_goes_from_3e4_to_3e5_and_on_at_lower_rates() -> None:
    published = course("8b-phase1")
    (_, first), (_, second), (_, third) = published.phase_steps
    assert published.step(first).tokens == pytest.approx(195.5e9, rel=1e-4)
    assert published.step(first).sequences == 1536
    assert published.step(636).learning_rate == pytest.approx(3e-4, rel=1e-3)  # 2 B tokens
    assert published.step(first).learning_rate == pytest.approx(3e-5, rel=1e-3)
    assert published.step(first + 1).learning_rate == pytest.approx(5.8e-5, rel=1e-3)
    assert published.step(second).learning_rate == pytest.approx(2e-5, rel=1e-3)
    last = published.step(third)
    assert (last.sequence_length, last.rope_theta) == (8192, 500_000)
    assert last.learning_rate == pytest.approx(2e-5)


def test_the_8x8b_passes_over_steps_200_to_300_of_its_seventh_feed() -> None:
    published = course("8x8b")
    (first, last), *others = published.config.skip_steps
    begin = published.phase_steps[2][0]
    assert not others and (first - begin + 1, last - begin + 1) == (200, 300)


def test_the_8x8b_anneals_over_2720_steps_of_12_6_million_tokens() -> None:
    published = course("8x8b")
    last = published.step(published.steps)
    assert last.batch_tokens == 12_582_912
    assert published.step(published.steps - 2_720).phase == 2
    assert published.step(published.steps - 2_719).resets_optimizer
    assert last.learning_rate == pytest.approx(1e-7)


@pytest.mark.parametrize(("name", "billions"), [("8b", 7.51), ("8b-phase1", 7.51), ("8x8b", 46.97)])
def test_the_models_fit_their_layouts(name: str, billions: float) -> None:
    normalized = Experts(count=8, active=2, normalization=RouterNormalization())
    model = Architecture(
        layers=32,
        hidden_size=4096,
        ffn_size=14336,
        heads=32,
        kv_heads=8,
        vocab_size=65_024,
        max_positions=8192,
        experts=normalized if name == "8x8b" else None,
    )
    assert model.parameters / 1e9 == pytest.approx(billions, abs=0.005)
    check_layout(course(name), read_settings(TrainRun, RUNS / f"h100-{name}.toml"), model)
