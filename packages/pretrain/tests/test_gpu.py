"""What only a GPU can show. Collected everywhere, run with `-m gpu` where there is one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Tokenizer, Tokens, read_sections
from bunbuku_pretrain import ExportConfig, TrainRun, export, train
from bunbuku_pretrain.precision import has_transformer_engine
from safetensors.torch import load_file

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
needs_engine = pytest.mark.skipif(not has_transformer_engine(), reason="Transformer Engine is not installed")
needs_two = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")

GPU: dict[str, Any] = {"device": "cuda", "micro_batch_sequences": 4, "checkpoint_interval_steps": 100}
OTHER = {"local": "transformer_engine", "transformer_engine": "local"}


def curve(artifact: Artifact[Checkpoint]) -> list[float]:
    section, *_ = read_sections(artifact)
    return next([y for _, y in curve.points] for curve in section.curves if curve.name == "training loss")


def farthest(one: Artifact[Checkpoint], other: Artifact[Checkpoint]) -> float:
    return max(abs(a - b) for a, b in zip(curve(one), curve(other), strict=True))


def model(
    kind: str, tiny: SimpleNamespace, steps: int, mixture_start: Artifact[Checkpoint]
) -> tuple[Any, tuple[Any, ...]]:
    """A config, and what the training starts from."""
    return (
        (tiny.config(steps=steps), ()) if kind == "dense" else (tiny.config(steps=steps, model=None), (mixture_start,))
    )


def stop_and_go_on(
    folder: Path, config: Any, *given: Any, first: dict[str, Any], then: dict[str, Any]
) -> Artifact[Checkpoint]:
    """Train under the settings `first`, be stopped after a step, and go on under `then`."""
    with pytest.raises(BunbukuError, match="after step 1 of"):
        train(folder, config, *given, run=TrainRun(**first, time_limit_seconds=0.01))
    return train(folder, config, *given, run=TrainRun(**then))


@needs_engine
@pytest.mark.parametrize("layers", OTHER)
@pytest.mark.parametrize("kind", ["dense", "mixture"])
def test_transformer_engine_and_local_layers_go_on_from_each_others_states(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
    kind: str,
    layers: str,
) -> None:
    config, start = model(kind, tiny, 6, mixture_start)
    given = (config, tokens, tokenizer, *start)
    whole = train(tmp_path / "whole", *given, run=TrainRun(**{**GPU, "layers": layers}))
    first, then = ({**GPU, "layers": name} for name in (layers, OTHER[layers]))
    mixed = stop_and_go_on(tmp_path / "mixed", *given, first=first, then=then)
    assert curve(mixed)[0] == curve(whole)[0]
    assert farthest(mixed, whole) < 1e-3
    # And transformers reads what either wrote: the logits are compared inside.
    tolerant = ExportConfig(logits_tolerance=1e-4)
    weights = [load_file(export(tmp_path / name, tolerant, made, tokenizer).dir / "model.safetensors")
               for name, made in (("a", whole), ("b", mixed))]  # fmt: skip
    assert all((weights[0][name] - weights[1][name]).abs().max() < 1e-2 for name in weights[0])


@pytest.mark.parametrize("precision", ["bf16", pytest.param("fp8", marks=needs_engine)])
@pytest.mark.parametrize("kind", ["dense", "mixture"])
def test_narrow_numbers_learn_nearly_what_fp32_does(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
    kind: str,
    precision: str,
) -> None:
    config, start = model(kind, tiny, 12, mixture_start)
    wide = train(tmp_path / "wide", config, tokens, tokenizer, *start, run=TrainRun(**GPU))
    narrow_config = config.model_copy(update={"precision": precision})
    narrow = train(tmp_path / "narrow", narrow_config, tokens, tokenizer, *start, run=TrainRun(**GPU))
    assert curve(narrow)[-1] < curve(narrow)[0] - 0.3
    assert 0 < farthest(narrow, wide) < {"bf16": 0.05, "fp8": 0.2}[precision]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_state_of_a_fused_optimizer_comes_back(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    tiny: SimpleNamespace,
    precision: str,
    shared: bool,
) -> None:
    """Transformer Engine's or Apex's AdamW where it is installed, else torch's; five steps after going on."""
    config = tiny.config(steps=6).model_copy(update={"precision": precision})
    settings = {**GPU, "distributed_optimizer": shared}
    whole = train(tmp_path / "whole", config, tokens, tokenizer, run=TrainRun(**settings))
    again = stop_and_go_on(tmp_path / "again", config, tokens, tokenizer, first=settings, then=settings)
    assert curve(again) == curve(whole)


@needs_two
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"distributed_optimizer": True},
        {"tensor_parallel": 2},
        {"pipeline_parallel": 2},
        pytest.param({"context_parallel": 2}, marks=needs_engine),
    ],
)
def test_two_gpus_learn_what_one_does_and_go_on_over_nccl(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    tiny: SimpleNamespace,
    layout: dict[str, Any],
) -> None:
    config = tiny.config(steps=6)
    settings = {**GPU, "ranks": 2, **layout}
    one = train(tmp_path / "one", config, tokens, tokenizer, run=TrainRun(**GPU))
    two = train(tmp_path / "two", config, tokens, tokenizer, run=TrainRun(**settings))
    again = stop_and_go_on(tmp_path / "again", config, tokens, tokenizer, first=settings, then=settings)
    assert farthest(two, one) < 1e-3
    assert curve(again) == curve(two)


@needs_two
def test_two_gpus_share_experts_over_nccl(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    given = (tiny.mixture, tokens, tokenizer, mixture_start)
    one = train(tmp_path / "one", *given, run=TrainRun(**GPU))
    two = train(tmp_path / "two", *given, run=TrainRun(**GPU, ranks=2, expert_parallel=2))
    assert farthest(two, one) < 1e-3


@needs_engine
def test_packed_documents_see_the_same_under_either_layers(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    config = tiny.config(steps=4).model_copy(update={"packing": "best_fit"})
    local, engine = (
        train(tmp_path / layers, config, tokens, tokenizer, run=TrainRun(**{**GPU, "layers": layers}))
        for layers in OTHER
    )
    assert farthest(local, engine) < 1e-3
