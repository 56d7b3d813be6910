"""Two vocabularies, the same small language model, the same compute, several seeds: whose model needs fewer bits a byte?

    python benchmarks/bench_tokenizer_lm.py CORPUS --out DIR [--vocab-size 16000] [--tokens 600000] [--seeds 0 1 2]

CORPUS is a split corpus artifact. Both tokenizers learn from its training part, by morphemes and by the delimiter; every
model sees the same number of tokens with the same number of weights. Bits a byte of the validation part are comparable
between vocabularies, since they count text and not tokens. Prints every model's, the means, and their spread over seeds.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from bunbuku_contracts import Report, load

RECIPES = ("morphemes", "delimiter")
PRETRAIN = """
sequence_length = 256
batch_tokens = 2048
total_tokens = {tokens}
validation_interval_steps = 1000
validation_tokens = 20000
seed = {seed}

[model]
layers = 4
hidden_size = 192
ffn_size = 512
heads = 4
kv_heads = 2

[optimizer]
learning_rate = 2e-3
beta2 = 0.99

[schedule]
type = "cosine"
warmup_tokens = 40000
final = 0.05
"""
LAPTOP = "ranks = 2\nthreads = 1\nmicro_batch_sequences = 4\ncheckpoint_interval_steps = 100\n"
PERPLEXITY = "sample = { documents = 100, seed = 0 }\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vocab-size", type=int, default=16_000)
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "laptop.toml").write_text(LAPTOP, encoding="utf-8")
    (out / "perplexity.toml").write_text(PERPLEXITY, encoding="utf-8")
    found: dict[str, list[float]] = {}
    for recipe in RECIPES:
        _prepare(options.corpus, out, recipe, options.vocab_size)
    for seed in options.seeds:  # the recipes in turn, so that what else the machine does falls on both
        for recipe in RECIPES:
            found.setdefault(recipe, []).append(_bits_per_byte(options.corpus, out, recipe, seed, options.tokens))
            print(f"{recipe} seed {seed}: {found[recipe][-1]:.4f} bits a byte", flush=True)
    for recipe, bits in found.items():
        spread = statistics.stdev(bits) if len(bits) > 1 else 0.0
        print(f"{recipe}: {statistics.mean(bits):.4f} ± {spread:.4f} (standard deviation over {len(bits)} seeds)")


def _prepare(corpus: Path, out: Path, recipe: str, vocab_size: int) -> None:
    size = ("--set", f"vocab_size={vocab_size}", "--set", f"candidates.type={recipe}")
    _run("bunbuku-tokenizer", "train", "--corpus", f"{corpus}#train", "--out", out / recipe, *size)
    _run(
        "bunbuku-tokenizer",
        "measure",
        "--corpus",
        f"{corpus}#validation",
        "--tokenizer",
        out / recipe,
        "--out",
        out / f"{recipe}-measured",
    )
    _run(
        "bunbuku-pretrain",
        "tokenize",
        "--corpus",
        corpus,
        "--tokenizer",
        out / recipe,
        "--out",
        out / f"{recipe}-tokens",
    )


def _bits_per_byte(corpus: Path, out: Path, recipe: str, seed: int, tokens: int) -> float:
    name = f"{recipe}-{seed}-{tokens}"
    config = out / f"{name}.toml"
    config.write_text(PRETRAIN.format(tokens=tokens, seed=seed), encoding="utf-8")
    tokenizer = ("--tokenizer", out / recipe)
    trained, exported, report = out / f"{name}-trained", out / name, out / f"{name}-perplexity"
    data = ("--tokens", out / f"{recipe}-tokens", *tokenizer)
    _run("bunbuku-pretrain", "train", config, "--run", out / "laptop.toml", *data, "--out", trained)
    _run("bunbuku-pretrain", "export", "--checkpoint", trained, *tokenizer, "--out", exported)
    text = ("--checkpoints", f"model={exported}", "--corpus", f"{corpus}#validation")
    _run("bunbuku-eval", "perplexity", out / "perplexity.toml", *text, "--out", report)
    return load(report, Report).manifest.metrics["bits_per_byte.model.total"]


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
