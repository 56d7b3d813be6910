"""Merging checkpoints beside mergekit: seconds, memory at most, and by how much the weights differ.

    BUNBUKU_MERGEKIT=…/bin/mergekit-yaml python benchmarks/bench_merge.py [--megabytes 300] [--rounds 3]
        [--kinds dense moe] [--methods linear …]

Three toy models of the same shape (Llamas, or Mixtrals of eight experts), float32, in three shards each. Both commands run as
a person runs them, start-up included, in turns, on one thread; memory is the largest resident set of the process. Of the
weights that differ by more than 1e-6 those are counted that have no excuse: with TIES, a delta that is exactly as large as the
smallest kept one may be kept or not (mergekit's sort is not stable). DARE draws what it drops, each program by itself: `dare`
is timed and not compared, `dare_all` drops nothing and is compared. Of mixtures `linear` and `task_arithmetic` can be compared: mergekit
with transformers 5 cuts, and turns, all experts of a layer as one tensor.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from bunbuku_align.fused import Place, place
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Config, Draft, Experts, stage
from safetensors import safe_open
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)

MERGEKIT = os.environ.get("BUNBUKU_MERGEKIT", "mergekit-yaml")
METHODS: dict[str, tuple[dict[str, Any], str, dict[str, Any], float | None]] = {
    "linear": ({"type": "linear", "weights": {"one": 0.7, "two": 0.3}}, "linear", {}, None),
    "slerp": ({"type": "slerp", "t": 0.3}, "slerp", {"t": 0.3}, None),
    "task_arithmetic": (
        {"type": "task_arithmetic", "scale": 0.9}, "task_arithmetic", {"lambda": 0.9, "normalize": False}, None,
    ),
    "ties": ({"type": "ties", "density": 0.4}, "ties", {"normalize": True}, 0.4),
    "dare": ({"type": "dare", "density": 0.5}, "dare_linear", {"normalize": False}, 0.5),
    "dare_all": (
        {"type": "dare", "density": 1.0, "elect_signs": True}, "dare_ties", {"normalize": False, "rescale": True}, 1.0,
    ),
    "model_stock": ({"type": "model_stock"}, "model_stock", {}, None),
}  # fmt: skip
"""Our method; mergekit's name of it, its parameters, and the density of each model."""
SHARED: dict[str, Any] = {
    "vocab_size": 4096, "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 8,
    "max_position_embeddings": 256,
}  # fmt: skip


class ToyConfig(Config):
    seed: int
    megabytes: int
    kind: Literal["dense", "moe"]


@stage("bench.toy")
def toy(draft: Draft, config: ToyConfig) -> Checkpoint:
    """A model whose weights are those of seed 0, moved a little by its own seed."""
    mixture = config.kind == "moe"
    layers, ffn = max(1, (config.megabytes - 17) // (39 if mixture else 13)), 704 if mixture else 1408
    sizes: dict[str, Any] = SHARED | {"intermediate_size": ffn, "num_hidden_layers": layers}
    set_seed(0)
    model: PreTrainedModel = (
        MixtralForCausalLM(MixtralConfig(**sizes, num_local_experts=8, num_experts_per_tok=2))
        if mixture
        else LlamaForCausalLM(LlamaConfig(**sizes))
    )
    set_seed(config.seed)
    with torch.no_grad():
        for weight in model.parameters():
            if config.seed:
                weight.add_(torch.randn_like(weight), alpha=0.002)
    model.save_pretrained(draft.dir, max_shard_size=f"{config.megabytes // 3 + 1}MB")
    from tokenizers import Tokenizer, models

    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())).save_pretrained(draft.dir)
    shape = Architecture(
        layers=layers, hidden_size=512, ffn_size=ffn, heads=8, kv_heads=8, vocab_size=4096, max_positions=256,
        experts=Experts(count=8, active=2) if mixture else None,
    )  # fmt: skip
    return Checkpoint(architecture=shape, format="hf", step=0, tokens_seen=0, tokenizer="0" * 64)


_WATCH = (
    "import resource, subprocess, sys, time; begun = time.perf_counter(); "
    "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE); "
    "sys.stderr.write(done.stderr.decode()); used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print(time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss); "
    "sys.exit(done.returncode)"
)
"""A process of its own that is small: what a process held before it became another counts for the other."""


class Took(NamedTuple):
    wall_seconds: float
    cpu_seconds: float
    mebibytes: float


def timed(command: list[str]) -> Took:
    """What a command took, all it started included."""
    settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", _WATCH, *command], capture_output=True, text=True, env=os.environ | settings
    )
    if run.returncode:
        sys.exit(run.stderr[-2000:])
    wall, cpu, kibibytes = map(float, run.stdout.split())
    return Took(wall, cpu, kibibytes / 1024)


def tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a checkpoint, one in memory at a time."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 it is no mapping
                yield name, file.get_tensor(name)


class Differences(NamedTuple):
    largest: float
    far: int
    """Weights that differ by more than 1e-6."""
    unexcused: int
    weights: int


