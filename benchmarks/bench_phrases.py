"""The rule for repetition against Tanuki's own code: verdicts on the same documents, and CPU time.

    python benchmarks/bench_phrases.py CORPUS --tanuki repeated_phrase.py [--documents 300] [--mutilated 2000] [--rounds 10]

CORPUS is an artifact, such as `raw` of runs/small.sh; its Japanese documents are cut at 1,500 characters. `repeated_phrase.py` is
that of KanHatakeyama/ParquetToJsonl. Verdicts are also compared on mutilated documents, in which pieces come again. In every
round both judge the same documents, first one, then the other; CPU seconds, with a bootstrap interval of the ratio.
"""

import argparse
import importlib.util
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
from bunbuku_contracts import Corpus, load
from bunbuku_synth.phrases import repeats_phrases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tanuki", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--mutilated", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    spec = importlib.util.spec_from_file_location("tanuki", options.tanuki)
    assert spec and spec.loader
    tanuki = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tanuki)

    def theirs(text: str) -> bool:
        return not tanuki.is_repetitive_japanese(text)

    texts = documents(options.corpus)
    random.Random(0).shuffle(texts)
    for name, some in (
        ("documents", texts),
        ("mutilated", [mutilated(text, n) for n, text in enumerate(texts[: options.mutilated])]),
    ):
        some = [text for text in some if len(text.replace("\n", "")) >= 4]  # the original fails on shorter ones
        verdicts = Counter((repeats_phrases(text), theirs(text)) for text in some)
        print(
            f"{name}: {len(some)}, dropped by both {verdicts[True, True]}, kept by both {verdicts[False, False]}",
            end="",
        )
        print(f", by us alone {verdicts[True, False]}, by them alone {verdicts[False, True]}")
    timed = texts[: options.documents]
    characters = sum(map(len, timed))
    seconds = [(cpu(repeats_phrases, timed), cpu(theirs, timed)) for _ in range(options.rounds)]
    ours, peers = (median(column) for column in zip(*seconds, strict=True))
    print(f"ours {len(timed) / ours:,.0f} documents/s, {characters / ours / 1e6:.2f} Mchar/s; theirs", end=" ")
    print(f"{len(timed) / peers:,.0f} and {characters / peers / 1e6:.2f}; mean length {characters / len(timed):,.0f}")
    ratios = np.array([theirs_s / ours_s for ours_s, theirs_s in seconds])
    draws = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    print(f"ratio {np.median(ratios):.1f} (95 %: {low:.1f} to {high:.1f}, {options.rounds} rounds)")


def documents(corpus: Path) -> list[str]:
    made = load(corpus, Corpus)
    return [
        row["text"][:1500]
        for file in made.files()
        for row in pq.read_table(made.path(file), columns=["text", "language"]).to_pylist()
        if row["language"] == "ja" and len(row["text"]) >= 100
    ]


def mutilated(text: str, seed: int) -> str:
    """A text in which some pieces come again elsewhere."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 8)):
        start, to, size = chance.randrange(len(text)), chance.randrange(len(text)), chance.randrange(2, 120)
        text = text[:to] + text[start : start + size] + text[to:]
    return text


def cpu(judge: Callable[[str], bool], texts: Sequence[str]) -> float:
    began = time.process_time()
    for text in texts:
        judge(text)
    return time.process_time() - began


if __name__ == "__main__":
    main()
