"""What upcycling would buy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import (
    Architecture,
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Draft,
    Experts,
    Report,
    read_sections,
    stage,
)
from bunbuku_moe_upcycle import AdviseConfig, advise
from bunbuku_moe_upcycle.advice import Budget, Gpus, opinions
from hypothesis import given
from hypothesis import strategies as st

TANUKI = Architecture(layers=32, hidden_size=4096, ffn_size=14336, heads=32, kv_heads=8, vocab_size=65024)
BUDGET = Budget(tokens=234_000_000_000)


class PlanConfig(Config):
    metrics: dict[str, float]


@stage("test.plan")
def planned(draft: Draft, config: PlanConfig) -> Report:
    """A report as `bunbuku-pretrain plan` makes it."""
    draft.metrics |= config.metrics
    return Report(title="Plan")


def test_tanuki_was_rightly_upcycled(tmp_path: Path):
    config = AdviseConfig(model=TANUKI, tokens_seen=1_300_000_000_000, budget=BUDGET, gpus=Gpus(count=128))
    report = advise(tmp_path / "report", config)
    metrics = report.manifest.metrics
    assert round(metrics["mixture.parameters"] / 1e9, 2) == 46.97
    assert round(metrics["mixture.active_parameters"] / 1e9, 2) == 13.15
    mixture = TANUKI.model_copy(update={"experts": Experts(count=8, active=2)})
    spent = 1.3e12 * TANUKI.flops_per_token(4096)
    assert metrics["compute.ratio"] == pytest.approx(234e9 * mixture.flops_per_token(4096) / spent)
    assert 0.25 < metrics["compute.ratio"] < 0.35
    assert metrics["mixture.days"] == pytest.approx(234e9 / metrics["mixture.tokens_per_second"] / 86400)
    short, cost = read_sections(report)
    assert "upcycle." in short.paragraphs[-1]
    assert [row[0] for row in cost.tables[0].rows][-1] == "days for the tokens that are left"


@given(st.floats(0.001, 100))
def test_more_budget_never_speaks_more_for_upcycling(ratio: float):
    order = ["upcycle", "try both", "from scratch"]
    now, later = (opinions(factor * ratio)[0].verdict for factor in (1, 1.5))
    assert now is not None
    assert later is not None
    assert order.index(now) <= order.index(later)


def test_finer_experts_have_the_same_weights_but_for_the_router(tmp_path: Path):
    found = [
        advise(
            tmp_path / str(parts),
            AdviseConfig(
                model=TANUKI, tokens_seen=10**12, budget=BUDGET, experts=8 * parts, active=2 * parts, parts=parts
            ),
        ).manifest.metrics
        for parts in (1, 4)
    ]
    router = 32 * 4096 * 8 * 3
    assert found[1]["mixture.parameters"] - found[0]["mixture.parameters"] == router
    assert "mixture.days" not in found[0]


def test_a_checkpoint_says_what_it_is_and_plans_how_fast_it_goes(
    dense: Callable[..., Artifact[Checkpoint]], tmp_path: Path
):
    checkpoint = dense()
    mixture = checkpoint.spec.architecture.model_copy(update={"experts": Experts(count=8, active=2)})
    speeds = {"tokens_per_second.long": 400.0, "tokens_per_second.short": 500.0}
    plan = planned(tmp_path / "plan", PlanConfig(metrics={"parameters": float(mixture.parameters), **speeds}))
    config = AdviseConfig(budget=Budget(tokens=700, sequence_length=64))
    metrics = advise(tmp_path / "report", config, checkpoint, {"mixture": plan}).manifest.metrics
    assert metrics["mixture.tokens_per_second"] == 400.0
    assert "dense.tokens_per_second" not in metrics
    assert 1 < metrics["compute.ratio"] < 2
    with pytest.raises(BunbukuError, match=r"the plan 'dense' .* is of a model of .* weights, this one has"):
        advise(tmp_path / "wrong", config, checkpoint, {"dense": plan})
    with pytest.raises(BunbukuError, match="a plan is given as 'moe', of which nothing is asked"):
        advise(tmp_path / "wrong", config, checkpoint, {"moe": plan})
    other = planned(tmp_path / "other", PlanConfig(metrics={"parameters": float(mixture.parameters), "days": 1.0}))
    with pytest.raises(BunbukuError, match=r"other, given as the plan 'mixture', is no plan"):
        advise(tmp_path / "wrong", config, checkpoint, {"mixture": other})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "advise takes either a checkpoint or `model`"),
        ({"model": TANUKI}, "`tokens_seen` is not known or 0"),
        (
            {"model": TANUKI, "tokens_seen": 1, "parts": 3, "experts": 6},
            "`parts` 3 does not divide the 14336 inner units",
        ),
        (
            {"model": TANUKI.model_copy(update={"experts": Experts(count=4, active=2)}), "tokens_seen": 1},
            "the model has 4 experts already",
        ),
    ],
)
def test_what_cannot_be_advised_on_is_refused(tmp_path: Path, fields: dict[str, Any], sentence: str):
    with pytest.raises(BunbukuError, match=sentence):
        advise(tmp_path / "report", AdviseConfig(budget=BUDGET, **fields))
