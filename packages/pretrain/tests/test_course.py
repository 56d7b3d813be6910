"""What a step is: phases, ramps, rates."""

from typing import Any

import pytest
from bunbuku_contracts import Blend, BlendShare, BlendStage, ConfigError
from bunbuku_pretrain import AdamW, Constant, Linear, ModelShape, TrainConfig
from bunbuku_pretrain.blending import with_blend
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.phases import Phase, RampUp
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

MODEL = ModelShape(layers=2, hidden_size=32, ffn_size=48, heads=4, kv_heads=2)


def config(**changes: Any) -> TrainConfig:
    fields = {
        "model": MODEL,
        "sequence_length": 8,
        "batch_tokens": 32,
        "optimizer": AdamW(learning_rate=1.0),
        "schedule": Constant(),
    }
    return TrainConfig(**{**fields, **changes})


def phases(*fields: dict[str, Any], **changes: Any) -> Course:
    named = tuple(Phase(**{"name": f"phase-{number}", **one}) for number, one in enumerate(fields))
    return Course(config(phases=named, **changes))


PHASES = st.lists(
    st.fixed_dictionaries(
        {"tokens": st.integers(64, 400)},
        optional={"sequence_length": st.sampled_from([8, 16]), "batch_tokens": st.sampled_from([32, 64])},
    ),
    min_size=1,
    max_size=4,
)
RAMPS = st.none() | st.builds(
    RampUp,
    batch_tokens=st.sampled_from([16, 32]),
    increment_tokens=st.sampled_from([16, 32]),
    over_tokens=st.integers(1, 500),
)


@given(PHASES, RAMPS)
def test_steps_follow_one_another_without_gaps_and_end_where_their_phase_has_no_room_for_another(
    fields: list[dict[str, Any]], ramp: RampUp | None
) -> None:
    course = phases(*fields, ramp_up=ramp)
    steps = [course.step(number) for number in range(1, course.steps + 1)]
    tokens = samples = 0
    for step in steps:
        assert (step.tokens_before, step.first_sample) == (tokens, samples)
        assert step.batch_tokens == step.sequences * step.sequence_length
        tokens, samples = step.tokens, samples + step.sequences
        assert course.tokens_after(step.number) == tokens
    assert course.tokens == tokens
    for number, (first, last) in enumerate(course.phase_steps):
        own = steps[first - 1 : last]
        assert {step.phase for step in own} == {number} and own[0].first_of_phase == 0
        assert own[-1].first_of_phase + own[-1].sequences == course.phase_samples[number]
        read, asked = sum(step.batch_tokens for step in own), course.phases[number].tokens
        assert asked is not None and read <= asked < read + max(64, own[-1].batch_tokens)


def test_a_batch_ramps_up_evenly_and_is_whole_after_the_ramp() -> None:
    ramp = RampUp(batch_tokens=16, increment_tokens=16, over_tokens=192)
    course = Course(config(total_tokens=640, batch_tokens=64, ramp_up=ramp))
    batches = [course.step(number).batch_tokens for number in range(1, course.steps + 1)]
    assert batches == [16, 16, 16, 16, 32, 32, 48, 48, *[64] * 6]


def test_a_phase_keeps_what_the_one_before_had() -> None:
    course = phases(
        {"tokens": 64},
        {"tokens": 64, "sequence_length": 16, "rope_theta": 5e5},
        {"tokens": 64, "batch_tokens": 64},
    )
    found = [course.step(first) for first, _ in course.phase_steps]
    assert [step.sequence_length for step in found] == [8, 16, 16]
    assert [step.batch_tokens for step in found] == [32, 32, 64]
    assert [step.rope_theta for step in found] == [None, 5e5, 5e5]
    assert course.rope_theta_after(2, 1e4) == 1e4 and course.rope_theta_after(3, 1e4) == 5e5
    assert (course.longest_until(2), course.longest_until(3)) == (8, 16)


