"""What tests of this package are made of: texts, corpora, pages, and the commands that work on them."""

import gzip
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Artifact, Corpus
from bunbuku_corpus import GatherConfig, gather
from hypothesis import settings

# The first example of a property pays for imports, and a busy machine for its neighbours: time says nothing here.
settings.register_profile("corpus", deadline=None)
settings.load_profile("corpus")

LETTERS = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん山川空海町雨"


class Make:
    """Makes what a test needs; equal calls make equal things."""

    def prose(self, seed: int, sentences: int) -> str:
        """Sentences of random kana that no other seed has."""
        chooser = random.Random(seed)
        return "".join("".join(chooser.choices(LETTERS, k=30)) + "。" for _ in range(sentences))

    def lines(self, path: Path, rows: Iterable[dict[str, Any]]) -> Path:
        """A file of JSON Lines."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    def corpus(
        self, folder: Path, texts: Iterable[str | dict[str, Any]], *, shard: int = 100_000, **fields: str
    ) -> Artifact[Corpus]:
        """A corpus of texts, or of rows, in `folder/raw`; `fields` are those of every document that has none of its own."""
        known = {"language": "ja", "licence": "MIT"} | fields
        rows = (
            known | ({"id": f"d{n}", "text": one} if isinstance(one, str) else {"id": f"d{n}", **one})
            for n, one in enumerate(texts)
        )
        return gather(folder / "raw", GatherConfig(rows_per_shard=shard), self.lines(folder / "texts.jsonl", rows))

    def some(self, folder: Path, count: int, *, sentences: int = 8, shard: int = 100_000) -> Artifact[Corpus]:
        """A corpus of so many different documents."""
        rows = ({"text": self.prose(n, sentences), "url": f"https://example.jp/{n}"} for n in range(count))
        return self.corpus(folder, rows, shard=shard)

    def pages(self, folder: Path, files: int, each: int, sentences: int = 12) -> Path:
        """WARC archives, a member a record, as crawlers write them."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in range(files):
            members: list[bytes] = []
            for n in range(each):
                text = self.prose(file * each + n, sentences)
                body = f"<html><body><article><p>{text}</p></article></body></html>".encode()
                http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
                head = (
                    f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://example.jp/{file}/{n}\r\n"
                    f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
                )
                members.append(gzip.compress(head.encode() + http + b"\r\n\r\n", 1))
            (folder / f"{file:03d}.warc.gz").write_bytes(b"".join(members))
        return folder

    def command(self, stage: str, roles: Iterable[tuple[str, str | Path]], out: Path, *more: str) -> list[str]:
        """The command line of a stage, in a process of its own."""
        program = "import sys; from bunbuku_corpus.cli import main; sys.exit(main(sys.argv[1:]))"
        given = [word for role, value in roles for word in (f"--{role}", str(value))]
        return [sys.executable, "-c", program, stage, *given, "--out", str(out), *more]


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


type Run = Callable[[list[str], Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def on_a_small_disk() -> Run:
    """Runs a command while a disk of 200 kB lies at a folder; status 9 if `out` is there in the end."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no disk of our own can be mounted here")

    def run(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
        folder.mkdir()
        script = (
            f'mount -t tmpfs -o size=200k tmpfs "{folder}" && shift && "$@"; status=$?; '
            f'test -e "{folder}/out" && status=9; exit $status'
        )
        return subprocess.run(
            ["unshare", "-rm", "sh", "-c", script, "sh", "-", *command], capture_output=True, text=True
        )

    return run
