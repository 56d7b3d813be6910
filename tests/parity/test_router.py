"""A mixture with a normalised router means the same to Megatron (pretrain) and to transformers (moe_upcycle)."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bunbuku_contracts import Architecture, Experts, RouterNormalization, register_hf_models

PROBE = Path(__file__).parents[2] / "packages" / "pretrain" / "tests" / "probe.py"
ROUTERS = {
    "skywork": RouterNormalization(),
    "population": RouterNormalization(scale=0.7, ddof=0),
    "sharp": RouterNormalization(scale=2.0, eps=1e-3),
}


def architecture(normalization: RouterNormalization) -> Architecture:
    experts = Experts(count=4, active=2, normalization=normalization, aux_loss_coefficient=0.02)
    shape: dict[str, Any] = {"layers": 2, "hidden_size": 32, "ffn_size": 48, "heads": 4, "kv_heads": 2}
    return Architecture(**shape, vocab_size=150, max_positions=32, experts=experts)


def open_model(folder: Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    register_hf_models()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that transformers made and saved, and what Megatron makes of them."""
    from bunbuku_moe_upcycle.hf import BunbukuMoeConfig, BunbukuMoeForCausalLM

    register_hf_models()  # also what makes `save_pretrained` write the names that are read here
    folder = tmp_path_factory.mktemp("parity")
    np.save(folder / "ids.npy", np.random.default_rng(5).integers(0, 150, (3, 32)))
    for name, normalization in ROUTERS.items():
        shape = architecture(normalization)
        torch.manual_seed(7)
        model = BunbukuMoeForCausalLM(
            BunbukuMoeConfig(
                vocab_size=shape.vocab_size,
                hidden_size=shape.hidden_size,
                intermediate_size=shape.ffn_size,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.kv_heads,
                max_position_embeddings=shape.max_positions,
                rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
                rms_norm_eps=shape.norm_eps,
                num_local_experts=4,
                num_experts_per_tok=2,
                initializer_range=0.1,
                router_normalization=normalization.model_dump(),
            )
        )
        model.save_pretrained(folder / name)
    described = json.dumps({name: architecture(rule).model_dump() for name, rule in ROUTERS.items()})
    done = subprocess.run(
        [sys.executable, str(PROBE), str(folder), described],
        env={**os.environ, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", ROUTERS)
def test_both_give_the_same_logits(folder: Path, name: str) -> None:
    with torch.no_grad():
        logits = open_model(folder / name).eval()(torch.from_numpy(np.load(folder / "ids.npy"))).logits.numpy()
    assert np.abs(logits).max() > 1
    assert np.abs(logits - np.load(folder / f"{name}.npz")["logits"]).max() < 1e-5


@pytest.mark.parametrize("name", ROUTERS)
def test_both_weigh_the_balance_of_experts_alike(folder: Path, name: str) -> None:
    with torch.no_grad():
        inside = open_model(folder / name).eval()(
            torch.from_numpy(np.load(folder / "ids.npy")), output_router_logits=True
        )
    # transformers' side sums over layers, as Megatron does when it trains; Megatron's is shown as a mean over them.
    assert inside.aux_loss.item() / 2 == pytest.approx(np.load(folder / f"{name}.npz")["balance"], rel=1e-5)


@pytest.mark.parametrize("name", ROUTERS)
def test_alignment_weighs_the_balance_as_the_model_itself_does(folder: Path, name: str) -> None:
    from bunbuku_align.balance import balance_as_pretrained

    model = open_model(folder / name).eval()
    ids = torch.from_numpy(np.load(folder / "ids.npy"))
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0  # padding
    with torch.no_grad():
        expected = model(ids, attention_mask=mask, output_router_logits=True).aux_loss.item()
        balance_as_pretrained(model)  # pyright: ignore[reportArgumentType]
        found = model(ids, attention_mask=mask, output_router_logits=True).aux_loss.item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_rules_are_told_apart(folder: Path) -> None:
    logits = [np.load(folder / f"{name}.npz")["logits"] for name in ROUTERS]
    assert all(np.abs(a - b).max() > 1e-4 for a, b in pairwise(logits))