def test_a_phase_with_a_schedule_has_it_over_its_own_tokens_and_the_others_share_that_of_the_run() -> None:
    course = phases(
        {"tokens": 128},
        {"tokens": 64, "learning_rate": 0.5, "schedule": Linear(warmup_tokens=32, final=0.0)},
        {"tokens": 64},
        schedule=Linear(final=0.0),
    )
    rates = [course.step(number).learning_rate for number in range(1, course.steps + 1)]
    assert rates == pytest.approx([1 - 1 / 8, 1 - 2 / 8, 1 - 3 / 8, 1 - 4 / 8, 0.5, 0.0, 1 - 7 / 8, 0.0])


def test_a_schedule_goes_on_from_where_another_run_left_it() -> None:
    whole = Course(config(total_tokens=320, schedule=Linear(warmup_tokens=64, final=0.0)))
    half = config(total_tokens=160, schedule=Linear(warmup_tokens=64, final=0.0), schedule_tokens=320)
    first, second = Course(half), Course(half, schedule_before=160)
    rates = [course.step(number).learning_rate for course in (first, second) for number in range(1, 6)]
    assert rates == [whole.step(number).learning_rate for number in range(1, 11)]


def test_only_the_first_step_of_a_phase_resets_the_optimizer() -> None:
    course = phases({"tokens": 64}, {"tokens": 96, "reset_optimizer": True})
    assert [course.step(number).resets_optimizer for number in range(1, 6)] == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"tokens": 31}, "phase 'phase-0' has 31 tokens, less than its one step of 32"),
        ({"tokens": 64, "sequence_length": 24}, "a step of phase 'phase-0' has 32 tokens, which is not a multiple of"),
        ({}, "phase 'phase-0' has no `tokens`"),
    ],
)
def test_a_phase_that_cannot_be_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        phases(fields)


def test_a_peak_needs_a_schedule_and_phases_need_names_of_their_own() -> None:
    with pytest.raises(ValidationError, match=r"phase 'a' has a `learning_rate` 0\.1 and no `schedule`"):
        Phase(name="a", learning_rate=0.1)
    with pytest.raises(ValidationError, match="two `phases` are called 'a'"):
        config(phases=(Phase(name="a", tokens=64), Phase(name="a", tokens=64)))
    with pytest.raises(ValidationError, match="`total_tokens` 64 is given, and `phases` too"):
        config(total_tokens=64, phases=(Phase(tokens=64),))


BLEND = Blend(
    stages=(
        BlendStage(
            name="broad",
            tokens=96,
            domains={
                "web": BlendShare(weight=0.75, tokens=72, epochs=1),
                "wiki": BlendShare(weight=0.25, tokens=24, epochs=1),
            },
        ),
        BlendStage(name="last", tokens=64, domains={"wiki": BlendShare(weight=1.0, tokens=64, epochs=1)}),
    ),
    epochs={"web": 1, "wiki": 2},
)


def test_the_stages_of_a_blend_are_the_phases_or_fill_those_of_the_same_names() -> None:
    plain = with_blend(config(), BLEND)
    assert [(phase.name, phase.tokens, phase.mix) for phase in plain.phases] == [
        ("broad", 96, {"web": 0.75, "wiki": 0.25}),
        ("last", 64, {"wiki": 1.0}),
    ]
    given = config(phases=(Phase(name="broad"), Phase(name="last", sequence_length=16, rope_theta=5e5)))
    filled = with_blend(given, BLEND)
    assert [phase.tokens for phase in filled.phases] == [96, 64]
    assert filled.phases[1].rope_theta == 5e5


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"total_tokens": 64}, "`total_tokens` 64 is given, and a blend"),
        ({"phases": (Phase(name="other"),)}, "the blend has no stage 'other'"),
        ({"phases": (Phase(name="broad", tokens=64), Phase(name="last"))}, "phase 'broad' has `tokens`, and the blend"),
        ({"phases": (Phase(name="broad"),)}, "the blend's stage 'last' is no phase"),
    ],
)
def test_a_config_and_a_blend_that_disagree_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        with_blend(config(**changes), BLEND)
