"""Numbers of other formats, and what only Transformer Engine computes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, ConfigError, Tokenizer, Tokens, read_sections
from bunbuku_pretrain import ExportConfig, TrainRun, export, train
from bunbuku_pretrain.torch_dist import TorchDistFolder
from safetensors.torch import load_file


def curve(artifact: Artifact[Checkpoint]) -> list[float]:
    section, *_ = read_sections(artifact)
    return next([y for _, y in curve.points] for curve in section.curves if curve.name == "training loss")


# With a shared optimizer this is the test that Megatron's defect of one 'step' for all parameters fails (shims.py, 5).
@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, pytest.param(False, marks=pytest.mark.long)])
def test_bf16_learns_nearly_what_fp32_does_and_goes_on_to_the_same_bytes(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace, shared: bool
) -> None:
    run = tiny.laptop.model_copy(update={"distributed_optimizer": shared})
    wide = tiny.config(steps=5)
    narrow = wide.model_copy(update={"precision": "bf16"})
    made = train(tmp_path / "made", narrow, tokens, tokenizer, run=run)
    stopped = run.model_copy(update={"time_limit_seconds": 0.01})
    with pytest.raises(BunbukuError, match="after step 1 of 5"):
        train(tmp_path / "again", narrow, tokens, tokenizer, run=stopped)
    assert train(tmp_path / "again", narrow, tokens, tokenizer, run=run).content == made.content
    expected = curve(train(tmp_path / "wide", wide, tokens, tokenizer, run=run))
    assert 0 < max(abs(a - b) for a, b in zip(curve(made), expected, strict=True)) < 0.02
    state = TorchDistFolder(made.dir)
    # Weights as they are computed with; beside them what they are rounded from, and the moments.
    assert state.dtype("decoder.layers.mlp.linear_fc1.weight") == torch.bfloat16
    kept = {
        key: state.dtype(key) for key in state.names() if key.startswith("optimizer.") and "linear_fc1.weight" in key
    }
    assert len(kept) == 3 and set(kept.values()) == {torch.float32}
    out = export(tmp_path / "out", ExportConfig(), made, tokenizer)
    assert {tensor.dtype for tensor in load_file(out.dir / "model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("config", "run", "said"),
    [
        ({"precision": "fp8"}, {}, "`precision` is 'fp8', and Transformer Engine is not installed here"),
        ({"precision": "fp8"}, {"device": "cpu"}, "`precision` is 'fp8', and Transformer Engine runs on GPUs alone"),
        ({}, {"context_parallel": 2, "ranks": 2}, "`context_parallel` is 2, and Transformer Engine is not installed"),
        ({}, {"layers": "transformer_engine"}, "`layers` is 'transformer_engine', and Transformer Engine is not"),
        ({"precision": "fp8"}, {"layers": "local"}, "`precision` is 'fp8', and `layers` is 'local'"),
    ],
)
def test_what_needs_transformer_engine_is_refused_without_it(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    tiny: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    run: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.setattr("bunbuku_pretrain.precision.has_transformer_engine", lambda: False)
    asked = tiny.config(steps=2).model_copy(update=config)
    with pytest.raises(ConfigError, match=said):
        train(tmp_path / "out", asked, tokens, tokenizer, run=TrainRun(**run))


def test_a_mixture_needs_sequence_parallelism_under_tensor_parallelism(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    run = TrainRun(ranks=2, tensor_parallel=2, sequence_parallel=False)
    with pytest.raises(BunbukuError, match="`sequence_parallel` is off, and the model is a mixture"):
        train(tmp_path / "out", tiny.mixture, tokens, tokenizer, mixture_start, run=run)


ATTENTION = {
    "decoder.layers.self_attention.linear_qkv.layer_norm_weight",
    "decoder.layers.self_attention.linear_qkv.weight",
    "decoder.layers.self_attention.linear_proj.weight",
    "decoder.final_layernorm.weight",
    "embedding.word_embeddings.weight",
    "output_layer.weight",
}
# The names that Transformer Engine's modules have of themselves, without any map: its linear layers hold the norm before
# them, but the one of a mixture stands alone (models/gpt/gpt_layer_specs.py:179-349, extensions/transformer_engine.py).
NAMES = {
    "dense": ATTENTION
    | {
        "decoder.layers.mlp.linear_fc1.layer_norm_weight",
        "decoder.layers.mlp.linear_fc1.weight",
        "decoder.layers.mlp.linear_fc2.weight",
    },
    "mixture": ATTENTION
    | {
        "decoder.layers.pre_mlp_layernorm.weight",
        "decoder.layers.mlp.router.weight",
        "decoder.layers.mlp.experts.experts.linear_fc1.weight",
        "decoder.layers.mlp.experts.experts.linear_fc2.weight",
    },
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_checkpoint_has_the_names_that_transformer_engine_gives(probe: Path, kind: str) -> None:
    found = TorchDistFolder(probe / f"{kind}-megatron" / "step-00000000").names()
    assert {key for key in found if not key.startswith("common_state")} == NAMES[kind]
