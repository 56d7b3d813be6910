"""Time and memory of upcycling, against mergekit and against holding both models in memory.

    python benchmarks/bench_upcycle.py --peers PYTHON --out DIR [--rounds 10] [--noise 0.001]

PYTHON is an interpreter whose environment has mergekit (`uv venv X && uv pip install --python X/bin/python mergekit==0.1.5`).
A Llama of 134 M weights in bfloat16, at random, becomes 8 experts with 2 active behind a random router, each time in a new
process and in turns; `--noise 0` makes copies. Wall and CPU seconds and the most memory of the process; ratios to ours with
a bootstrap 95 % interval.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BOTH_IN_MEMORY = """
import sys
import torch
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM

source, out, noise = sys.argv[1], sys.argv[2], float(sys.argv[3])
dense = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
fields = {k: v for k, v in dense.config.to_dict().items() if k not in ("model_type", "architectures", "head_dim")}
torch.set_default_dtype(torch.bfloat16)
moe = MixtralForCausalLM(MixtralConfig(**fields, num_local_experts=8, num_experts_per_tok=2))
torch.set_default_dtype(torch.float32)
theirs = dict(dense.named_parameters())
with torch.no_grad():
    for name, weight in moe.named_parameters():
        if name in theirs:
            weight.copy_(theirs[name])
    for old, new in zip(dense.model.layers, moe.model.layers):
        both = torch.cat([old.mlp.gate_proj.weight, old.mlp.up_proj.weight])
        for expert in range(8):
            for target, value in ((new.mlp.experts.gate_up_proj, both), (new.mlp.experts.down_proj, old.mlp.down_proj.weight)):
                target[expert] = (value + noise * torch.randn_like(value)) if noise else value
moe.save_pretrained(out)
"""
SHAPE: dict[str, Any] = {"vocab_size": 32000, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12}
SHAPE |= {"num_attention_heads": 12, "num_key_value_heads": 12, "max_position_embeddings": 2048}


class Taken(NamedTuple):
    wall: float
    cpu: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--noise", type=float, default=0.001)
    options = parser.parse_args()
    source: Path = options.out / "dense"
    if not (source / "manifest.json").exists():
        make_dense(source)
        os.execv(sys.executable, [sys.executable, *sys.argv])  # a child's peak begins with what its parent held
    taken: dict[str, list[Taken]] = {name: [] for name in ("ours", "mergekit", "both in memory")}
    for number in range(options.rounds):
        for name in taken:
            with tempfile.TemporaryDirectory(dir=options.out) as folder:
                taken[name].append(measured(command(name, source, Path(folder), options)))
        last = {name: runs[-1] for name, runs in taken.items()}
        print(
            number + 1,
            *(f"{name}: {one.wall:.1f} s, {one.peak_mib:.0f} MiB;" for name, one in last.items()),
            flush=True,
        )
    for name, runs in taken.items():
        median = Taken(*np.median(np.array(runs), axis=0))
        print(f"{name}: {median.wall:.2f} s wall, {median.cpu:.2f} s CPU, {median.peak_mib:.0f} MiB at most")
        if name != "ours":
            for figure, field in enumerate(Taken._fields):
                print(f"  ours / {name}, {field}: {ratio(taken['ours'], runs, figure)}")


def make_dense(folder: Path) -> None:
    """Publish a checkpoint of ours, with a tokenizer that mergekit can copy."""
    import torch
    from bunbuku_contracts import Architecture, Checkpoint, Config, Draft, stage
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    @stage("benchmark.dense")
    def make(draft: Draft, config: Config) -> Checkpoint:
        torch.manual_seed(0)
        model: Any = LlamaForCausalLM(LlamaConfig(**SHAPE))
        model.to(torch.bfloat16).save_pretrained(draft.dir)
        words = {f"w{number}": number for number in range(SHAPE["vocab_size"])}
        fast = Tokenizer(models.WordLevel(words, unk_token="w0"))
        named: dict[str, Any] = {"unk_token": "w0", "bos_token": "w1", "eos_token": "w2"}
        PreTrainedTokenizerFast(tokenizer_object=fast, **named).save_pretrained(draft.dir)
        shape = Architecture(
            layers=SHAPE["num_hidden_layers"],
            hidden_size=SHAPE["hidden_size"],
            ffn_size=SHAPE["intermediate_size"],
            heads=SHAPE["num_attention_heads"],
            kv_heads=SHAPE["num_key_value_heads"],
            vocab_size=SHAPE["vocab_size"],
        )
        return Checkpoint(architecture=shape, format="hf", step=1, tokens_seen=1, tokenizer="0" * 64)

    make(folder, Config())


def command(name: str, source: Path, folder: Path, options: argparse.Namespace) -> list[str]:
    if name == "ours":
        strategy = (
            f'{{ type = "noise", mode = "absolute", scale = {options.noise} }}'
            if options.noise
            else '{ type = "copy" }'
        )
        config = folder / "upcycle.toml"
        config.write_text(f'experts = 8\nactive = 2\nnormalization = "none"\nstrategy = {strategy}\n')
        program = Path(sys.executable).with_name("bunbuku-moe-upcycle")
        return [str(program), "upcycle", str(config), "--checkpoint", str(source), "--out", str(folder / "made")]
    if name == "mergekit":
        expert = {"source_model": str(source), "positive_prompts": ["w3"]} | (
            {"noise_scale": options.noise} if options.noise else {}
        )
        fields = {"base_model": str(source), "gate_mode": "random", "dtype": "bfloat16", "experts": [expert] * 8}
        config = folder / "merge.json"
        config.write_text(json.dumps(fields))  # JSON is YAML
        useless = "--i-understand-this-is-not-useful-without-training"
        return [str(options.peers.with_name("mergekit-moe")), str(config), str(folder / "made"), useless, "--quiet"]
    return [sys.executable, "-c", BOTH_IN_MEMORY, str(source), str(folder / "made"), str(options.noise)]


def measured(words: list[str]) -> Taken:
    """Of one process, which must end well; what it starts itself counts for CPU, not for memory."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            sys.exit(f"{shutil.which(words[0])}: exit {process.returncode}\n{log.read().decode()[-3000:]}")
    return Taken(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def ratio(ours: list[Taken], theirs: list[Taken], figure: int) -> str:
    """The median of the rounds' ratios, and where it lies in 95 % of resampled rounds."""
    ratios = np.array([a[figure] / b[figure] for a, b in zip(ours, theirs, strict=True)])
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.2f} (95 %: {low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
