"""Every layout against one rank, from one full state; `layouts.py` is what runs them, several to a launch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Tokenizer, Tokens, read_sections
from bunbuku_pretrain import TrainRun, train
from bunbuku_pretrain.torch_dist import TorchDistFolder

LAYOUTS: dict[str, dict[str, Any]] = {
    "data": {"ranks": 2},
    "data, shared optimizer": {"ranks": 2, "distributed_optimizer": True},
    "pipeline": {"ranks": 2, "pipeline_parallel": 2},
    "tensor": {"ranks": 2, "tensor_parallel": 2, "sequence_parallel": False},
    "tensor and sequence": {"ranks": 2, "tensor_parallel": 2},
    "expert": {"ranks": 2, "expert_parallel": 2},
    "expert, shared optimizer": {"ranks": 2, "expert_parallel": 2, "distributed_optimizer": True},
    "tensor, pipeline": {"ranks": 4, "tensor_parallel": 2, "pipeline_parallel": 2},
    "tensor, data, shared optimizer": {"ranks": 4, "tensor_parallel": 2, "distributed_optimizer": True},
    "tensor, expert": {"ranks": 4, "tensor_parallel": 2, "expert_parallel": 2},
    "pipeline, expert": {"ranks": 4, "pipeline_parallel": 2, "expert_parallel": 2},
    "recompute selective": {"recompute": "selective"},
    "recompute full": {"recompute": "full"},
    "tensor, recompute full": {"ranks": 2, "tensor_parallel": 2, "recompute": "full"},
}
DENSE = tuple(name for name in LAYOUTS if "expert" not in name)
MIXTURE = tuple(name for name in LAYOUTS if name != "tensor")
# The balancing loss of a mixture is one of a micro-batch: with another size it is another loss.
SETTINGS: dict[str, Any] = {"micro_batch_sequences": 4, "checkpoint_interval_steps": 5}


def curve(artifact: Artifact[Checkpoint], name: str = "training loss") -> list[float]:
    section, *_ = read_sections(artifact)
    return next([y for _, y in curve.points] for curve in section.curves if curve.name == name)


def largest_difference(a: list[float], b: list[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def stopped(folder: Path, *given: Any, **layout: Any) -> dict[str, str]:
    """The job of a run that was stopped after its first step, and the full state that it left."""
    run = TrainRun(**SETTINGS, **layout, time_limit_seconds=0.01)
    with pytest.raises(BunbukuError, match="after step 1 of"):
        train(folder, *given, run=run)
    (scratch,) = folder.parent.glob(f".{folder.name}.*.scratch")
    return {"job": str(scratch / "job.json"), "state": str(scratch / "states" / "step-00000001")}


def side_by_side(folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    plan = folder / "plan.json"
    plan.write_text(json.dumps({"folder": str(folder), "cases": cases}))
    command = [sys.executable, str(Path(__file__).with_name("layouts.py")), str(plan)]
    done = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "results.json").read_text())


def check(name: str, found: dict[str, float]) -> None:
    """The bars: rounding of another order of addition. Computing again adds in the same order."""
    assert found["learned"] > 0.1
    assert found["replicas"] == 0
    same = name.partition(" ")[2].startswith("recompute")
    assert found["first_loss"] <= (0 if same else 1e-6)
    assert found["loss"] <= (0 if same else 1e-5)
    assert found["first_norm"] <= (0 if same else 1e-6)
    assert found["norm"] <= (0 if same else 1e-4)
    assert found["weights"] <= (0 if same else 1e-4)
    if "balancing_gradient" in found:
        assert found["first_balance"] <= 1e-6
        assert found["balancing_largest"] > 1e-4
        assert found["balancing_gradient"] <= 1e-5


def table(
    folder: Path, tiny: SimpleNamespace, steps: int, layouts: dict[str, tuple[str, ...]], *given: Any
) -> dict[str, dict[str, float]]:
    """Cases of dense models and mixtures in these layouts, each against one rank that has the same optimizer."""
    tokens, tokenizer, mixture_start = given
    cases: dict[str, dict[str, Any]] = {}
    for kind, names in layouts.items():
        start = {"dense": (), "mixture": (mixture_start,)}[kind]
        config = tiny.config(steps=steps + 1, **({"model": None} if start else {}))
        config = config.model_copy(update={"z_loss": 1e-2})
        for shared in sorted({bool(LAYOUTS[name].get("distributed_optimizer")) for name in names}):
            own = f"{kind} alone{' shared' * shared}"
            base = stopped(
                folder / own.replace(" ", "-"), config, tokens, tokenizer, *start, distributed_optimizer=shared
            )
            base |= {"steps": steps, "against": own}
            cases[own] = base | {"settings": {"distributed_optimizer": shared}}
            for name in names:
                if bool(LAYOUTS[name].get("distributed_optimizer")) == shared:
                    cases[f"{kind} {name}"] = base | {"settings": {**LAYOUTS[name]}}
    return side_by_side(folder, cases)


@pytest.mark.slow
def test_ranks_that_share_data_matrices_or_experts_learn_what_one_does(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    names = {"mixture": ("data", "tensor and sequence", "expert", "pipeline")}
    found = table(tmp_path, tiny, 4, names, tokens, tokenizer, mixture_start)
    for name in found:
        check(name, found[name])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_layout_learns_what_one_rank_does_over_twenty_steps(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    found = table(tmp_path, tiny, 20, {"dense": DENSE, "mixture": MIXTURE}, tokens, tokenizer, mixture_start)
    (Path(os.environ["LAYOUTS_TABLE"]) if "LAYOUTS_TABLE" in os.environ else tmp_path / "table.json").write_text(
        json.dumps(found, indent=2)
    )
    for name in found:
        check(name, found[name])


RESHARDED = {
    "tensor 1 to 2": ("dense", {}, {"ranks": 2, "tensor_parallel": 2}),
    "pipeline 2 to 1": ("dense", {"ranks": 2, "pipeline_parallel": 2}, {}),
    "data 2 to 1": ("dense", {"ranks": 2}, {}),
    "data 2 to 1, shared optimizer": (
        "dense",
        {"ranks": 2, "distributed_optimizer": True},
        {"distributed_optimizer": True},
    ),
    "expert 2 to 1": ("mixture", {"ranks": 2, "expert_parallel": 2}, {}),
    "expert 2 to 1, shared optimizer": (
        "mixture",
        {"ranks": 2, "expert_parallel": 2, "distributed_optimizer": True},
        {"distributed_optimizer": True},
    ),
}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_state_loaded_in_another_layout_is_the_same_to_the_bit_and_learns_the_same(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    """Each state is gone on from in the layout that wrote it and in another one; both say what they loaded."""
    cases: dict[str, dict[str, Any]] = {}
    for number, (name, (kind, before, after)) in enumerate(RESHARDED.items()):
        start = {"dense": (), "mixture": (mixture_start,)}[kind]
        config = tiny.config(steps=6, **({"model": None} if start else {}))
        base = stopped(tmp_path / f"state-{number}", config, tokens, tokenizer, *start, **before)
        base |= {"steps": 5, "against": f"{name}, before"}
        for when, layout in (("before", before), ("after", after)):
            layout = {"ranks": 1, "tensor_parallel": 1, "pipeline_parallel": 1, "expert_parallel": 1, **layout}
            cases[f"{name}, {when}"] = base | {"settings": layout, "saves": True}
    found = side_by_side(tmp_path, cases)
    if "RESHARD_TABLE" in os.environ:
        Path(os.environ["RESHARD_TABLE"]).write_text(json.dumps(found, indent=2))
    for name in RESHARDED:
        saved, *loaded = (
            TorchDistFolder(folder)
            for folder in (
                Path(cases[f"{name}, before"]["state"]),
                *(tmp_path / f"{name}, {when}" / "loaded" / "step-00000001" for when in ("before", "after")),
            )
        )
        moments = [key for key in tensors_of(saved) if "exp_avg" in key]
        assert moments and max(saved.tensor(key).abs().max().item() for key in moments) > 0
        for one in loaded:
            assert tensors_of(one) == tensors_of(saved), name
            assert all(torch.equal(one.tensor(key), saved.tensor(key)) for key in tensors_of(saved)), name
        after = found[f"{name}, after"]
        assert after["learned"] > 0.01
        assert after["loss"] <= 1e-6, name


def tensors_of(folder: TorchDistFolder) -> set[str]:
    """Names of the weights and moments; what is no tensor has no shape."""
    return {key for key in folder.names() if folder.is_tensor(key)}


@pytest.mark.long
@pytest.mark.parametrize(
    "layout", ["tensor and sequence", "tensor, pipeline", "expert, shared optimizer", "tensor, expert"]
)
def test_a_stopped_mixture_goes_on_to_the_same_bytes_in_its_layout_and_nearly_in_another(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
    layout: str,
) -> None:
    settings = {**SETTINGS, **LAYOUTS[layout]}
    inputs = (tokens, tokenizer, mixture_start)
    whole = train(tmp_path / "whole", tiny.mixture, *inputs, run=TrainRun(**settings))
    for name in ("same", "other"):
        with pytest.raises(BunbukuError, match="after step 1 of 6"):
            train(tmp_path / name, tiny.mixture, *inputs, run=TrainRun(**settings, time_limit_seconds=0.01))
    same = train(tmp_path / "same", tiny.mixture, *inputs, run=TrainRun(**settings))
    assert same.content == whole.content
    alone = {**SETTINGS, "distributed_optimizer": settings.get("distributed_optimizer", False)}
    if alone["distributed_optimizer"]:
        with pytest.raises(BunbukuError, match="`distributed_optimizer` is False, the run began with the other"):
            train(tmp_path / "other", tiny.mixture, *inputs, run=TrainRun(**SETTINGS))
    other = train(tmp_path / "other", tiny.mixture, *inputs, run=TrainRun(**alone))
    assert largest_difference(curve(other), curve(whole)) < 1e-3


@pytest.mark.long
def test_a_checkpoint_of_megatron_is_a_start_in_another_layout(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    config = tiny.config(steps=4, model=None)
    one = train(tmp_path / "one", config, tokens, tokenizer, mixture, run=TrainRun(**SETTINGS))
    run = TrainRun(ranks=2, expert_parallel=2, micro_batch_sequences=4)
    two = train(tmp_path / "two", config, tokens, tokenizer, mixture, run=run)
    assert largest_difference(curve(one), curve(two)) < 1e-4
