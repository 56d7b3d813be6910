import math

import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_pretrain import AdamW, Constant, Cosine, Linear, ModelShape, TrainConfig, TrainRun, WarmupStableDecay
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.training import check_layout
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

SCHEDULES = st.one_of(
    st.builds(Constant, warmup_tokens=st.integers(0, 500)),
    st.builds(Linear, warmup_tokens=st.integers(0, 500), final=st.floats(0, 1)),
    st.builds(Cosine, warmup_tokens=st.integers(0, 500), final=st.floats(0, 1)),
    st.builds(
        WarmupStableDecay,
        warmup_tokens=st.integers(0, 500),
        decay_tokens=st.integers(1, 500),
        decay=st.sampled_from(["linear", "sqrt"]),
        final=st.floats(0, 1),
    ),
)


@given(schedule=SCHEDULES, tokens=st.integers(0, 1000))
def test_a_rate_is_a_share_of_the_peak_and_never_rises_after_the_warm_up(schedule: Cosine, tokens: int) -> None:
    share = schedule.share(tokens, 1000)
    assert 0 <= share <= 1
    if tokens >= schedule.warmup_tokens:
        assert schedule.share(tokens + 1, 1000) <= share + 1e-12


@given(schedule=SCHEDULES)
def test_a_schedule_ends_where_it_says(schedule: Cosine) -> None:
    final = getattr(schedule, "final", 1.0)
    assert math.isclose(schedule.share(1000, 1000), final, abs_tol=1e-12)


def training(**changes: object) -> TrainConfig:
    fields = {
        "model": ModelShape(layers=2, hidden_size=32, ffn_size=48, heads=4, kv_heads=2),
        "sequence_length": 32,
        "batch_tokens": 256,
        "total_tokens": 2600,
        "optimizer": AdamW(learning_rate=0.01),
    }
    return TrainConfig(**{**fields, **changes})


def test_a_run_has_as_many_steps_as_fit_into_its_tokens() -> None:
    assert Course(training()).steps == 10
    assert Course(training(schedule=Linear())).step(10).learning_rate == 0


def test_milestones_come_after_the_step_that_has_seen_their_tokens_and_never_last() -> None:
    config = training(milestone_tokens=(1, 256, 257, 2560), milestone_interval_tokens=1000)
    assert Course(config).milestone_steps == (1, 2, 4, 8)


def test_numbers_that_do_not_fit_are_refused_with_both_values() -> None:
    with pytest.raises(ValidationError, match="`batch_tokens` 250 is not a multiple of `sequence_length` 32"):
        training(batch_tokens=250)
    with pytest.raises(ValidationError, match="`total_tokens` 100 is less than `batch_tokens` 256"):
        training(total_tokens=100)
    with pytest.raises(ValidationError, match="`heads` 4 is not a multiple of `kv_heads` 3"):
        ModelShape(layers=2, hidden_size=32, ffn_size=48, heads=4, kv_heads=3)
    with pytest.raises(ValidationError, match="`ranks` 3 is not a multiple of tensor x pipeline x context parallel 2"):
        TrainRun(ranks=3, tensor_parallel=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TrainRun(micro_batch_sequences=3), "8 sequences a step, data parallel x `micro_batch_sequences` is 3"),
        (TrainRun(ranks=3, pipeline_parallel=3), "2 layers, `pipeline_parallel` is 3"),
        (TrainRun(ranks=4, tensor_parallel=4), "2 key-value heads, `tensor_parallel` is 4"),
        (
            TrainRun(ranks=2, expert_parallel=4),
            "`ranks` over tensor x pipeline x context parallel is 2, `expert_parallel` is 4",
        ),
    ],
)
def test_a_layout_that_cannot_hold_the_model_is_refused_before_it_starts(settings: TrainRun, message: str) -> None:
    config = training()
    assert config.model is not None
    with pytest.raises(BunbukuError, match=message):
        check_layout(Course(config), settings, config.model.architecture(vocabulary=200, sequence_length=32))
