"""A dense model upcycled and trained on: experts, matrices and layers shared among ranks learn what one rank learns.

The harness is `pretrain`'s, which runs many layouts in a launch; here it begins with what `moe_upcycle` made.
"""

import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Architecture, Artifact, BunbukuError, Checkpoint, Config, Draft, Tokenizer, Tokens, stage
from bunbuku_corpus import GatherConfig, gather
from bunbuku_moe_upcycle import Copy, Noise, UpcycleConfig, upcycle
from bunbuku_pretrain import AdamW, Constant, TokenizeConfig, TrainRun, tokenize
from bunbuku_pretrain import TrainConfig as PretrainConfig
from bunbuku_pretrain import train as pretrain
from bunbuku_pretrain.hugging_face import model_config, write_weights
from bunbuku_pretrain.sources import HuggingFaceFolder, RandomWeights
from bunbuku_tokenizer import TrainConfig, train

HARNESS = Path(__file__).parents[2] / "packages" / "pretrain" / "tests" / "layouts.py"
LAYOUTS: dict[str, dict[str, Any]] = {
    "experts": {"ranks": 2, "expert_parallel": 2},
    "matrices and sequences": {"ranks": 2, "tensor_parallel": 2, "sequence_parallel": True},
    "layers": {"ranks": 2, "pipeline_parallel": 2},
}
STARTS = {
    "noise": UpcycleConfig(experts=4, strategy=Noise(scale=0.1), aux_loss_coefficient=0.05),
    "some layers": UpcycleConfig(
        experts=4, strategy=Noise(scale=0.1), every=2, shared=True, gate_order="softmax_first"
    ),
}
STEPS, SEQUENCE, BATCH = 3, 32, 256


@stage("test.dense")
def dense_model(draft: Draft, config: Config, tokenizer: Artifact[Tokenizer]) -> Checkpoint:
    """A dense Llama of random weights."""
    from bunbuku_pretrain.layout import names

    vocabulary = tokenizer.spec.vocab_size
    shape: dict[str, Any] = {"layers": 2, "hidden_size": 32, "ffn_size": 48, "heads": 4, "kv_heads": 2}
    architecture = Architecture(**shape, vocab_size=vocabulary, max_positions=SEQUENCE)
    source = RandomWeights(architecture, vocabulary=vocabulary, std=0.1, seed=1)
    write_weights(draft.dir, ((name, source.tensor(name)) for name in names(architecture)), 10**9)
    (draft.dir / "config.json").write_text(json.dumps(model_config(architecture, tokenizer.spec)))
    return Checkpoint(architecture=architecture, format="hf", step=1, tokens_seen=1, tokenizer=tokenizer.content)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact[Tokens], Artifact[Tokenizer]]:
    folder = tmp_path_factory.mktemp("texts")
    who, where = ("狸", "和尚", "殿様", "村人", "旅人"), ("寺で", "山で", "町で", "橋で", "川で")
    what = ("お茶を飲んだ。", "綱を渡った。", "歌をうたった。", "本を読んだ。")
    rows = [f"{a}は{b}{c}{d}は{b}{c}" for a in who for b in where for c in what for d in who]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    described = {"sources": [{"type": "jsonl", "licence": "CC0-1.0", "language": "ja"}]}
    corpus = gather(folder / "corpus", GatherConfig.model_validate(described), folder / "texts.jsonl")
    small = TrainConfig(vocab_size=640, max_chars=100_000, required_characters="kana")
    tokenizer = train(folder / "tokenizer", small, corpus)
    return tokenize(folder / "tokens", TokenizeConfig(), corpus, tokenizer), tokenizer


@pytest.fixture(scope="module")
def found(texts: tuple[Artifact[Tokens], Artifact[Tokenizer]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("layouts")
    dense = dense_model(folder / "dense", Config(), texts[1])
    cases: dict[str, dict[str, Any]] = {}
    for name, config in STARTS.items():
        made = upcycle(folder / f"{name}-start", config, dense)
        base = first_step(folder / name, *texts, made) | {"steps": STEPS, "against": name}
        cases[name] = base | {"settings": {}}
        cases |= {f"{name}, {shared}": base | {"settings": layout} for shared, layout in LAYOUTS.items()}
    plan = folder / "plan.json"
    plan.write_text(json.dumps({"folder": str(folder / "cases"), "cases": cases}))
    (folder / "cases").mkdir()
    command = [sys.executable, str(HARNESS), str(plan)]
    done = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "cases" / "results.json").read_text())


def first_step(folder: Path, tokens: Any, tokenizer: Any, start: Artifact[Checkpoint]) -> dict[str, str]:
    """The job of a run that was stopped after its first step, and the full state that it left."""
    config = PretrainConfig(
        sequence_length=SEQUENCE,
        batch_tokens=BATCH,
        total_tokens=BATCH * (STEPS + 1),
        optimizer=AdamW(learning_rate=1e-2),
        schedule=Constant(),
    )
    run = TrainRun(micro_batch_sequences=4, checkpoint_interval_steps=5, time_limit_seconds=0.01)
    with pytest.raises(BunbukuError, match="after step 1 of"):
        pretrain(folder, config, tokens, tokenizer, start, run=run)
    (scratch,) = folder.parent.glob(f".{folder.name}.*.scratch")
    return {"job": str(scratch / "job.json"), "state": str(scratch / "states" / "step-00000001")}


@pytest.mark.parametrize("shared", LAYOUTS)
@pytest.mark.parametrize("start", STARTS)
def test_an_upcycled_model_learns_in_every_layout_what_it_learns_on_one_rank(
    found: Any, start: str, shared: str
) -> None:
    one = found[f"{start}, {shared}"]
    assert one["learned"] > 0.1
    assert one["replicas"] == 0
    assert one["first_loss"] <= 1e-6
    assert one["loss"] <= 1e-5
    assert one["weights"] <= 1e-4
    assert one["first_balance"] <= 1e-6
    assert one["balancing_largest"] > 1e-4
    assert one["balancing_gradient"] <= 1e-5


def test_experts_begin_different_wherever_they_lie(
    texts: tuple[Artifact[Tokens], Artifact[Tokenizer]], tmp_path: Path
) -> None:
    """Each is drawn by its name. Megatron's own start gives every expert parallel rank the same experts on a CPU."""
    dense = dense_model(tmp_path / "dense", Config(), texts[1])
    for config, same in ((STARTS["noise"], False), (UpcycleConfig(experts=4, strategy=Copy()), True)):
        made = upcycle(tmp_path / config.strategy.type, config, dense)
        weights = HuggingFaceFolder(made.dir)
        experts = [weights.tensor(f"model.layers.0.block_sparse_moe.experts.{n}.w1.weight") for n in range(4)]
        assert all(bool((a == b).all()) == same for a, b in combinations(experts, 2))
