"""An arena in a process of its own, and voters who reach it by HTTP, as a browser does."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Config, Draft, Report, stage
from bunbuku_eval.arena.links import token

SECRET = "a secret that only this test knows"
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'; DROP TABLE duels; --"
MODELS = ("mikan", "ringo", "budou")


class Nothing(Config):
    """No settings."""


@stage("eval.generate")
def stored(draft: Draft, config: Nothing) -> Report:
    """Answers of three models to forty questions, one of them hostile."""
    rows = [
        {"model": model, "style": "chat", "name": f"q{n}", "sample": 0, "flags": [],
         "prompt": HOSTILE if n == 0 else f"質問{n}です。", "text": f"{HOSTILE if n == 0 else ''}答え{n}は{'よい' * (at + 1)}。"}
        for at, model in enumerate(MODELS) for n in range(40)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), draft.dir / "items.parquet")
    draft.count(draft.dir / "items.parquet", rows=len(rows), part="items")
    return Report(title="answers")


class Voter:
    """A client with a cookie."""

    def __init__(self, port: int, link: str = "") -> None:
        self.port, self.cookie = port, ""
        # As from behind a proxy, each from an address of its own.
        self.address = ".".join(str(one) for one in os.urandom(4))
        if link:
            status, _, headers = self.ask("GET", link)
            assert status == 303
            self.cookie = headers["set-cookie"].partition(";")[0]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"cookie": self.cookie, "content-type": "application/json", "x-forwarded-for": self.address} | headers
        link.request(method, path, data, {name: value for name, value in sent.items() if value})
        reply = link.getresponse()
        text = reply.read().decode()
        link.close()
        return (
            reply.status,
            json.loads(text) if reply.getheader("content-type", "").startswith("application/json") else text,
            {k.lower(): v for k, v in reply.getheaders()},
        )

    def get(self, path: str) -> tuple[int, Any]:
        return self.ask("GET", path)[:2]

    def post(self, path: str, body: object) -> tuple[int, Any]:
        return self.ask("POST", path, body)[:2]

    def vote(self, duel: str, winner: str, **rest: object) -> tuple[int, Any]:
        return self.post("/api/vote", {"duel": duel, "winner": winner, **rest})


def servers(engines: Mapping[str, Any]) -> str:
    """Run settings of an arena that asks these engines."""
    lines: list[str] = []
    for name, engine in engines.items():
        values = engine.model_dump(mode="json")
        lines += [f"[servers.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines)


class Served:
    """The server as a person starts it."""

    def __init__(
        self, folder: Path, reports: Any = None, checkpoints: Any = None, run: str = "", **config: object
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.reports, self.checkpoints = reports, checkpoints or {}
        self.database, self.run_file, self.config_file = (
            folder / name for name in ("arena.sqlite", "run.toml", "arena.toml")
        )
        self.run_file.write_text(f'database = "{self.database}"\nport = {self.port}\n{run}', encoding="utf-8")
        usual = {"min_votes": 10, "requests_per_second": 2000.0, "burst": 2000, "refit_seconds": 0.0}
        usual |= {"leave_out": ["one_sided", "pattern"], "prompts_per_minute": 6000.0}
        lines = [f"{name} = {json.dumps(value)}" for name, value in (usual | config).items()]
        self.config_file.write_text("\n".join(lines), encoding="utf-8")
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, **config: object) -> None:
        command = [sys.executable, "-c", "import sys; from bunbuku_eval.cli import main; sys.exit(main(sys.argv[1:]))"]
        command += ["arena", str(self.config_file), "--run", str(self.run_file)]
        command += ["--reports", f"all={self.reports.dir}"] if self.reports else []
        command += [part for name, one in self.checkpoints.items() for part in ("--checkpoints", f"{name}={one.dir}")]
        command += [part for name, value in config.items() for part in ("--set", f"{name}={json.dumps(value)}")]
        environment = os.environ | {"BUNBUKU_ARENA_SECRET": SECRET, "OMP_NUM_THREADS": "1"}
        log = self.database.with_name("server.log").open("ab")
        self.running.append(subprocess.Popen(command, env=environment, stderr=log))
        log.close()
        for _ in range(2400):
            if self.running[-1].poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not start: " + self.log())

    def log(self) -> str:
        return self.database.with_name("server.log").read_text()

    def kill(self, how: int = signal.SIGKILL) -> None:
        self.running[-1].send_signal(how)
        self.running[-1].wait(90)

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait(90)

    def link(self, name: str, *, expires: int = 4_000_000_000, secret: str = SECRET) -> str:
        return f"/v/{token(name, expires=expires, secret=secret)}"

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def voter(self, name: str) -> Voter:
        return Voter(self.port, self.link(name))

    def stranger(self) -> Voter:
        return Voter(self.port)
