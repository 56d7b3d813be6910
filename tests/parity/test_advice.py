"""`advise` of moe_upcycle reads what `plan` of pretrain found: Tanuki's two models, as runs/tanuki has them."""

import tomllib
from pathlib import Path

import pytest
from bunbuku_contracts import Report, read_sections
from bunbuku_moe_upcycle import AdviseConfig, advise
from bunbuku_moe_upcycle.advice import Budget
from bunbuku_pretrain import PlanConfig, plan

RUNS = Path(__file__).parents[2] / "runs" / "tanuki"


def test_plans_of_tanuki_say_how_long_its_mixture_takes_and_what_a_gpu_holds(tmp_path: Path) -> None:
    configs = {
        name: PlanConfig.model_validate(tomllib.loads((RUNS / f"plan-{size}.toml").read_text()))
        for name, size in (("dense", "8b"), ("mixture", "8x8b"))
    }
    plans = {name: plan(tmp_path / name, config) for name, config in configs.items()}
    tokens = sum(phase.tokens for phase in configs["mixture"].phases)
    budget = Budget(tokens=tokens, sequence_length=4096)
    asked = AdviseConfig(model=configs["dense"].model, tokens_seen=1_293_113_548_800, budget=budget)
    report = advise(tmp_path / "advice", asked, None, plans)
    metrics, planned = report.manifest.metrics, plans["mixture"].manifest.metrics
    assert report.manifest.kind == Report.kind
    assert metrics["mixture.parameters"] == planned["parameters"] == configs["mixture"].model.parameters
    assert metrics["mixture.memory_gib"] == planned["memory_gib.total"]
    slowest = min(value for name, value in planned.items() if name.startswith("tokens_per_second."))
    assert metrics["mixture.tokens_per_second"] == slowest
    # The plan takes its shorter sequences faster than the slowest phase.
    assert planned["days"] < metrics["mixture.days"] < 1.2 * planned["days"]
    assert metrics["dense.days"] < metrics["mixture.days"]
    assert metrics["compute.ratio"] == pytest.approx(0.30, abs=0.01)
    rows = {row[0]: row for row in read_sections(report)[1].tables[0].rows}
    assert rows["memory of the fullest GPU, GiB"][1:] == (
        round(metrics["dense.memory_gib"], 3),
        round(metrics["mixture.memory_gib"], 3),
    )
