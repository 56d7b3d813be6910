"""What `dedup` says, and what is left of its work, when the machine fails it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, Corpus, load
from bunbuku_corpus import DedupConfig, GatherConfig, dedup, gather

ARGUMENTS = ("--set", "index=true")
CONFIG = DedupConfig(index=True)


def corpus_of(folder: Path, count: int) -> Artifact[Corpus]:
    chooser = random.Random(0)
    texts = ["".join(chr(chooser.randrange(0x4E00, 0x9000)) for _ in range(500)) for _ in range(count)]
    rows = [
        {"id": f"d{n}-{copy}", "text": text + "。" * copy, "language": "ja", "licence": "MIT"}
        for n, text in enumerate(texts)
        for copy in range(2)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(rows_per_shard=count // 2), folder / "texts.jsonl")


def command(raw: Artifact[Corpus], out: Path, *more: str) -> list[str]:
    program = "import sys; from bunbuku_corpus.cli import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", program, "dedup", *ARGUMENTS, "--corpus", str(raw.dir), "--out", str(out), *more]


def may_mount() -> bool:
    """Whether this machine lets us have a small disk of our own."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not may_mount(), reason="no disk of our own can be mounted here")
def test_a_disk_that_fills_is_one_sentence_and_costs_nothing(tmp_path: Path):
    raw = corpus_of(tmp_path, 150)
    small = tmp_path / "small"
    small.mkdir()
    script = f'mount -t tmpfs -o size=400k tmpfs "{small}" && shift && "$@"; status=$?; ls "{small}"; exit $status'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", "-", *command(raw, small / "unique")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert "cannot be written: the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert load(raw.dir, Corpus).content == raw.content
    assert dedup(tmp_path / "unique", CONFIG, raw).manifest.metrics["kept.documents"] == 150


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_ten_random_moments_it_makes_the_same_bytes(tmp_path: Path):
    raw = corpus_of(tmp_path, 3000)
    began = time.monotonic()
    whole = dedup(tmp_path / "whole", CONFIG, raw)
    seconds = time.monotonic() - began
    (tmp_path / "run.toml").write_text("workers = 2", encoding="utf-8")
    moments = random.Random(4)
    for n in range(10):
        out = tmp_path / f"killed-{n}"
        call = command(raw, out, "--run", str(tmp_path / "run.toml"))
        first = subprocess.Popen(call, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(moments.uniform(0.1, 1.0) * (seconds + 2))
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        subprocess.run(call, check=True, capture_output=True)
        assert load(out, Corpus).content == whole.content, n
