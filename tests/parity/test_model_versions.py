"""Models that we publish compute the same in transformers 4 and in the transformers installed here, without our package."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Config, Draft, Tokenizer, stage
from bunbuku_moe_upcycle import Copy, Granular, Noise, UpcycleConfig, upcycle
from bunbuku_pretrain import ExportConfig, ImportConfig, export, import_
from safetensors.numpy import save_file
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import WordLevel

SHAPE = Architecture(layers=2, hidden_size=32, ffn_size=48, heads=4, kv_heads=2, vocab_size=64, max_positions=64)
MIXTURES = {
    "copy": UpcycleConfig(strategy=Copy()),
    "plain-copy": UpcycleConfig(strategy=Copy(), normalization="none"),
    "granular": UpcycleConfig(strategy=Granular(), active=4),
    "noise": UpcycleConfig(strategy=Noise(scale=0.5)),
    "partly": UpcycleConfig(strategy=Noise(scale=0.5), layers=(1,), shared=True),
    "shared-copy": UpcycleConfig(strategy=Copy(), every=2, shared=True, normalization="none"),
    "softmax-first": UpcycleConfig(strategy=Noise(scale=0.5), gate_order="softmax_first"),
    "plain-noise": UpcycleConfig(strategy=Noise(scale=0.5), normalization="none"),
}
ASK = """
import json, sys
import torch, transformers
from transformers import AutoModelForCausalLM

answers = {"version": transformers.__version__, "ours": "bunbuku_moe_upcycle" in sys.modules}
for name, folder in json.loads(sys.argv[1]).items():
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        logits = model(torch.arange(3, 60)[None]).logits[0]
    ids = model.eval().generate(torch.arange(3, 20)[None], max_new_tokens=8, do_sample=False, pad_token_id=0, eos_token_id=None)
    answers[name] = {"class": type(model).__name__, "logits": logits.tolist(), "ids": ids[0].tolist()}
