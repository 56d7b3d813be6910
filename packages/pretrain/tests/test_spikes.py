import pytest
from bunbuku_pretrain.detours import (
    Detour,
    Passed,
    add_skip,
    cut_skips,
    is_of_this_course,
    read_skips,
    why_passed,
)
from bunbuku_pretrain.spikes import LowerRate, Measured, Memory, RollBack, Skip, SpikePolicy, Stop, Warn
from hypothesis import given
from hypothesis import strategies as st


def after(policy: SpikePolicy, losses: list[float], memory: Memory | None = None) -> tuple[Memory, list[str]]:
    """What is remembered after steps of these losses, and what became of each."""
    memory, acts = memory or Memory(), []
    for number, loss in enumerate(losses, start=1):
        decision = policy.decide(memory, Measured(number, loss, 1.0 + number % 3))
        memory = decision.memory
        acts.append(decision.act)
    return memory, acts


CALM = [3.0, 3.1, 2.9, 3.05] * 40


def test_nothing_is_bad_before_half_a_window_was_seen() -> None:
    _, acts = after(Skip(), [*CALM[:50], 100.0])
    assert acts == ["take"] * 51


@pytest.mark.parametrize(
    ("policy", "spike", "broken"),
    [(Warn(), "take", "stop"), (Stop(), "stop", "stop"), (Skip(), "skip", "skip"), (RollBack(), "roll_back", "roll_back"), (LowerRate(), "skip", "skip")],
)  # fmt: skip
def test_each_policy_does_what_it_is_called(policy: SpikePolicy, spike: str, broken: str) -> None:
    memory, _ = after(policy, CALM)
    found = policy.decide(memory, Measured(161, 9.0, 2.0))
    assert found.act == spike
    assert "the loss 9 is" in found.reason
    assert "the mean of 128" in found.reason
    assert policy.decide(memory, Measured(161, 3.0, 90.0)).reason.startswith("the gradient norm 90 is")
    assert policy.decide(memory, Measured(161, None, None, "nan in layer 3")).act == broken


def test_poison_that_enters_the_window_lets_later_poison_pass() -> None:
    """The rule as OLMo-core has it stops seeing spikes once there were some; ours goes on."""
    olmo = Skip(sides="both", remember_bad=True, most_in_a_row=100)
    poisoned = [*CALM, *[9.0] * 12]
    assert after(olmo, poisoned)[1].count("skip") < 12
    assert after(Skip(most_in_a_row=100), poisoned)[1].count("skip") == 12


def test_too_many_bad_steps_in_a_row_stop_the_run() -> None:
    _, acts = after(Skip(most_in_a_row=5), [*CALM, *[9.0] * 6])
    assert acts[-6:] == ["skip"] * 5 + ["stop"]


def test_a_value_that_is_too_low_is_bad_only_if_asked() -> None:
    assert after(Skip(), [*CALM, 0.1])[1][-1] == "take"
    assert after(Skip(sides="both"), [*CALM, 0.1])[1][-1] == "skip"


def test_a_lowered_rate_rises_back() -> None:
    policy = LowerRate(factor=0.5, recovery_steps=10)
    memory = Memory(bad=(100,))
    shares = [policy.rate_share(memory, step) for step in range(101, 113)]
    assert shares[0] == 0.5
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert policy.rate_share(Memory(bad=(100, 100)), 101) == 0.25


@given(st.lists(st.floats(0.5, 20), min_size=1, max_size=200), st.data())
def test_what_is_saved_and_read_again_decides_alike(losses: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(losses)))
    policy = Skip(window_steps=40, sigmas=2, most_in_a_row=1000)
    whole, acts = after(policy, losses)
    before, first = after(policy, losses[:cut])
    again = Memory.model_validate_json(before.model_dump_json())
    memory, rest = again, []
    for number, loss in enumerate(losses[cut:], start=cut + 1):
        decision = policy.decide(memory, Measured(number, loss, 1.0 + number % 3))
        memory, rest = decision.memory, [*rest, decision.act]
    assert (memory, first + rest) == (whole, acts)
    assert len(whole.losses) <= 40


def test_equal_values_are_not_spikes() -> None:
    assert after(Skip(), [3.0] * 100)[1] == ["take"] * 100
    assert Skip().decide(Memory(losses=(3.0,) * 100), Measured(1, 3.0 + 1e-9, None)).reason.count("inf") == 1


def test_a_state_inside_a_later_detour_belongs_to_a_course_given_up() -> None:
    detours = [Detour(at_step=25, first_step=16, last_step=25, reason="spike")]
    assert is_of_this_course(15, 0, detours)
    assert not is_of_this_course(20, 0, detours)
    assert is_of_this_course(20, 1, detours)  # passed on the way there
    assert why_passed(16, (), detours) == "rolled back from step 25: spike"
    assert why_passed(15, (), detours) is None


def test_what_was_passed_is_cut_like_the_history(tmp_path) -> None:
    for step in (3, 4, 5, 9):
        add_skip(tmp_path, step, "named in the config")
    assert read_skips(tmp_path) == (
        Passed(first_step=3, last_step=5, reason="named in the config"),
        Passed(first_step=9, last_step=9, reason="named in the config"),
    )
    cut_skips(tmp_path, after_step=4)
    assert [(line.first_step, line.last_step) for line in read_skips(tmp_path)] == [(3, 4)]
