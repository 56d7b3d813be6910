"""An upcycled model in Megatron is its dense parent, and learns to balance as the model of transformers does.

Megatron-core's own utility makes a mixture of the same dense model beside it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Config, Draft, register_hf_models, stage
from bunbuku_moe_upcycle import Copy, Granular, Noise, UpcycleConfig, upcycle
from safetensors.numpy import save_file

SHAPE = Architecture(layers=2, hidden_size=32, ffn_size=48, heads=4, kv_heads=2, vocab_size=150, max_positions=32)
CONFIGS = {
    "copy": UpcycleConfig(strategy=Copy(), exact=True),
    "plain-copy": UpcycleConfig(strategy=Copy(), normalization="none", exact=True),
    "granular": UpcycleConfig(strategy=Granular(), exact=True),
    "plain-granular": UpcycleConfig(strategy=Granular(), active=4, normalization="none", exact=True),
    "noise": UpcycleConfig(strategy=Noise(scale=0.5), aux_loss_coefficient=0.5),
}
EXACT = [name for name in CONFIGS if name != "noise"]


@stage("test.parent")
def parent(draft: Draft, config: Config) -> Checkpoint:
    """A dense Llama with weights large for its size."""
    random, hidden, ffn = np.random.default_rng(0), SHAPE.hidden_size, SHAPE.ffn_size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (150, hidden), "lm_head": (150, hidden)}
    for layer in range(SHAPE.layers):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{n}_proj": (hidden if n in "qo" else 16, hidden) for n in "qkvo"}
        shapes |= {f"{at}.mlp.gate_proj": (ffn, hidden), f"{at}.mlp.up_proj": (ffn, hidden)}
        shapes |= {f"{at}.mlp.down_proj": (hidden, ffn)}
        shapes |= {f"{at}.input_layernorm": (hidden,), f"{at}.post_attention_layernorm": (hidden,)}
    shapes["model.norm"] = (hidden,)
    tensors = {
        f"{name}.weight": (0.15 * random.standard_normal(size) + (len(size) == 1)).astype(np.float32)
        for name, size in shapes.items()
    }
    save_file(tensors, draft.dir / "model.safetensors", metadata={"format": "pt"})
    fields = {"model_type": "llama", "vocab_size": 150, "hidden_size": hidden, "intermediate_size": ffn}
    fields |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
    fields |= {"max_position_embeddings": 32, "rope_theta": 10_000.0, "dtype": "float32"}
    (draft.dir / "config.json").write_text(json.dumps(fields))
    return Checkpoint(architecture=SHAPE, format="hf", step=1, tokens_seen=1, tokenizer="0" * 64)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact[Checkpoint]]:
    folder = tmp_path_factory.mktemp("upcycled")
    dense = parent(folder / "dense", Config())
    return {"dense": dense} | {name: upcycle(folder / name, config, dense) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def found(made: dict[str, Artifact[Checkpoint]]) -> Any:
    folder = made["dense"].dir.parent
    np.save(folder / "ids.npy", np.random.default_rng(5).integers(0, 150, (3, 32)))
    described = json.dumps({name: one.spec.architecture.model_dump() for name, one in made.items()})
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("upcycle_probe.py")), str(folder), described],
        env={**os.environ, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(folder / "found.npz")


def off(found: Any, name: str) -> float:
    dense = found["dense/logits"]
    assert np.abs(dense).max() > 1
    return float(np.abs(found[name] - dense).max() / np.abs(dense).max())


@pytest.mark.parametrize("name", EXACT)
def test_megatron_computes_what_it_did_of_the_dense_model(found: Any, name: str) -> None:
    assert off(found, f"{name}/logits") <= 1e-6


def test_megatrons_own_utility_does_so_for_copies_and_not_for_finer_experts(found: Any) -> None:
    errors = {name: off(found, f"{name}/megatron") for name in EXACT}
    print({name: f"{error:.1e}" for name, error in errors.items()})  # noqa: T201  # the figures for RESULTS.md, under -s
    assert max(errors["copy"], errors["plain-copy"]) <= 1e-6
    assert min(errors["granular"], errors["plain-granular"]) > 1e-3


def test_transformers_and_megatron_give_the_noisy_model_the_same_logits(found: Any, made: Any) -> None:
    assert np.abs(opened(made)(ids_of(made)).logits.detach().numpy() - found["noise/logits"]).max() < 1e-5


def test_the_balancing_loss_pulls_at_the_router_alike_in_both(found: Any, made: Any) -> None:
    """Its value and its gradient: the mean cross entropy and half of the balance, summed over layers."""
    model, ids = opened(made), ids_of(made)
    inside = model(ids[:, :-1], output_router_logits=True)
    plain = torch.nn.functional.cross_entropy(inside.logits.flatten(0, 1), ids[:, 1:].flatten())
    (plain + 0.5 * inside.aux_loss).backward()
    wanted = model.model.layers[0].mlp.gate.weight.grad.numpy()
    without = torch.autograd.grad(
        torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten()),
        model.model.layers[0].mlp.gate.weight,
    )[0]
    assert np.abs(wanted - without.numpy()).max() > 0.05 * np.abs(wanted).max()
    assert np.abs(found["noise/gradient-1"] - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_training_reports_of_the_routers_what_transformers_shows(found: Any, made: Any) -> None:
    with torch.no_grad():
        inside = opened(made)(ids_of(made), output_router_logits=True)
    for reported, logits in zip(found["noise/mixture"], inside.router_logits, strict=True):
        shares = logits.softmax(dim=-1)
        assert reported[0] == pytest.approx(-(shares * shares.log()).sum(dim=-1).mean().item(), abs=2e-4)
        top = logits.topk(2, dim=-1)
        assert reported[1] == pytest.approx((top.values[:, 0] - top.values[:, 1]).mean().exp().item(), abs=2e-4)
        counts = top.indices.flatten().bincount(minlength=8).float()
        assert reported[2:] == pytest.approx((counts / counts.mean()).tolist(), abs=2e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_twice_the_same_micro_batch_is_no_other_balance(found: Any, name: str) -> None:
    once, twice = found[f"{name}/gradient-1"], found[f"{name}/gradient-2"]
    assert np.abs(once).max() > 0
    np.testing.assert_allclose(twice, once, rtol=1e-4, atol=1e-7)


def opened(made: Any) -> Any:
    from transformers import AutoModelForCausalLM

    register_hf_models()
    return AutoModelForCausalLM.from_pretrained(made["noise"].dir).eval()


def ids_of(made: Any) -> torch.Tensor:
    return torch.from_numpy(np.load(made["dense"].dir.parent / "ids.npy"))
