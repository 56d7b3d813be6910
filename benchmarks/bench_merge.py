"""Merging checkpoints beside mergekit: seconds, memory at most, and by how much the weights differ.

    BUNBUKU_MERGEKIT=…/bin/mergekit-yaml python benchmarks/bench_merge.py [megabytes] [rounds] [method]

Three toy Llamas of the same shape, float32, in three shards each. Both commands run as a person runs them, start-up included, in
turns, on one thread; memory is the largest resident set of the process.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Config, Draft, stage
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

MERGEKIT = os.environ.get("BUNBUKU_MERGEKIT", "mergekit-yaml")
METHODS = {
    "linear": ({"type": "linear", "weights": {"one": 0.7, "two": 0.3}}, {}),
    "slerp": ({"type": "slerp", "t": 0.3}, {"t": 0.3}),
    "task_arithmetic": ({"type": "task_arithmetic", "scale": 0.9}, {"lambda": 0.9, "normalize": False}),
    "ties": ({"type": "ties", "density": 0.4}, {"normalize": True}),
    "model_stock": ({"type": "model_stock"}, {}),
}


class ToyConfig(Config):
    seed: int
    megabytes: int


@stage("bench.toy")
def toy(draft: Draft, config: ToyConfig) -> Checkpoint:
    """A Llama whose weights are those of seed 0, moved a little by its own seed."""
    hidden, layers = 512, max(1, config.megabytes // 13)
    sizes = LlamaConfig(
        vocab_size=4096, hidden_size=hidden, intermediate_size=1408, num_hidden_layers=layers, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=256,
    )  # fmt: skip
    set_seed(0)
    model = LlamaForCausalLM(sizes)
    set_seed(config.seed)
    with torch.no_grad():
        for weight in model.parameters():
            if config.seed:
                weight.add_(torch.randn_like(weight), alpha=0.002)
    model.save_pretrained(draft.dir, max_shard_size=f"{config.megabytes // 3 + 1}MB")
    from tokenizers import Tokenizer, models

    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())).save_pretrained(draft.dir)
    shape = Architecture(
        layers=layers, hidden_size=hidden, ffn_size=1408, heads=8, kv_heads=8, vocab_size=4096, max_positions=256
    )
    return Checkpoint(architecture=shape, format="hf", step=0, tokens_seen=0, tokenizer="0" * 64)


_WATCH = (
    "import resource, subprocess, sys, time; begun = time.perf_counter(); "
    "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE); "
    "sys.stderr.write(done.stderr.decode()); "
    "print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); "
    "sys.exit(done.returncode)"
)
"""A process of its own that is small: what a process held before it became another counts for the other."""


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of wall time, and MiB held at most."""
    settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", _WATCH, *command], capture_output=True, text=True, env=os.environ | settings
    )
    if run.returncode:
        sys.exit(run.stderr[-2000:])
    seconds, kibibytes = run.stdout.split()
    return float(seconds), float(kibibytes) / 1024


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def commands(method: str, models: dict[str, Artifact[Checkpoint]], root: Path) -> tuple[list[str], list[str]]:
    """Ours and mergekit's."""
    ours, parameters = METHODS[method]
    toml = "[method]\n" + "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in ours.items() if not isinstance(value, dict)
    )
    if isinstance(given := ours.get("weights"), dict):
        toml += "[method.weights]\n" + "".join(f"{name} = {weight}\n" for name, weight in given.items())
    (root / f"{method}.toml").write_text(toml)
    based = method not in ("linear", "slerp")
    command = [sys.executable, "-c", "import sys; from bunbuku_align.cli import main; sys.exit(main(sys.argv[1:]))"]
    command += ["combine", str(root / f"{method}.toml"), "--out", str(root / "ours")]
    for name in ("one", "two"):
        command += ["--models", f"{name}={models[name].dir}"]
    command += ["--base", str(models["base"].dir)] if based else []
    entries = []
    for name in ("one", "two"):
        of = {"weight": given[name] if isinstance(given, dict) else 1.0}
        entries.append(
            {"model": str(models[name].dir), "parameters": of | ({"density": 0.4} if method == "ties" else {})}
        )
    recipe = {"merge_method": method, "models": entries, "parameters": parameters, "dtype": "float32"}
    if method != "linear":
        recipe["base_model"] = str(models["base" if based else "one"].dir)
    (root / f"{method}.yaml").write_text(json.dumps(recipe))
    return command, [MERGEKIT, str(root / f"{method}.yaml"), str(root / "theirs"), "--copy-tokenizer"]


def main() -> None:
    given = sys.argv[1:]
    megabytes, rounds = (int(value) for value in given[:2] + ["300", "3"][len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        models = {
            name: toy(root / name, ToyConfig(seed=seed, megabytes=megabytes))
            for seed, name in enumerate(("base", "one", "two"))
        }
        held = sum(file.bytes for file in models["base"].files()) / 1e6
        print(f"{held:.0f} MB a model, {rounds} rounds, medians")
        for method in given[2:] or METHODS:
            found: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
            for _ in range(rounds):
                for whose, command in zip(found, commands(method, models, root), strict=True):
                    subprocess.run(["rm", "-rf", str(root / whose)], check=True)
                    found[whose].append(timed(command))
            ours, theirs = weights(root / "ours"), weights(root / "theirs")
            assert ours.keys() == theirs.keys()
            apart = max((ours[name] - theirs[name]).abs().max().item() for name in ours)
            far = sum(int(((ours[name] - theirs[name]).abs() > 1e-6).sum()) for name in ours)
            seconds, memory = (
                [statistics.median(run[what] for run in found[whose]) for whose in ("ours", "theirs")]
                for what in (0, 1)
            )
            print(
                f"{method:16} {seconds[0]:6.1f} s against {seconds[1]:6.1f} s ({seconds[0] / seconds[1]:.2f}), "
                f"{memory[0]:5.0f} MiB against {memory[1]:5.0f} MiB ({memory[0] / memory[1]:.2f}), apart {apart:.1e}, {far} of {sum(map(torch.numel, ours.values()))} weights by more than 1e-6",
                flush=True,
            )


if __name__ == "__main__":
    main()
