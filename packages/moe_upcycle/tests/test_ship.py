"""Checkpoints for programs that do not have this package."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Config, Draft, register_hf_models, stage
from bunbuku_moe_upcycle import Noise, ShipConfig, UpcycleConfig, ship, upcycle

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

type Make = Callable[..., Artifact[Checkpoint]]

IDS = list(range(4, 30))
ASK = """
import json, sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
with torch.no_grad():
    logits = model(torch.tensor([json.loads(sys.argv[2])])).logits[0]
print(json.dumps([type(model).__module__, "bunbuku_moe_upcycle" in sys.modules, logits.tolist()]))
"""


def asked_without_the_package(folder: Path, cache: Path) -> tuple[str, bool, Any]:
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(folder), json.dumps(IDS)],
        env=os.environ | {"HF_MODULES_CACHE": str(cache), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    module, had_it, logits = json.loads(done.stdout.splitlines()[-1])
    return module, had_it, torch.tensor(logits)


def logits(folder: Path) -> Any:
    register_hf_models()
    with torch.no_grad():
        return transformers.AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([IDS])).logits[0]


@stage("test.exported")
def exported(draft: Draft, config: Config, checkpoint: Artifact[Checkpoint]) -> Checkpoint:
    """The checkpoint as `pretrain export` writes it, without the file that this package adds."""
    for file in checkpoint.files():
        if file.path != "modeling_bunbuku_moe.py":
            shutil.copyfile(checkpoint.path(file), draft.dir / file.path)
    path = draft.dir / "config.json"
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_bytes()).items() if name != "auto_map"})
    )
    return checkpoint.spec


def test_an_upcycled_checkpoint_opens_with_its_own_code(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.5)), dense())
    module, had_it, found = asked_without_the_package(made.dir, tmp_path / "cache")
    assert module.startswith("transformers_modules")
    assert not had_it
    torch.testing.assert_close(found, logits(made.dir), rtol=0, atol=1e-6)


def test_what_transformers_saves_takes_the_code_along(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.5)), dense())
    register_hf_models()
    plain = exported(tmp_path / "exported", Config(), made)
    model = transformers.AutoModelForCausalLM.from_pretrained(plain.dir)
    model.save_pretrained(tmp_path / "saved")
    module, _, found = asked_without_the_package(tmp_path / "saved", tmp_path / "cache")
    assert module.startswith("transformers_modules")
    torch.testing.assert_close(found, logits(made.dir), rtol=0, atol=1e-6)


def test_shipped_a_checkpoint_has_the_code_and_the_same_weights(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(), dense())
    wanted = {path.name: path.read_bytes() for path in made.dir.iterdir() if path.is_file()}
    config = wanted.pop("config.json")
    shipped = ship(tmp_path / "shipped", ShipConfig(), exported(tmp_path / "exported", Config(), made))
    assert shipped.spec == made.spec
    found = {path.name: path.read_bytes() for path in shipped.dir.iterdir() if path.is_file()}
    assert json.loads(found.pop("config.json")) == json.loads(config)
    assert {name: found[name] for name in wanted if name != "manifest.json"} == {
        name: content for name, content in wanted.items() if name != "manifest.json"
    }


def test_a_plain_router_is_a_mixtral_and_needs_no_code(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(normalization="none"), dense())
    shipped = ship(tmp_path / "shipped", ShipConfig(form="mixtral"), made)
    assert not (shipped.dir / "modeling_bunbuku_moe.py").exists()
    assert (shipped.dir / "config.json").read_bytes() == (made.dir / "config.json").read_bytes()


def test_a_normalised_router_is_no_mixtral_and_the_error_is_told(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.5)), dense())
    with pytest.raises(
        BunbukuError, match=r"as a plain Mixtral .* otherwise by up to 0\.\d+ of their largest"
    ) as refused:
        ship(tmp_path / "shipped", ShipConfig(form="mixtral"), made)
    assert not (tmp_path / "shipped").exists()
    told = float(str(refused.value).split("up to ")[1].split()[0])
    config = json.loads((made.dir / "config.json").read_bytes())
    (made.dir / "config.json").write_text(json.dumps(config | {"model_type": "mixtral", "auto_map": {}}))
    register_hf_models()
    plain = transformers.MixtralForCausalLM.from_pretrained(made.dir)
    (made.dir / "config.json").write_text(json.dumps(config))
    own = transformers.AutoModelForCausalLM.from_pretrained(made.dir)
    heard = torch.randn(1, 50, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mlps = [(one.model.layers[layer].mlp, layer) for layer in range(3) for one in (own, plain)]
        norms = [own.model.layers[layer].post_attention_layernorm for layer in range(3)]
        answers = [mlp(norms[layer](heard)) for mlp, layer in mlps]
    off = max(((a - b).abs().max() / a.abs().max()).item() for a, b in zip(answers[::2], answers[1::2], strict=True))
    assert told == pytest.approx(off, rel=0.6)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"every": 2}, "has layers without experts, and a plain Mixtral has none"),
        ({"shared": True}, "has a network beside the experts, and a plain Mixtral has none"),
        ({"gate_order": "softmax_first"}, "has gates of a softmax over all experts, and as a plain Mixtral its layers"),
    ],
)
def test_what_mixtral_does_not_have_is_named(dense: Make, tmp_path: Path, fields: dict[str, Any], sentence: str):
    made = upcycle(tmp_path / "moe", UpcycleConfig(normalization="none", **fields), dense())
    with pytest.raises(BunbukuError, match=sentence):
        ship(tmp_path / "shipped", ShipConfig(form="mixtral"), made)
    assert (ship(tmp_path / "own", ShipConfig(), made).dir / "modeling_bunbuku_moe.py").is_file()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "is dense: it has no experts"),
        ({"format": "megatron"}, "is a checkpoint in 'megatron' format, ship reads 'hf'"),
    ],
)
def test_what_cannot_be_shipped_is_refused(dense: Make, tmp_path: Path, fields: dict[str, Any], sentence: str):
    with pytest.raises(BunbukuError, match=sentence):
        ship(tmp_path / "shipped", ShipConfig(), dense(**fields))
