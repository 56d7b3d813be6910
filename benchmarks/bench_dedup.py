"""Deduplication against datatrove: speed of the signatures, what pairs are found, and memory as the corpus grows.

    python benchmarks/bench_dedup.py DATA --out DIR [--datatrove PYTHON] [--rounds 10] [--documents 200] [--sizes 1 4 16]

DATA holds `dev_corpus.jsonl.zst` and `eval/jsquad-v1.3-valid.json`. PYTHON is the interpreter of an environment with
`datatrove[processing]==0.10.1`, `spacy[ja]`, `orjson` and `xxhash<4`; without it only our own figures are told.

Signatures: the first 800 characters of Japanese documents, ours and datatrove's in turn, each round in both; CPU seconds,
with the median over rounds and of their ratio with a bootstrap interval. Pairs: each JSQuAD context with a copy in which 0.2 to
8 % of the characters were replaced by others of the text; the true similarity is the Jaccard index of the sets of 5-grams of
characters. Memory: the stage `dedup` on so many times 5,000 documents of 1,000 characters, a tenth of them near-duplicates.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from bunbuku_contracts import Artifact, Corpus, load
from bunbuku_corpus import GatherConfig, gather
from bunbuku_corpus.clusters import Longest
from bunbuku_corpus.comparison import Buffer
from bunbuku_corpus.dedup_steps import Sign
from bunbuku_corpus.minhash import NearDuplicates, band_keys, jaccard, shingles

PEER = """
import json, sys, time
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.hashing import HashConfig
from datatrove.utils.typeshelper import Languages
texts = json.load(open(sys.argv[1]))
config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
step = MinhashDedupSignature(sys.argv[2], config=config, language="jpn_Jpan")
step.get_signature(step.get_shingles(texts["warm"]))
for line in sys.stdin:
    began, wall = time.process_time(), time.perf_counter()
    made = [step.get_signature(step.get_shingles(text)) for text in texts[line.strip()]]
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    keys = [[str(tuple(int(x) for x in bucket)) for bucket in one] for one in made] if line.strip() == "pairs" else []
    print(json.dumps({"cpu": seconds, "wall": wall, "keys": keys}), flush=True)
