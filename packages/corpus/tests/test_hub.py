"""A data set of the hub by its name, over HTTP, from a server of ours that answers as the hub does."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Corpus, load
from bunbuku_corpus import read_documents

FIRST, SECOND, TABLES = "1" * 40, "2" * 40, "3" * 40
PROGRAM = """
import contextlib, io, json, sys, urllib.request
from bunbuku_corpus.cli import main

for line in sys.stdin:
    step = json.loads(line)
    if isinstance(step, str):
        urllib.request.urlopen(step)
        continue
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main(step)
    print(json.dumps([status, " ".join(said.getvalue().split())]))
"""
"""Commands one after another in one process, since what they import takes seconds; a text is an address to be visited."""


def _lines(*rows: tuple[str, str]) -> bytes:
    return "".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in rows).encode()


def _table(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


FILES: dict[str, dict[str, bytes]] = {
    FIRST: {"train.jsonl": _lines(("a", "犬が公園で走っている。"), ("b", "猫が窓辺で眠っている。"))},
    SECOND: {"train.jsonl": _lines(("c", "狸がお寺で歌っている。"))},
    TABLES: {
        "old/train.parquet": _table([{"text": "昔の文である。"}]),
        "new/train.parquet": _table([{"text": "今の文である。"}]),
        "new/test.parquet": _table([{"text": "試す文である。"}, {"text": "もう一つの文である。"}]),
        "README.md": (
            b"---\nconfigs:\n"
            b"- config_name: old\n  data_files:\n  - split: train\n    path: old/train.parquet\n"
            b"- config_name: new\n  data_files:\n  - split: train\n    path: new/train.parquet\n"
            b"  - split: test\n    path: new/test.parquet\n---\n"
        ),
    },
}


class Hub(ThreadingHTTPServer):
    """Two data sets: `user/data`, which has two commits and a branch that moves, and `user/tables`."""

    daemon_threads = True
    heads: dict[str, dict[str, str]]
    asked: list[str]


class Answers(BaseHTTPRequestHandler):
    @property
    def hub(self) -> Hub:
        assert isinstance(self.server, Hub)
        return self.server

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(path)
        parts = path.strip("/").split("/")
        if path == "/move":
            self.hub.heads["user/data"]["main"] = SECOND
            self._send(b"moved", SECOND, body=True)
            return
        if parts[:2] == ["api", "datasets"] and (heads := self.hub.heads.get("/".join(parts[2:4]))):
            kind, revision = (parts[4], parts[5]) if len(parts) > 5 else ("revision", "main")
            commit = heads.get(revision, revision)
            said = self._said("/".join(parts[2:4]), kind, commit, "/".join(parts[6:])) if commit in FILES else None
            if said is not None:
                self._send(json.dumps(said).encode(), commit, body=body)
                return
        file = FILES.get(parts[4], {}).get("/".join(parts[5:])) if parts[3:4] == ["resolve"] else None
        if file is not None:
            self._send(file, parts[4], body=body)
            return
        self.send_response(404)
        self.send_header(
            "X-Error-Code", "EntryNotFound" if "resolve" in parts or "tree" in parts else "RevisionNotFound"
        )
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _said(self, name: str, kind: str, commit: str, under: str) -> Any:
        files = {path: data for path, data in FILES[commit].items() if path.startswith(under)}
        if kind in ("tree", "paths-info"):
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
            folders = {path.rpartition("/")[0] for path in files} - {"", under}
            return entries + [{"type": "directory", "path": one, "oid": "0"} for one in sorted(folders)] or None
        siblings = [{"rfilename": path} for path in FILES[commit]]
        return {"id": name, "sha": commit, "private": False, "tags": [], "siblings": siblings}

    def _send(self, data: bytes, commit: str, *, body: bool) -> None:
        asked, size = self.headers.get("Range"), len(data)
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            data = data[int(first) : int(last or size - 1) + 1]
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(data) - 1}/{size}")
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(("127.0.0.1", 0), Answers) as server:
        server.asked, server.heads = [], {"user/data": {"main": FIRST, "v1": FIRST}, "user/tables": {"main": TABLES}}
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def gathering(folder: Path, out: str, **source: str) -> list[str]:
    """The command that gathers a source to `folder/out`."""
    config = folder / f"{len(list(folder.glob('*.toml')))}.toml"
    fields = {"type": "datasets", **source}
    config.write_text("[[sources]]\n" + "".join(f"{name} = {json.dumps(one)}\n" for name, one in fields.items()))
    return ["gather", str(config), "--out", str(folder / out)]


def run(endpoint: str, folder: Path, *steps: list[str] | str) -> list[tuple[int, str]]:
    """The exit status of each command, and what it said."""
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="".join(json.dumps(step) + "\n" for step in steps),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_a_data_set_is_gathered_by_its_name_at_the_commit_that_its_branch_is_at(hub: Hub, tmp_path: Path):
    place = f"http://127.0.0.1:{hub.server_address[1]}"
    by_name = gathering(tmp_path, "raw", hub="user/data")
    tables = {"hub": "user/tables", "subset": "new", "split": "test"}
    first, again, moved, tagged, table, nowhere, nobody = run(
        place,
        tmp_path,
        by_name,
        by_name,
        f"{place}/move",
        by_name,
        gathering(tmp_path, "raw", hub="user/data", revision="v1"),
        gathering(tmp_path, "tables", name="tables", **tables),
        gathering(tmp_path, "none", hub="user/data", revision="nowhere"),
        gathering(tmp_path, "none", hub="user/nobody"),
    )
    assert first[0] == 0, (first, hub.asked)
    made = load(tmp_path / "raw", Corpus)
    assert [(one.id, one.text) for one in read_documents(made)] == [
        ("a", "犬が公園で走っている。"),
        ("b", "猫が窓辺で眠っている。"),
    ]
    assert f'"revision": "{FIRST}"' in json.dumps(made.manifest.recipe.config)
    assert again[0] == 0 and tagged[0] == 0, "what is there already is not made again"
    assert moved[0] == 1 and f"'{FIRST}' -> '{SECOND}'" in moved[1], "a branch that has moved is another recipe"
    assert table[0] == 0, table
    assert [one.text for one in read_documents(load(tmp_path / "tables", Corpus))] == [
        "試す文である。",
        "もう一つの文である。",
    ]
    for (status, said), revision, name in ((nowhere, "nowhere", "user/data"), (nobody, "main", "user/nobody")):
        assert status == 1 and f"at which commit '{revision}' of data set '{name}' is cannot be had" in said
        assert "Traceback" not in said
    assert not (tmp_path / "none").exists()


@pytest.mark.long
def test_without_a_network_the_hub_is_one_sentence(tmp_path: Path):
    """A commit that is named is asked nobody for; `datasets` tries for half a minute to reach its files."""
    branch, commit = run(
        "http://127.0.0.1:9",
        tmp_path,
        gathering(tmp_path, "raw", hub="user/data"),
        gathering(tmp_path, "raw", hub="user/data", revision=FIRST),
    )
    assert branch[0] == 1 and "at which commit 'main' of data set 'user/data' is cannot be had" in branch[1]
    assert commit[0] == 1 and f"data set 'user/data' at {FIRST} cannot be read" in commit[1]
    assert all("needs a network" in said and "Traceback" not in said for _, said in (branch, commit))
