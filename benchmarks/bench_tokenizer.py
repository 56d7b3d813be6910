"""Train vocabularies by several recipes on the same text, and compare them with published ones on text none has seen.

    python benchmarks/bench_tokenizer.py DATA --out DIR [--peers DIR] [--vocab-size 65000] [--only NAME …] [--sizes 1 4 16]

DATA holds `dev_corpus.jsonl.zst` and `eval/jsquad-v1.3-valid.json`. PEERS holds `.model` or `tokenizer.json` files of others,
which the reports name as the files are named. A corpus is gathered and split; the recipes learn from its training part;
`compare` reports on its validation part (what recipes may be chosen by) and on what they may not: its test part and
the JSQuAD contexts. With --sizes, `ours` is also trained on at most so many million characters a language. Every training
runs alone in a process, whose time and memory are told; what is there already is not made again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

MORPHEMES = ["candidates.type=morphemes"]
LIKELIEST = [*MORPHEMES, "candidates.word_share=0"]
RECIPES = {
    "ours": [*MORPHEMES],
    "k1": [*LIKELIEST, "candidates.max_morphemes=1"],
    "k2": [*LIKELIEST, "candidates.max_morphemes=2"],
    "k3": [*LIKELIEST, "candidates.max_morphemes=3"],
    "k3-unidic": [*LIKELIEST, "candidates.dictionary=unidic-lite"],
    "k3-shares": [*LIKELIEST, "shares={ja=0.6,en=0.28,code=0.12}"],
    "delimiter": ["candidates.type=delimiter"],
    "plain": ["candidates.type=suffix_array"],
}
"""`ours` is what the defaults make; the others turn one thing each."""


def main() -> None:
    options = _options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    corpus, jsquad = _texts(options.data, out)
    size = [f"vocab_size={options.vocab_size}", "multiple_of=8", "num_threads=2"]
    made = {}
    for name, recipe in RECIPES.items():
        if not options.only or name in options.only:
            made[name] = out / f"{name}-{options.vocab_size}"
            _run("bunbuku-tokenizer", "train", corpus=f"{corpus}#train", out=made[name], set=[*size, *recipe])
    for millions in options.sizes:
        made[f"ours-{millions}M"] = out / f"ours-{options.vocab_size}-{millions}M"
        chars = [f"max_chars={millions * 1_000_000}"]
        _run("bunbuku-tokenizer", "train", corpus=f"{corpus}#train", out=made[f"ours-{millions}M"], set=[*size, *chars])
    peers = sorted(options.peers.glob("*")) if options.peers else []
    for name, text in {"validation": f"{corpus}#validation", "test": f"{corpus}#test", "jsquad": f"{jsquad}"}.items():
        tokenizers = [f"{each}={path}" for each, path in made.items()]
        foreign = [f"{peer.stem}={peer}" for peer in peers]
        report = out / f"compare-{name}-{options.vocab_size}-{len(made)}-{len(peers)}"
        _run("bunbuku-tokenizer", "compare", corpus=text, tokenizers=tokenizers, foreign=foreign, out=report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--vocab-size", type=int, default=65_000)
    parser.add_argument("--only", nargs="*", choices=RECIPES, default=())
    parser.add_argument("--sizes", nargs="*", type=int, default=())
    return parser.parse_args()


def _texts(data: Path, out: Path) -> tuple[Path, Path]:
    """The split corpus, and the JSQuAD contexts as a corpus."""
    small = ROOT / "runs" / "small"
    _run("bunbuku-corpus", "gather", small / "gather.toml", source=data / "dev_corpus.jsonl.zst", out=out / "raw")
    _run("bunbuku-corpus", "dedup", small / "dedup.toml", corpus=out / "raw", out=out / "unique")
    _run("bunbuku-corpus", "split", small / "split.toml", corpus=out / "unique", out=out / "corpus")
    contexts, gather = out / "jsquad.jsonl", out / "jsquad.toml"
    contexts.write_text("".join(_contexts(data / "eval" / "jsquad-v1.3-valid.json")), encoding="utf-8")
    gather.write_text('[[sources]]\ntype = "jsonl"\nlicence = "CC-BY-SA-4.0"\nlanguage = "ja"\n', encoding="utf-8")
    _run("bunbuku-corpus", "gather", gather, source=contexts, out=out / "jsquad")
    return out / "corpus", out / "jsquad"


def _contexts(path: Path) -> Iterator[str]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for index, paragraph in enumerate(article["paragraphs"]):
            # A context begins with the title of its article and this mark, which is not Wikipedia's text.
            text = paragraph["context"].split("[SEP]", 1)[-1].strip()
            yield json.dumps({"id": f"{article['title']}/{index}", "text": text}, ensure_ascii=False) + "\n"


def _run(command: str, stage: str, *config: Path, **options: object) -> None:
    line = [sys.executable, str(Path(__file__).with_name("measure.py")), command, stage, *map(str, config)]
    for name, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            line += [f"--{name}", str(each)]
    print("$", " ".join(line[2:]), file=sys.stderr, flush=True)
    subprocess.run(line, check=True)


if __name__ == "__main__":
    main()
