"""Memory of the corpus package's stages as their input grows: `gather`, `clean`, `annotate`, with and without words, `extract`.

    python benchmarks/bench_corpus_memory.py DATA --out DIR [--sizes 1 4 16] [--stages clean …]

DATA holds `dev_corpus.jsonl.zst` and `html_samples.jsonl.zst`. A size is so many times 5,000 documents of about 1,000 characters,
put together from random sentences of the Japanese documents, so that no document is there twice; or one WARC archive of so many
times 1,000 real pages. Each stage runs in a process of its own, with one worker; what is told is the most memory that it
has held (`ru_maxrss`), imports included, and its seconds.
"""

import argparse
import base64
import gzip
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import pyarrow as pa

DOCUMENTS, CHARS, PAGES = 5000, 1000, 1000
STAGES = {
    "gather": ("gather", "source", "texts.jsonl", ()),
    "clean": ("clean", "corpus", "raw", ("--set", 'preset="web"')),
    "annotate": ("annotate", "corpus", "raw", ()),
    "annotate with words": ("annotate", "corpus", "raw", ("--set", 'presets=["web", "fineweb2-ja"]')),
    "extract": ("extract", "source", "pages.warc.gz", ()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    given = parser.parse_args()
    sentences = list(read_sentences(given.data / "dev_corpus.jsonl.zst"))
    for size in given.sizes:
        folder = given.out / f"{size}x"
        folder.mkdir(parents=True, exist_ok=True)
        write_documents(folder / "texts.jsonl", sentences, size)
        write_pages(folder / "pages.warc.gz", given.data / "html_samples.jsonl.zst", size)
        if "gather" not in given.stages:
            run(folder, "gather")
        for name in given.stages:
            seconds, peak = run(folder, name)
            sys.stdout.write(f"{name:20} {size:3}x {peak / 2**20:7.0f} MiB {seconds:7.1f} s\n")
            sys.stdout.flush()


def lines(path: Path) -> Iterator[dict[str, str]]:
    with pa.input_stream(str(path), compression="zstd") as stream:
        for line in BufferedReader(stream, 1 << 20):
            yield json.loads(line)


def read_sentences(path: Path) -> Iterator[str]:
    for row in lines(path):
        if any("ぁ" <= letter <= "ん" for letter in row["text"][:200]):
            for line in row["text"][:5000].splitlines():
                yield from (f"{sentence}。" for sentence in line.split("。") if 10 <= len(sentence) <= 120)


def write_documents(path: Path, sentences: list[str], size: int) -> None:
    chance = random.Random(size)
    with path.open("w", encoding="utf-8") as file:
        for n in range(size * DOCUMENTS):
            text, end = "", chance.randint(CHARS // 2, CHARS * 3 // 2)
            while len(text) < end:
                text += chance.choice(sentences) + ("\n" if chance.random() < 0.2 else "")
            row = {"id": f"d{n}", "text": text, "url": f"https://example.jp/{n}", "language": "ja"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_pages(path: Path, samples: Path, size: int) -> None:
    found = [base64.b64decode(row["html_b64"]) for row in lines(samples) if row["lang"] == "ja"]
    with path.open("wb") as file:
        for n in range(size * PAGES):
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + found[n % len(found)]
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://example.jp/{n}\r\n"
                f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
            )
            file.write(gzip.compress(head.encode() + http + b"\r\n\r\n", 1))


def run(folder: Path, name: str) -> tuple[float, int]:
    """Seconds, and bytes at most."""
    stage, role, source, more = STAGES[name]
    out = folder / ("raw" if name == "gather" else name.replace(" ", "-"))
    program = "import sys; from bunbuku_corpus.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, stage, *more, f"--{role}", str(folder / source), "--out", str(out)]
    begun = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name} failed: {' '.join(command[3:])}")
    return time.monotonic() - begun, used.ru_maxrss * 1024


if __name__ == "__main__":
    main()
