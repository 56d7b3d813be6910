"""Outcomes of requests, kept by content in one SQLite file.

A row's key is a digest of the model and the request, its value the outcome as JSON. Rows are only ever added, a group of
them in one transaction, so a process that is killed loses at most the group in hand, and several processes may share the
file. What a run spent is added up beside them, in the same transactions. It uses SQLite's write-ahead log, which needs a local file system.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from itertools import batched
from pathlib import Path

import tenacity
from bunbuku_contracts.errors import BunbukuError

from bunbuku_inference.accounts import Spending

_APPLICATION_ID = 0x62756E62
"""`bunb` in ASCII, in the file's header: tells a request cache from any other SQLite file."""
_WAIT_SECONDS = 60
_KEYS_A_QUERY = 500
_SPEND = """
INSERT INTO spending VALUES (?, ?, ?, ?, ?) ON CONFLICT (label) DO UPDATE SET
    requests = requests + excluded.requests,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    seconds = seconds + excluded.seconds
"""


class Cache:
    """Outcomes by key. Use it as a context manager, or close it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rows = sqlite3.connect(path, timeout=_WAIT_SECONDS)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise BunbukuError(
                f"{str(path)!r} cannot be used as a request cache: {error}",
                hint="name another file, or delete this one if nothing needs it",
            ) from error

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._rows.close()

    def read(self, keys: Sequence[str]) -> dict[str, str]:
        """The values of those keys that have one."""
        found: dict[str, str] = {}
        for some in batched(dict.fromkeys(keys), _KEYS_A_QUERY):
            marks = ",".join("?" * len(some))
            found.update(self._rows.execute(f"SELECT key, outcome FROM outcomes WHERE key IN ({marks})", some))
        return found

    def write(self, rows: Iterable[tuple[str, str]], *, label: str = "", spending: Spending | None = None) -> None:
        """Add rows, all or none of them, and what a run spent on them. A key that has a value keeps it."""
        with self._rows:
            self._rows.executemany("INSERT OR IGNORE INTO outcomes VALUES (?, ?)", rows)
            if spending:
                self._rows.execute(_SPEND, (label, *astuple(spending)))

    def spent(self, label: str) -> Spending:
        """What a run has spent on rows of this file."""
        found = self._rows.execute(
            "SELECT requests, prompt_tokens, completion_tokens, seconds FROM spending WHERE label = ?", (label,)
        ).fetchone()
        return Spending(*found) if found else Spending()

    # Two processes that open a new file at once contend for the change to the write-ahead log, and SQLite does not wait
    # its time-out for that one.
    @tenacity.retry(
        retry=tenacity.retry_if_exception_message(match=".*locked.*"),
        stop=tenacity.stop_after_delay(_WAIT_SECONDS),
        wait=tenacity.wait_random(0, 0.1),
        reraise=True,
    )
    def _prepare(self) -> None:
        with contextlib.closing(self._rows.execute("PRAGMA application_id")) as header:
            (application,) = header.fetchone()
        tables = self._rows.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != _APPLICATION_ID and tables:
            raise sqlite3.DatabaseError("it is another program's database")
        self._rows.execute("PRAGMA journal_mode=WAL")
        self._rows.execute("PRAGMA synchronous=FULL")
        self._rows.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        with self._rows:
            self._rows.execute(
                "CREATE TABLE IF NOT EXISTS outcomes (key TEXT PRIMARY KEY, outcome TEXT NOT NULL) WITHOUT ROWID"
            )
            self._rows.execute(
                "CREATE TABLE IF NOT EXISTS spending (label TEXT PRIMARY KEY, requests INTEGER NOT NULL, "
                "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL) WITHOUT ROWID"
            )
