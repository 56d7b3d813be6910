"""Memory of the corpus package's stages as their input grows; that of `dedup` is in `bench_dedup`.

    python benchmarks/bench_corpus_memory.py DATA --out DIR [--sizes 1 4 16] [--documents 5000] [--stages clean …]

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
from typing import NamedTuple

import pyarrow as pa

DOCUMENTS, CHARS, PAGES = 5000, 1000, 1000


class Given(NamedTuple):
    """What a stage is given; files of the folder of its size are named by their names in it."""

    stage: str
    roles: dict[str, str]
    options: tuple[str, ...] = ()
    needs: str | None = None
    """Which other must have run."""


ON_RAW = {"corpus": "raw"}
SMALL = ("topics=8", "dimensions=16", "slot_bits=14")
STAGES = {
    "gather": Given("gather", {"source": "texts.jsonl"}),
    "clean": Given("clean", ON_RAW, ('preset="web"',)),
    "annotate": Given("annotate", ON_RAW),
    "annotate with words": Given("annotate", ON_RAW, ('presets=["web", "fineweb2-ja"]',)),
    "extract": Given("extract", {"source": "pages.warc.gz"}),
    "decide": Given("decide", {"corpus": "annotate"}, ('preset="web"',), "annotate"),
    "explain": Given("explain", {"corpus": "annotate"}, ('preset="web"',), "annotate"),
    "thin": Given("thin", ON_RAW),
    "split": Given("split", ON_RAW, ("validation=0.01", "test=0.01")),
    "mix": Given("mix", {"corpora": "web=raw"}),
    "learn": Given("learn", {"labels": "labels.jsonl"}),
    "classify": Given("classify", {**ON_RAW, "classifier": "learn"}, (), "learn"),
    "topics": Given("topics", ON_RAW, SMALL),
    "coverage": Given("coverage", {**ON_RAW, "facts": "facts.jsonl"}),
    "contamination": Given("contamination", {**ON_RAW, "items": "items.jsonl"}),
    "decontaminate": Given("decontaminate", {**ON_RAW, "findings": "contamination"}, (), "contamination"),
    "balance": Given("balance", {"corpus": "topics"}, (), "topics"),
    "map": Given("map", {"corpora": "web=raw"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="documents of the size 1")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    given = parser.parse_args()
    sentences = list(read_sentences(given.data / "dev_corpus.jsonl.zst"))
    for size in given.sizes:
        folder = given.out / f"{size}x"
        folder.mkdir(parents=True, exist_ok=True)
        write_documents(folder / "texts.jsonl", sentences, size * given.documents)
        if "extract" in given.stages:
            write_pages(folder / "pages.warc.gz", given.data / "html_samples.jsonl.zst", size)
        write_questions(folder, sentences)
        wanted = dict.fromkeys(
            ["gather", *(need for name in given.stages if (need := STAGES[name].needs)), *given.stages]
        )
        for name in wanted:
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


def write_documents(path: Path, sentences: list[str], count: int) -> None:
    chance = random.Random(count)
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            text, end = "", chance.randint(CHARS // 2, CHARS * 3 // 2)
            while len(text) < end:
                text += chance.choice(sentences) + ("\n" if chance.random() < 0.2 else "")
            row = {"id": f"d{n}", "text": text, "url": f"https://example.jp/{n}", "language": "ja"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_questions(folder: Path, sentences: list[str]) -> None:
    """Facts and items that are in many documents, and labels to learn from: as many at every size."""
    chance = random.Random(0)
    some = chance.sample([one for one in sentences if one[2:6].isalpha() and one[-6:-1].isalpha()], 400)
    rows: dict[str, list[dict[str, object]]] = {
        "facts.jsonl": [{"id": str(n), "subject": one[2:6], "object": one[-6:-1]} for n, one in enumerate(some[:200])],
        "items.jsonl": [{"id": n, "question": one} for n, one in enumerate(some)],
        "labels.jsonl": [
            {"text": "".join(chance.choices(sentences, k=8)) + "今だけ送料無料！" * (n % 2 * 5), "label": str(n % 2)}
            for n in range(400)
        ],
    }
    for name, some_rows in rows.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in some_rows)
        (folder / name).write_text("".join(lines), encoding="utf-8")


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
    given = STAGES[name]
    out = folder / ("raw" if name == "gather" else name.replace(" ", "-"))
    program = "import sys; from bunbuku_corpus.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, given.stage, "--out", str(out)]
    command += [word for option in given.options for word in ("--set", option)]
    for role, value in given.roles.items():
        before, named, file = value.rpartition("=")
        command += [f"--{role}", f"{before}{named}{folder / file}"]
    begun = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name} failed: {' '.join(command[3:])}")
    return time.monotonic() - begun, used.ru_maxrss * 1024


if __name__ == "__main__":
    main()
