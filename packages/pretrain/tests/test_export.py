import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bunbuku_contracts import Architecture, Artifact, ArtifactError, Checkpoint, Tokenizer
from bunbuku_pretrain import ExportConfig, export
from bunbuku_pretrain.foreign import read_architecture
from bunbuku_pretrain.hugging_face import write_folder
from bunbuku_pretrain.job import state_name
from bunbuku_pretrain.sources import HuggingFaceFolder
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

NAMES = ("dense", "mixture", "normalized", "population", "partly")


@pytest.fixture(scope="module")
def exported(probe: Path, tokenizer: Artifact[Tokenizer]) -> Path:
    """What comes back from Megatron, beside what went in."""
    for name in NAMES:
        folder = probe / f"{name}-back"
        folder.mkdir()
        architecture = read_architecture(probe / name).model_copy(update={"vocab_size": 256})
        source = probe / f"{name}-megatron" / state_name(0)
        write_folder(folder, source, architecture=architecture, tokenizer=tokenizer, shard_bytes=10**9)
    return probe


@pytest.mark.parametrize("name", NAMES)
def test_going_to_megatron_and_back_gives_the_same_bytes(exported: Path, name: str) -> None:
    for file in ("model.safetensors", "config.json"):
        there, back = (folder / file for folder in (exported / name, exported / f"{name}-back"))
        if file.endswith("json"):
            found = json.loads(back.read_text())
            found.pop("auto_map", None)  # where bunbuku-moe-upcycle is installed
            assert json.loads(there.read_text()) == found
        else:
            assert there.read_bytes() == back.read_bytes()


@pytest.mark.parametrize("name", ["dense", "mixture"])
def test_transformers_own_models_give_megatrons_logits(exported: Path, name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported / f"{name}-back", dtype=torch.float32).eval()
    assert type(model).__name__ == {"dense": "LlamaForCausalLM", "mixture": "MixtralForCausalLM"}[name]
    with torch.no_grad():
        logits = model(torch.from_numpy(np.load(exported / "ids.npy"))).logits.numpy()
    megatron = np.load(exported / f"{name}.npz")["logits"]
    assert np.abs(megatron).max() > 1
    assert np.abs(logits - megatron).max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_forward_pass_in_plain_torch_gives_megatrons_logits(exported: Path, name: str) -> None:
    weights = HuggingFaceFolder(exported / f"{name}-back")
    architecture = read_architecture(exported / name)
    logits = plain_forward(weights, architecture, torch.from_numpy(np.load(exported / "ids.npy")))
    assert np.abs(logits.numpy() - np.load(exported / f"{name}.npz")["logits"]).max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_pad_the_vocabulary_take_no_probability(exported: Path, name: str) -> None:
    found = np.load(exported / f"{name}.npz")
    ids = np.load(exported / "ids.npy")
    real = torch.from_numpy(found["logits"][:, :-1]).log_softmax(-1)
    wanted = -real.gather(-1, torch.from_numpy(ids[:, 1:, None])).squeeze(-1)
    assert np.abs(found["losses"] - wanted.numpy()).max() < 1e-5


