from pathlib import Path
from types import SimpleNamespace

import pytest
from bunbuku_contracts import Artifact, ConfigError, Tokenizer, Tokens, read_sections
from bunbuku_contracts.settings import read_settings
from bunbuku_pretrain.job import StepRecord
from bunbuku_pretrain.rate_range import Stair, TurnRule, recommended, stairs, turns
from bunbuku_pretrain.stages.lr_range import LrRangeConfig, lr_range
from hypothesis import given
from hypothesis import strategies as st

CALM = Stair(rate=1e-3, loss=3.0, loss_error=0.01, gradient_norm=1.0, update_ratio=1e-3, steep_share=0.2, broken=0)


def climb(*changes: dict[str, object]) -> list[Stair]:
    """Stairs at 1e-3, 2e-3, 4e-3 and so on."""
    return [CALM._replace(rate=1e-3 * 2**number, **change) for number, change in enumerate(changes)]


@pytest.mark.parametrize(
    ("last", "what"),
    [
        ({"loss": 3.1}, "loss"),
        ({"gradient_norm": 2.5}, "gradient norm"),
        ({"update_ratio": 0.06}, "updates"),
        ({"broken": 1}, "numbers"),
        ({"broken": 9, "loss": None, "gradient_norm": None}, "numbers"),
    ],
)
def test_a_turn_is_found_on_its_stair_and_the_rate_kept_below_it(last: dict[str, object], what: str) -> None:
    found = climb({}, {}, {}, last, {})
    turned = turns(found, TurnRule())
    assert [(turn.what, turn.rate) for turn in turned] == [(what, 8e-3)]
    assert recommended(found, turned, margin=2) == 4e-3


def test_what_turns_first_decides() -> None:
    found = climb({}, {}, {"update_ratio": 0.5}, {"loss": 9.0}, {"broken": 3})
    assert [turn.what for turn in turns(found, TurnRule())] == ["updates", "loss", "numbers"]


def test_a_falling_loss_and_noise_within_its_error_do_not_turn() -> None:
    found = climb({"loss": 3.2}, {"loss": 3.0}, {"loss": 3.03}, {"loss": 2.9})
    assert turns(found, TurnRule()) == []
    assert recommended(found, [], margin=1) == 8e-3


@given(steps=st.integers(5, 30), count=st.integers(3, 8), data=st.data())
def test_every_step_is_on_one_stair(steps: int, count: int, data: st.DataObject) -> None:
    losses = data.draw(st.lists(st.floats(1, 9), min_size=steps * count, max_size=steps * count))
    history = [StepRecord(step=number, tokens=number, loss=loss) for number, loss in enumerate(losses, 1)]
    rates = [10.0**-number for number in range(count, 0, -1)]
    found = stairs(history, [], rates, steps=steps)
    settled = [losses[at * steps + steps // 5 : (at + 1) * steps] for at in range(count)]
    assert [one.loss for one in found] == pytest.approx([sum(some) / len(some) for some in settled])
    assert [one.rate for one in found] == rates


@pytest.mark.slow
def test_a_model_is_driven_until_it_turns(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    config = LrRangeConfig(training=tiny.config(steps=60), lowest=1e-4, highest=10.0, stairs=6, steps_per_stair=8)
    report = lr_range(tmp_path / "range", config, tokens, tokenizer, run=tiny.laptop)
    metrics = report.manifest.metrics
    assert 1e-4 < metrics["recommended"] < 1
    turned = [rate for name, rate in metrics.items() if name.startswith("turns.")]
    assert metrics["recommended"] == pytest.approx(min(turned) / 2)
    (section,) = read_sections(report)
    assert [float(str(row[0])) for row in section.tables[0].rows] == pytest.approx(
        [1e-4 * 10**at for at in range(6)], rel=1e-2
    )
    [picture] = section.pictures
    assert (report.dir / picture.path).read_text(encoding="utf-8").startswith("<svg")


def test_rates_that_do_not_rise_are_refused(tmp_path: Path, tiny: SimpleNamespace) -> None:
    path = tmp_path / "range.toml"
    path.write_text("lowest = 1e-2\nhighest = 1e-3\n[training]\nsequence_length = 32\nbatch_tokens = 256\n")
    with pytest.raises(ConfigError, match=r"`lowest` 0.01 is not below `highest` 0.001"):
        read_settings(LrRangeConfig, path, ["training.total_tokens=256", "training.optimizer.learning_rate=1"])