def compare(root: Path, models: dict[str, Artifact[Checkpoint]], density: float | None) -> Differences:
    """By how much our weights and mergekit's differ."""
    ours, theirs = dict(tensors(root / "ours")), dict(tensors(root / "theirs"))
    assert sum(map(torch.numel, ours.values())) == sum(map(torch.numel, theirs.values()))
    given = {name: dict(tensors(model.dir)) for name, model in models.items()} if density else {}
    largest, far, unexcused = 0.0, 0, 0
    for name, mine in ours.items():
        where = Place(name) if name in theirs else place(name)  # it may write experts as transformers holds them
        apart = (mine - where.of(theirs[where.parameter])).abs()
        largest, wrong = max(largest, apart.max().item()), apart > 1e-6
        far += int(wrong.sum())
        if density and density < 1 and wrong.any():
            for model in ("one", "two"):
                size = (given[model][name] - given["base"][name]).abs()
                kept = int(density * size.numel())
                wrong &= size != size.flatten().kthvalue(size.numel() - kept + 1).values
        unexcused += int(wrong.sum())
    return Differences(largest, far, unexcused, sum(map(torch.numel, ours.values())))


def commands(method: str, models: dict[str, Artifact[Checkpoint]], root: Path) -> dict[str, list[str]]:
    """Ours and mergekit's."""
    ours, peer, parameters, density = METHODS[method]
    toml = "[method]\n" + "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in ours.items() if not isinstance(value, dict)
    )
    given: dict[str, float] = ours.get("weights", {"one": 1.0, "two": 1.0})
    if "weights" in ours:
        toml += "[method.weights]\n" + "".join(f"{name} = {weight}\n" for name, weight in given.items())
    (root / f"{method}.toml").write_text(toml)
    based = method not in ("linear", "slerp")
    command = [sys.executable, "-c", "import sys; from bunbuku_align.cli import main; sys.exit(main(sys.argv[1:]))"]
    command += ["combine", str(root / f"{method}.toml"), "--out", str(root / "ours")]
    for name in given:
        command += ["--models", f"{name}={models[name].dir}"]
    command += ["--base", str(models["base"].dir)] if based else []
    entries = [
        {"model": str(models[name].dir), "parameters": {"weight": weight} | ({"density": density} if density else {})}
        for name, weight in given.items()
    ]
    recipe = {"merge_method": peer, "models": entries, "parameters": parameters, "dtype": "float32"}
    if method != "linear":
        recipe["base_model"] = str(models["base" if based else "one"].dir)
    (root / f"{method}.yaml").write_text(json.dumps(recipe))
    theirs = [MERGEKIT, str(root / f"{method}.yaml"), str(root / "theirs"), "--copy-tokenizer"]
    return {"ours": command, "theirs": theirs}


def ratio(mine: list[float], other: list[float]) -> str:
    """The ratio of means, and of several rounds its bootstrap 95 % interval."""
    draw, pairs = random.Random(0), list(zip(mine, other, strict=True))
    if len(pairs) == 1:
        return f"{mine[0] / other[0]:.2f}"
    drawn = sorted(
        sum(one for one, _ in some) / sum(two for _, two in some)
        for some in (draw.choices(pairs, k=len(pairs)) for _ in range(1000))
    )
    return f"{sum(mine) / sum(other):.2f} ({drawn[25]:.2f}–{drawn[974]:.2f})"


def bench(method: str, models: dict[str, Artifact[Checkpoint]], root: Path, rounds: int) -> str:
    """A row of the table."""
    found: dict[str, list[Took]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for whose, command in commands(method, models, root).items():
            subprocess.run(["rm", "-rf", str(root / whose)], check=True)
            found[whose].append(timed(command))
    cells = []
    for of in (0, 1, 2):
        mine, other = ([took[of] for took in found[whose]] for whose in ("ours", "theirs"))
        cells.append(f"{statistics.median(mine):.1f}, {statistics.median(other):.1f} | {ratio(mine, other)}")
    if method == "dare":
        return " | ".join([method, *cells, "own draws"])
    apart = compare(root, models, METHODS[method][3])
    return " | ".join([method, *cells, f"{apart.largest:.1e}; {apart.far} ({apart.unexcused}) of {apart.weights:,}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=("dense", "moe"), default=["dense", "moe"])
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    options = parser.parse_args()
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            models = {
                name: toy(root / name, ToyConfig(seed=seed, megabytes=options.megabytes, kind=kind))
                for seed, name in enumerate(("base", "one", "two"))
            }
            held = sum(file.bytes for file in models["base"].files()) / 1e6
            print(
                f"{kind}: {held:.0f} MB a model, {options.rounds} rounds, medians; ratios of means (of several rounds with 95 % by bootstrap)"
            )
            print("method | wall s | ratio | CPU s | ratio | MiB at most | ratio | largest; more than 1e-6 (unexcused)")
            for method in options.methods:
                print(bench(method, models, root, options.rounds), flush=True)


if __name__ == "__main__":
    main()