print(json.dumps(answers))
"""


@stage("test.tokenizer")
def letters(draft: Draft, config: Config) -> Tokenizer:
    """As many ids as the models have rows."""
    vocabulary = {name: at for at, name in enumerate(["<unk>", "<s>", "</s>", "<pad>", *map(chr, range(65, 125))])}
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    FastTokenizer(WordLevel(vocabulary, unk_token="<unk>")).save(str(draft.dir / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (draft.dir / "tokenizer_config.json").write_text(json.dumps(settings))
    return Tokenizer(vocab_size=len(vocabulary))


@stage("test.llama")
def llama(draft: Draft, config: Config, tokenizer: Artifact[Tokenizer]) -> Checkpoint:
    """A dense checkpoint with weights large for its size."""
    random, hidden, ffn, kv = np.random.default_rng(0), SHAPE.hidden_size, SHAPE.ffn_size, 16
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (64, hidden), "lm_head": (64, hidden)}
    for layer in range(SHAPE.layers):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{n}_proj": (hidden if n in "qo" else kv, hidden) for n in "qkvo"}
        shapes |= {f"{at}.mlp.gate_proj": (ffn, hidden), f"{at}.mlp.up_proj": (ffn, hidden)}
        shapes |= {f"{at}.mlp.down_proj": (hidden, ffn)}
        shapes |= {f"{at}.input_layernorm": (hidden,), f"{at}.post_attention_layernorm": (hidden,)}
    shapes["model.norm"] = (hidden,)
    tensors = {
        f"{name}.weight": (0.15 * random.standard_normal(shape) + (len(shape) == 1)).astype(np.float32)
        for name, shape in shapes.items()
    }
    save_file(tensors, draft.dir / "model.safetensors", metadata={"format": "pt"})
    fields = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64, "hidden_size": hidden}
    fields |= {"intermediate_size": ffn, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    fields |= {"max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "dtype": "float32"}
    (draft.dir / "config.json").write_text(json.dumps(fields))
    return Checkpoint(architecture=SHAPE, format="hf", step=1, tokens_seen=1, tokenizer=tokenizer.content)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    tokenizer = letters(folder / "tokenizer", Config())
    dense: Artifact[Checkpoint] = llama(folder / "dense", Config(), tokenizer)
    made = {name: upcycle(folder / name, config, dense) for name, config in MIXTURES.items()}
    for name in ("noise", "partly"):  # what training would have made of it, and `pretrain export` of that
        there = import_(folder / f"{name}-megatron", ImportConfig(logits_tolerance=None), tokenizer, made[name])
        made[f"exported-{name}"] = export(
            folder / f"exported-{name}", ExportConfig(logits_tolerance=None), there, tokenizer
        )
    return {"dense": str(dense.dir), **{name: str(one.dir) for name, one in made.items()}}


@pytest.fixture(scope="module")
def here(folders: dict[str, str]) -> dict:
    return answers(Path(sys.executable), folders)


@pytest.fixture(scope="module")
def four(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Transformers 4 with its own companions, and the torch of this environment behind them."""
    venv = tmp_path_factory.mktemp("four") / "venv"
    run("uv", "venv", "--quiet", "--python", sys.executable, venv)
    python = venv / "bin" / "python"
    run("uv", "pip", "install", "--quiet", "--python", python, "transformers>=4.50,<5")
    (site,) = (venv / "lib").glob("python*/site-packages")
    (site / "behind.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return answers(python, folders)


def answers(python: Path, folders: dict[str, str]) -> dict:
    cache = Path(folders["dense"]).parent / f"modules-{len(list(Path(folders['dense']).parent.iterdir()))}"
    return json.loads(run(python, "-I", "-c", ASK, json.dumps(folders), modules=cache).splitlines()[-1])


def run(*command: object, modules: Path | None = None) -> str:
    environment = os.environ | ({"HF_MODULES_CACHE": str(modules)} if modules else {})
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", ["dense", *MIXTURES, "exported-noise", "exported-partly"])
def test_transformers_4_and_5_give_the_same_logits_and_words(here: dict, four: dict, name: str) -> None:
    assert (four["version"][:2], here["version"][:2]) == ("4.", "5.")
    assert not four["ours"]
    assert four[name]["class"] == here[name]["class"]
    theirs, ours = (np.array(answers[name]["logits"]) for answers in (four, here))
    assert np.abs(ours).max() > 1
    assert np.abs(theirs - ours).max() < 1e-5
    assert four[name]["ids"] == here[name]["ids"]


@pytest.mark.parametrize("version", ["here", "four"])
@pytest.mark.parametrize("name", ["copy", "plain-copy", "granular", "shared-copy"])
def test_an_exact_mixture_is_its_dense_parent(request: pytest.FixtureRequest, version: str, name: str) -> None:
    found = request.getfixturevalue(version)
    dense, mixture = (np.array(found[one]["logits"]) for one in ("dense", name))
    assert np.abs(mixture - dense).max() <= 1e-6 * np.abs(dense).max()


@pytest.mark.parametrize("name", ["noise", "partly"])
def test_an_export_from_megatron_opens_without_our_package_as_what_it_was(here: dict, four: dict, name: str) -> None:
    for found in (here, four):
        assert found[f"exported-{name}"]["class"] == "BunbukuMoeForCausalLM"
        assert found[f"exported-{name}"]["logits"] == found[name]["logits"]
    assert not here["ours"]


def test_what_is_tested_here_is_a_normalised_router(here: dict) -> None:
    assert here["noise"]["class"] == "BunbukuMoeForCausalLM"
    assert here["plain-noise"]["class"] == "MixtralForCausalLM"
    assert np.abs(np.array(here["noise"]["logits"]) - np.array(here["plain-noise"]["logits"])).max() > 1e-2
    assert torch.isfinite(torch.tensor(here["noise"]["logits"])).all()
