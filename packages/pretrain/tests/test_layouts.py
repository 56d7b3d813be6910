"""Every layout against one rank, and every state in every layout. By hand: each case starts several ranks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Tokenizer, Tokens, read_sections
from bunbuku_pretrain import ExportConfig, TrainRun, export, train
from safetensors.torch import load_file

pytestmark = pytest.mark.long

LAYOUTS: dict[str, dict[str, Any]] = {
    "tensor": {"ranks": 2, "tensor_parallel": 2},
    "pipeline": {"ranks": 2, "pipeline_parallel": 2},
    "shared-optimizer": {"ranks": 2, "distributed_optimizer": True},
    "tensor-pipeline": {"ranks": 4, "tensor_parallel": 2, "pipeline_parallel": 2},
}
MIXTURE_LAYOUTS: dict[str, dict[str, Any]] = {
    **LAYOUTS,
    "expert-shared-optimizer": {"ranks": 2, "expert_parallel": 2, "distributed_optimizer": True},
    "tensor-expert": {"ranks": 4, "tensor_parallel": 2, "expert_parallel": 2},
}
# The balancing loss of a mixture is one of a micro-batch: with another size it is another loss.
SETTINGS: dict[str, Any] = {"micro_batch_sequences": 4, "checkpoint_interval_steps": 5}


def curve(artifact: Artifact[Checkpoint], name: str = "training loss") -> list[float]:
    section, *_ = read_sections(artifact)
    return next([y for _, y in curve.points] for curve in section.curves if curve.name == name)


def largest_difference(a: list[float], b: list[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dense_model_learns_the_same_in_every_layout(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
    layout: str,
) -> None:
    config = tiny.dense.model_copy(update={"milestone_tokens": ()})
    made = train(tmp_path / "made", config, tokens, tokenizer, run=TrainRun(**{**SETTINGS, **LAYOUTS[layout]}))
    first = largest_difference(curve(made)[:20], curve(dense)[:20])
    assert first < (1e-3 if "tensor" in layout else 1e-5)
    assert abs(curve(made)[0] - curve(dense)[0]) < 1e-6
    export(tmp_path / "exported", ExportConfig(), made, tokenizer)
    wanted = export(tmp_path / "wanted", ExportConfig(), dense, tokenizer)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "exported", wanted.dir))
    assert all((ours[name] - theirs[name]).abs().max() < 0.1 for name in theirs)


@pytest.mark.parametrize("layout", MIXTURE_LAYOUTS)
def test_a_mixture_learns_the_same_in_every_layout(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture: Artifact[Checkpoint],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
    layout: str,
) -> None:
    run = TrainRun(**{**SETTINGS, **MIXTURE_LAYOUTS[layout]})
    made = train(tmp_path / "made", tiny.mixture, tokens, tokenizer, mixture_start, run=run)
    for name in ("training loss", "most used expert", "gradient norm"):
        assert largest_difference(curve(made, name), curve(mixture, name)) < 5e-3
    assert abs(curve(made)[0] - curve(mixture)[0]) < 1e-6


@pytest.mark.parametrize("layout", MIXTURE_LAYOUTS)
def test_a_stopped_mixture_goes_on_to_the_same_bytes_in_its_layout_and_nearly_in_another(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
    layout: str,
) -> None:
    settings = {**SETTINGS, **MIXTURE_LAYOUTS[layout]}
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
