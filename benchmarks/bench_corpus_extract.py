"""Extraction by the corpus package's default against trafilatura on the same real pages: CPU seconds, wall, recall, leakage.

    python benchmarks/bench_corpus_extract.py [--rounds 10]

Pages: `html_samples.jsonl.zst` in the folder that BUNBUKU_DATA names, each with its true main text. Recall is the share of
the true text's characters that lie in 20-character windows found in the extracted text, and leakage the share of the extracted
text's windows that the true text does not have.
"""

import argparse
import base64
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from statistics import fmean, median

import pyarrow as pa
from bunbuku_corpus.charset import decode
from bunbuku_corpus.pages import Extractor, text_of_html

SIDES: tuple[Extractor, ...] = ("resiliparse", "trafilatura")
WINDOW = 20


def pages() -> Iterator[tuple[bytes, str]]:
    path = Path(os.environ.get("BUNBUKU_DATA", "."), "html_samples.jsonl.zst")
    with pa.input_stream(str(path), compression="zstd") as stream:
        for line in BufferedReader(stream, 1 << 20):
            row = json.loads(line)
            if row["lang"] == "ja":
                yield base64.b64decode(row["html_b64"]), row["main_text"]


def windows(text: str) -> set[str]:
    text = "".join(text.split())
    return {text[place : place + WINDOW] for place in range(0, max(len(text) - WINDOW + 1, 1))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pages", type=int, default=400)
    given = parser.parse_args()
    found = list(pages())[: given.pages]
    decoded = [decode(page).text for page, _ in found]
    for side in SIDES:
        text_of_html(decoded[0], side)
    seconds: dict[Extractor, list[float]] = {side: [] for side in SIDES}
    walls: dict[Extractor, list[float]] = {side: [] for side in SIDES}
    texts: dict[Extractor, list[str]] = {}
    for _ in range(given.rounds):
        for side in SIDES:
            begun, began = time.process_time(), time.perf_counter()
            texts[side] = [text_of_html(page, side) for page in decoded]
            seconds[side].append(time.process_time() - begun)
            walls[side].append(time.perf_counter() - began)
    for side in SIDES:
        pairs = [(windows(text), windows(true)) for text, (_, true) in zip(texts[side], found, strict=True)]
        recall = fmean(len(got & true) / len(true) for got, true in pairs)
        leak = fmean(len(got - true) / max(len(got), 1) for got, true in pairs)
        rate, wall = len(found) / median(seconds[side]), len(found) / median(walls[side])
        sys.stdout.write(
            f"{side:12} {rate:8.0f} pages/s of CPU, {wall:.0f} wall; recall {recall:.1%}, leakage {leak:.1%}\n"
        )
    ratios = [b / a for a, b in zip(*(seconds[side] for side in SIDES), strict=True)]
    chance = random.Random(0)
    medians = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    sys.stdout.write(
        f"resiliparse is {median(ratios):.1f} times as fast (95 %: {medians[50]:.1f} to {medians[1949]:.1f})\n"
    )
    begun = time.process_time()
    for page, _ in found:
        decode(page)
    sys.stdout.write(f"decoding alone: {len(found) / (time.process_time() - begun):.0f} pages/s\n")


if __name__ == "__main__":
    main()