def plain_forward(weights: HuggingFaceFolder, a: Architecture, ids: torch.Tensor) -> torch.Tensor:
    """The model written out. Shapes: B batch, S sequence, H heads, D head size, E experts."""
    x = weights.tensor("model.embed_tokens.weight")[ids]
    frequencies = a.rope_theta ** (-torch.arange(0, a.head_size, 2) / a.head_size)
    angles = torch.outer(torch.arange(ids.shape[1]).float(), frequencies).repeat(1, 2)

    def norm(y: torch.Tensor, name: str) -> torch.Tensor:
        return y * torch.rsqrt(y.square().mean(-1, keepdim=True) + a.norm_eps) * weights.tensor(f"{name}.weight")

    def heads(y: torch.Tensor, name: str) -> torch.Tensor:
        return (y @ weights.tensor(f"{name}.weight").T).unflatten(-1, (-1, a.head_size)).transpose(1, 2)

    def turned(y_BHSD: torch.Tensor) -> torch.Tensor:
        first, second = y_BHSD.chunk(2, dim=-1)
        return y_BHSD * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()

    def gated(y: torch.Tensor, names: list[str]) -> torch.Tensor:
        gate, up, down = (weights.tensor(f"{name}.weight") for name in names)
        return (torch.nn.functional.silu(y @ gate.T) * (y @ up.T)) @ down.T

    for layer in range(a.layers):
        prefix = f"model.layers.{layer}."
        y = norm(x, prefix + "input_layernorm")
        q, k = (turned(heads(y, f"{prefix}self_attn.{letter}_proj")) for letter in "qk")
        k, v = (z.repeat_interleave(a.heads // a.kv_heads, 1) for z in (k, heads(y, prefix + "self_attn.v_proj")))
        scores = q @ k.transpose(-1, -2) / a.head_size**0.5
        hidden = torch.ones(ids.shape[1], ids.shape[1]).triu(1).bool()
        mixed = (scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + mixed @ weights.tensor(prefix + "self_attn.o_proj.weight").T
        y = norm(x, prefix + "post_attention_layernorm")
        sparse = f"{prefix}block_sparse_moe"
        if a.experts is None or layer not in a.mixture_layers:
            at = f"{prefix}mlp" if a.experts is None else sparse
            x = x + gated(y, [f"{at}.{name}_proj" for name in ("gate", "up", "down")])
            continue
        if a.experts.shared_ffn_size:
            x = x + gated(y, [f"{sparse}.shared_expert.{name}_proj" for name in ("gate", "up", "down")])
        logits = y @ weights.tensor(prefix + "block_sparse_moe.gate.weight").T
        if (rule := a.experts.normalization) is not None:
            deviation = logits.var(-1, correction=rule.ddof, keepdim=True).sqrt()
            logits = rule.scale * (logits - logits.mean(-1, keepdim=True)) / (deviation + rule.eps)
        best, chosen = logits.topk(a.experts.active)
        gates = best.softmax(-1) if a.experts.gate_order == "choice_first" else logits.softmax(-1).gather(-1, chosen)
        shares = torch.zeros_like(logits).scatter(-1, chosen, gates)
        for expert in range(a.experts.count):
            names = [f"{prefix}block_sparse_moe.experts.{expert}.{name}" for name in ("w1", "w3", "w2")]
            x = x + shares[..., expert, None] * gated(y, names)
    return norm(x, "model.norm") @ weights.tensor("lm_head.weight").T


@pytest.fixture(scope="module")
def hugging_face(made: Path, dense: Artifact[Checkpoint], tokenizer: Artifact[Tokenizer]) -> Artifact[Checkpoint]:
    return export(made / "dense-hf", ExportConfig(), dense, tokenizer)


def test_an_export_opens_with_its_tokenizer_and_writes(
    hugging_face: Artifact[Checkpoint], dense: Artifact[Checkpoint], tokenizer: Artifact[Tokenizer]
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(hugging_face.dir)
    text = AutoTokenizer.from_pretrained(hugging_face.dir)
    assert text.eos_token_id == model.generation_config.eos_token_id == 2
    asked = torch.tensor([[1]])
    written = model.generate(asked, max_new_tokens=20)[0]
    assert written.max() < tokenizer.spec.vocab_size
    assert hugging_face.spec.architecture.vocab_size == tokenizer.spec.vocab_size < dense.spec.architecture.vocab_size
    assert (hugging_face.spec.step, hugging_face.spec.tokens_seen) == (60, 60 * 256)
    assert hugging_face.manifest.metrics["parameters"] == model.num_parameters()


def test_a_large_model_is_written_in_several_files_with_the_same_numbers(
    tmp_path: Path, dense: Artifact[Checkpoint], hugging_face: Artifact[Checkpoint], tokenizer: Artifact[Tokenizer]
) -> None:
    sharded = export(tmp_path / "sharded", ExportConfig(shard_bytes=30_000), dense, tokenizer)
    files = sorted(sharded.dir.glob("model-*.safetensors"))
    assert len(files) > 2
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    whole = load_file(hugging_face.dir / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(sharded.dir)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in model.state_dict().items())


def test_another_tokenizer_is_refused(tmp_path: Path, dense: Artifact[Checkpoint], tiny: SimpleNamespace) -> None:
    other = tiny.tokenizer(tmp_path / "other", tiny.tokenizer_config(vocabulary=140))
    with pytest.raises(ArtifactError, match=f"was made with tokenizer {dense.spec.tokenizer[:7]}"):
        export(tmp_path / "out", ExportConfig(), dense, other)


def test_what_is_exported_already_is_not_exported_again(
    tmp_path: Path, hugging_face: Artifact[Checkpoint], tokenizer: Artifact[Tokenizer]
) -> None:
    with pytest.raises(ArtifactError, match="has format 'hf', not 'megatron'"):
        export(tmp_path / "out", ExportConfig(), hugging_face, tokenizer)
