from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Architecture, BunbukuError, Experts, read_sections
from bunbuku_contracts.settings import read_settings
from bunbuku_pretrain import PlanConfig, plan
from bunbuku_pretrain.planning import (
    GIB,
    Assumed,
    Cluster,
    Layout,
    Logged,
    Phase,
    Recompute,
    checkpoint_bytes,
    choose,
    fit,
    layouts,
    memory,
    rejected,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

DENSE = Architecture(layers=32, hidden_size=4096, ffn_size=14336, heads=32, kv_heads=8, vocab_size=65024)
MIXTURE = DENSE.model_copy(update={"experts": Experts(count=8, active=2)})
SHORT = Phase(name="2048", tokens=100_000_000_000, sequence_length=2048, batch_sequences=3072)
LONG = Phase(name="4096", tokens=100_000_000_000, sequence_length=4096, batch_sequences=3072)
TSUBAME = Cluster(nodes=16)
LOG = Logged(seconds_per_step=16.4, batch_sequences=3072, sequence_length=2048)
"""Of Tanuki-8x8B on 128 H100 (its training logs): also 241.3 TFLOP/s a GPU, and 31.7 s at a length of 4,096."""


def config(model: Architecture = MIXTURE, **more: Any) -> PlanConfig:
    given_speed = {} if "assumed" in more else {"logged": LOG}
    return PlanConfig(**{"model": model, "cluster": TSUBAME, "phases": (SHORT, LONG), **given_speed, **more})


def test_the_step_that_was_logged_gives_the_rate_that_was_logged_with_it() -> None:
    reached = config().mfu * TSUBAME.gpu.peak_tflops
    assert reached == pytest.approx(241.3, rel=1e-3)
    assert config().seconds_per_step(SHORT) == pytest.approx(16.4)


def test_from_a_step_at_one_length_follows_that_at_twice_the_length() -> None:
    assert config().seconds_per_step(LONG) == pytest.approx(31.7, rel=0.15)


def test_an_assumed_mfu_is_taken_as_it_is_and_one_of_the_two_is_needed() -> None:
    assumed = config(DENSE, assumed=Assumed(mfu=0.4))
    assert assumed.mfu == 0.4
    done = DENSE.flops_per_token(2048) * SHORT.batch_tokens
    assert assumed.seconds_per_step(SHORT) == pytest.approx(done / (0.4 * 128 * 989.4e12))
    for both in ({}, {"logged": LOG, "assumed": Assumed(mfu=0.4)}):
        with pytest.raises(ValidationError, match="give either `logged`"):
            PlanConfig(model=DENSE, cluster=TSUBAME, phases=(SHORT,), **both)


def test_one_gpu_holds_eighteen_bytes_a_weight_of_a_dense_model() -> None:
    held = memory(DENSE, Layout(distributed_optimizer=False), SHORT, data_parallel=1)
    assert held.weights + held.gradients + held.optimizer == DENSE.training_bytes()
    assert checkpoint_bytes(DENSE) == 14 * DENSE.parameters


def test_the_gpus_of_a_mixture_hold_every_weight_once() -> None:
    # TP1 PP1 EP8 on 8 GPUs: an eighth of the experts and all the rest on each.
    held = memory(MIXTURE, Layout(expert=8, distributed_optimizer=False), SHORT, data_parallel=8)
    experts = 3 * 4096 * 14336 * 8 * 32
    assert held.weights == 2 * (experts / 8 + MIXTURE.parameters - experts)


def test_where_some_layers_have_experts_their_weights_are_spread_and_the_others_are_not() -> None:
    experts = Experts(count=8, active=2, layers=tuple(range(1, DENSE.layers, 2)), shared_ffn_size=DENSE.ffn_size)
    some = DENSE.model_copy(update={"experts": experts})
    held = memory(some, Layout(expert=8, distributed_optimizer=False), SHORT, data_parallel=8)
    here = some.parameters - some.expert_parameters * 7 // 8
    assert held.weights + held.gradients + held.optimizer == pytest.approx(18 * here)
    whole = memory(MIXTURE, Layout(expert=8, distributed_optimizer=False), SHORT, data_parallel=8)
    assert held.activations > whole.activations  # the shared network's are held beside those of two experts


@given(
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.sampled_from([1, 2, 4, 8, 16]),
    expert=st.sampled_from([1, 2, 4, 8]),
    what=st.sampled_from(["tensor", "pipeline", "expert"]),
)
def test_dividing_further_never_puts_more_weights_on_a_gpu(tensor: int, pipeline: int, expert: int, what: str) -> None:
    layout = Layout(tensor=tensor, pipeline=pipeline, expert=expert)
    further = layout.model_copy(update={what: getattr(layout, what) * 2})
    before, after = (memory(MIXTURE, each, SHORT, data_parallel=8) for each in (layout, further))
    assert after.weights <= before.weights
    assert after.gradients <= before.gradients


@pytest.mark.parametrize("what", ["none", "selective", "full"])
def test_making_activations_again_holds_fewer(what: Recompute) -> None:
    order: list[Recompute] = ["none", "selective", "full"]
    held = [memory(DENSE, Layout(recompute=each), SHORT, data_parallel=8).activations for each in order]
    assert held == sorted(held, reverse=True)
    assert memory(DENSE, Layout(recompute=what, tensor=2), SHORT, 8).activations == held[order.index(what)] / 2


def test_the_layout_that_was_used_fits() -> None:
    used = fit(MIXTURE, TSUBAME, (SHORT, LONG), Layout(pipeline=16))
    assert used.problem is None
    assert used.bubble == pytest.approx(15 / (3072 / 8 + 15))


def test_the_first_layout_that_fits_is_chosen_and_the_cheaper_ones_say_why_not() -> None:
    chosen = choose(config())
    assert chosen.problem is None
    assert chosen.memory.total <= TSUBAME.gpu.usable_gib * GIB
    before = layouts(MIXTURE, TSUBAME)[: layouts(MIXTURE, TSUBAME).index(chosen.layout)]
    assert all(fit(MIXTURE, TSUBAME, (SHORT, LONG), each).problem for each in before)
    reasons = rejected(config(), chosen, limit=3)
    assert [each.layout for each in reasons] == before[:3]
    assert "the largest part is gradients" in (reasons[0].problem or "")


@pytest.mark.parametrize(
    ("layout", "problem"),
    [
        (Layout(), r"TP1 PP1 EP1.*would hold \d+\.\d GiB and has 71\.6 GiB to use; the largest part is gradients"),
        (Layout(tensor=16), "tensor parallel 16 leaves the node, which has 8 GPUs"),
        (Layout(pipeline=3), "128 GPUs are no multiple of tensor x pipeline parallel 3"),
        (Layout(pipeline=64), "32 layers are no multiple of pipeline parallel 64"),
        (Layout(expert=16), "8 experts are no multiple of expert parallel 16"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_the_reason(layout: Layout, problem: str, tmp_path: Path) -> None:
    with pytest.raises(BunbukuError, match=problem):
        plan(tmp_path / "plan", config(layout=layout))
    assert not (tmp_path / "plan").exists()


def test_a_model_that_no_layout_holds_is_refused_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(
        BunbukuError, match=r"no layout fits 2 GPUs; closest is .*: a GPU would hold .* the largest part is"
    ):
        plan(tmp_path / "plan", config(cluster=Cluster(nodes=1, gpus_per_node=2), phases=(SHORT,)))


@pytest.mark.parametrize("name", ["plan-8b", "plan-8x8b"])
def test_the_published_runs_can_be_planned(name: str, tmp_path: Path) -> None:
    given = Path(__file__).parents[3] / "runs" / "tanuki" / f"{name}.toml"
    if not given.is_file():
        pytest.skip("the run's file is not there")
    made = plan(tmp_path / "plan", read_settings(PlanConfig, given))
    metrics = made.manifest.metrics
    tokens_a_day = metrics["tokens_per_second.2048"] * 86_400 / 1e9
    assert tokens_a_day == pytest.approx({"plan-8b": 60, "plan-8x8b": 30}[name], rel=0.15)
    assert read_sections(made)[0].tables[0].rows