"""
OURS = {"14x8": NearDuplicates(bands=14, rows=8), "20x5": NearDuplicates()}
BINS = ((0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.0))


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    documents = _documents(options.data, options.documents)
    pairs = _pairs(options.data)
    peer = _Peer(
        options, {"warm": documents[0], "documents": documents, "pairs": [text for pair in pairs for text in pair]}
    )
    _signatures(documents, peer, options.rounds)
    _found(pairs, peer)
    peer.close()
    for size in options.sizes:
        _memory(options.data, options.out, size)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datatrove")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 4, 16])
    return parser.parse_args()


class _Peer:
    """datatrove, in a process of its own that waits for its turns."""

    def __init__(self, options: argparse.Namespace, texts: dict[str, object]) -> None:
        self._process: subprocess.Popen[str] | None = None
        if options.datatrove:
            path = options.out / "texts.json"
            path.write_text(json.dumps(texts), encoding="utf-8")
            call = [options.datatrove, "-c", PEER, str(path), str(options.out / "peer")]
            self._process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, what: str) -> dict[str, object] | None:
        if self._process is None:
            return None
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        if self._process is not None and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()


def _rows(data: Path) -> list[dict[str, str]]:
    with pa.input_stream(str(data / "dev_corpus.jsonl.zst"), compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().split(b"\n") if line]


def _documents(data: Path, count: int) -> list[str]:
    japanese = [row["text"] for row in _rows(data) if row["lang"] == "ja" and len(row["text"]) >= 800]
    return [text[:800] for text in random.Random(0).sample(japanese, count)]


def _pairs(data: Path) -> list[tuple[str, str]]:
    """A context, and a copy of it with some characters replaced."""
    content = json.loads((data / "eval" / "jsquad-v1.3-valid.json").read_text(encoding="utf-8"))
    contexts = [paragraph["context"] for article in content["data"] for paragraph in article["paragraphs"]]
    chooser = random.Random(1)
    pairs: list[tuple[str, str]] = []
    for text in contexts:
        letters = list(text)
        share = chooser.uniform(0.002, 0.08)
        for place in chooser.sample(range(len(letters)), max(1, round(share * len(letters)))):
            letters[place] = chooser.choice(text)
        pairs.append((text, "".join(letters)))
    return pairs


class Seconds(NamedTuple):
    """How long something took."""

    cpu: float
    wall: float


def _timed(work: Callable[[], object]) -> Seconds:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def _signatures(documents: list[str], peer: _Peer, rounds: int) -> None:
    many = documents * 20
    numbers = np.arange(len(many), dtype=np.uint64)
    batch = pa.record_batch(
        {"number": pa.array(numbers), "id": pa.array([str(n) for n in numbers]), "text": pa.array(many)}
    )
    sign = Sign(OURS["14x8"], Longest())
    sign(batch)
    ours: list[Seconds] = []
    theirs: list[Seconds] = []
    for _ in range(rounds):
        ours.append(Seconds(*(seconds / len(many) for seconds in _timed(lambda: sign(batch)))))
        if answer := peer("documents"):
            theirs.append(Seconds(*(float(str(answer[name])) / len(documents) for name in ("cpu", "wall"))))
    characters = sum(map(len, documents)) / len(documents)
    for name, rounds_of in (("ours", ours), ("datatrove", theirs)):
        if rounds_of:
            cpu, wall = median(one.cpu for one in rounds_of), median(one.wall for one in rounds_of)
            print(
                f"signatures, {name}: {characters / cpu / 1e6:.3f} Mchar/s of CPU ({1 / cpu:,.0f} documents/s), "
                f"{characters / wall / 1e6:.3f} wall"
            )
    if theirs:
        ratios = np.array([one.cpu for one in theirs]) / np.array([one.cpu for one in ours])
        chosen = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
        low, high = np.percentile(np.median(chosen, axis=1), [2.5, 97.5])
        print(f"signatures, ratio of CPU seconds: {np.median(ratios):,.0f} (95 % {low:,.0f} to {high:,.0f})")


def _found(pairs: list[tuple[str, str]], peer: _Peer) -> None:
    similarity = np.array([jaccard(*shingles(Buffer.of(pair), 5)) for pair in pairs])
    nominated = {name: _by_ours(pairs, near) for name, near in OURS.items()}
    answer = peer("pairs")
    if answer:
        keys: list[list[str]] = answer["keys"]  # pyright: ignore[reportAssignmentType]
        both = zip(keys[0::2], keys[1::2], strict=True)
        nominated["datatrove 14x8"] = np.array([any(a == b for a, b in zip(*pair, strict=True)) for pair in both])
    for low, high in BINS:
        there = (similarity >= low) & ((similarity < high) | (high == 1.0))
        shares = ", ".join(f"{name} {found[there].mean():.3f}" for name, found in nominated.items())
        print(f"pairs of similarity {low} to {high} ({there.sum()}): nominated by {shares}")
    near = similarity >= 0.8
    for name, found in nominated.items():
        precision, recall = (found & near).sum() / found.sum(), (found & near).sum() / near.sum()
        print(f"{name}: bands alone: precision {precision:.3f}, recall {recall:.3f} at 0.8")
    for name in OURS:
        kept = nominated[name] & near
        print(f"{name}: bands and comparison: precision 1, recall {kept.sum() / near.sum():.3f} at 0.8")


def _by_ours(pairs: list[tuple[str, str]], near: NearDuplicates) -> np.ndarray:
    keys = band_keys(Buffer.of([text for pair in pairs for text in pair]), near)
    return (keys[0::2] == keys[1::2]).any(axis=1)


def _memory(data: Path, out: Path, size: int) -> None:
    raw = _grown(data, out / f"raw-{size}", size)
    unique = out / f"unique-{size}"
    program = "import sys; from bunbuku_corpus.cli import main; sys.exit(main(sys.argv[1:]))"
    # Through a shell: a process begins with the memory of the one it was forked from as its peak, and ours is large.
    call = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", program]
    call += ["dedup", "--corpus", str(raw.dir), "--out", str(unique)]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run, metrics = load(unique, Corpus).manifest.run, load(unique, Corpus).manifest.metrics
    print(
        f"dedup at {size}x: {metrics['seen.documents']:,.0f} documents, {metrics['seen.characters'] / 1e6:.0f} Mchar in "
        f"{run.seconds:.0f} s, {metrics['pairs.candidates']:,.0f} pairs compared, {run.peak_bytes / 1e6:.0f} MB at most"
    )


def _grown(data: Path, out: Path, size: int) -> Artifact[Corpus]:
    sentences = [
        line for row in _rows(data) if row["lang"] == "ja" for line in row["text"].split("。") if 20 < len(line) < 80
    ]
    chooser = random.Random(2)
    path = out.with_suffix(".jsonl")
    with path.open("w", encoding="utf-8") as file:
        text = ""
        for n in range(5000 * size):
            fresh = "。".join(chooser.choices(sentences, k=24))[:1000]
            text = fresh if n % 10 else text[: -chooser.randrange(1, 20)]
            file.write(json.dumps({"id": str(n), "text": text, "language": "ja", "licence": "various"}) + "\n")
    made = gather(out, GatherConfig(), path)
    path.unlink()
    return made


if __name__ == "__main__":
    main()
