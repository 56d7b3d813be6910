"""Duels and votes in SQLite: a vote that was acknowledged is on the disk, and none counts twice.

Every write is one transaction in write-ahead-log mode, synced before it returns. Everything that comes from outside is a
parameter of a statement and never a part of it.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

from bunbuku_eval.judging import Shown

type Choice = Literal["left", "right", "tie", "both_bad"]

_WINNERS = {"left": "a", "right": "b", "tie": "tie", "both_bad": "both_bad"}
_TABLES = """
CREATE TABLE IF NOT EXISTS duels (
    id TEXT PRIMARY KEY, voter TEXT NOT NULL, question TEXT NOT NULL, model_left TEXT NOT NULL,
    model_right TEXT NOT NULL, served REAL NOT NULL, winner TEXT, reasons TEXT, voted REAL
) STRICT;
CREATE INDEX IF NOT EXISTS by_voter ON duels (voter, winner);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, voter TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS blocked (voter TEXT PRIMARY KEY, at REAL NOT NULL, why TEXT NOT NULL) STRICT;
"""


class Duel(NamedTuple):
    """Two answers to one question, as one voter gets them."""

    id: str
    question: str
    """Its id."""
    left: str
    right: str
    """The models."""


class Vote(NamedTuple):
    """A duel that was decided."""

    voter: str
    question: str
    model_a: str
    model_b: str
    winner: str
    reasons: str
    served: float
    voted: float


class Store:
    """The arena's memory."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Bring the log into the database and close it."""
        with self._lock:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._database.close()

    def duel(self, voter: str, answers: dict[str, dict[str, Shown]]) -> Duel | None:
        """The voter's open duel, or a new one: of the pairs with the fewest duels, a question the voter has not had.

        Two windows of one voter get the same duel. `None` when there is nothing left to compare.
        """
        with self._transaction() as database:
            row = database.execute(
                "SELECT id, question, model_left, model_right FROM duels WHERE voter = ? AND winner IS NULL", (voter,)
            ).fetchone()
            if row and {row[2], row[3]} <= set(answers.get(row[1], {})):
                return Duel(*row)
            had = {
                (question, frozenset((one, other)))
                for question, one, other in database.execute(
                    "SELECT question, model_left, model_right FROM duels WHERE voter = ?", (voter,)
                )
            }
            counts: dict[frozenset[str], int] = {}
            for one, other, count in database.execute(
                "SELECT model_left, model_right, COUNT(*) FROM duels GROUP BY model_left, model_right"
            ):
                counts[frozenset((one, other))] = counts.get(frozenset((one, other)), 0) + count
            open_ones = [
                (counts.get(frozenset(pair), 0), secrets.randbits(32), question, pair)
                for question, models in answers.items()
                for pair in combinations(sorted(models), 2)
                if (question, frozenset(pair)) not in had
            ]
            if not open_ones:
                return None
            _, _, question, pair = min(open_ones)
            left, right = pair if secrets.randbits(1) else pair[::-1]
            made = Duel(secrets.token_urlsafe(18), question, left, right)
            database.execute(
                "INSERT INTO duels (id, voter, question, model_left, model_right, served) VALUES (?, ?, ?, ?, ?, ?)",
                (made.id, voter, question, left, right, time.time()),
            )
            return made

    def vote(self, voter: str, duel: str, winner: Choice, reasons: Sequence[str]) -> Duel | None:
        """Decide a duel once; `None` if it is not the voter's, does not exist, or has been decided."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE duels SET winner = ?, reasons = ?, voted = ? WHERE id = ? AND voter = ? AND winner IS NULL",
                (winner, ",".join(reasons), time.time(), duel, voter),
            ).rowcount
            if not changed:
                self._note(voter, "vote refused", duel[:64])
                return None
            self._note(voter, "vote", f"{duel} {winner}")
            row = database.execute("SELECT id, question, model_left, model_right FROM duels WHERE id = ?", (duel,))
            return Duel(*row.fetchone())

    def votes(self) -> Iterator[Vote]:
        """All votes in the order in which they came, left as `a`, but for those of blocked voters."""
        with self._lock:
            rows = self._database.execute(
                "SELECT voter, question, model_left, model_right, winner, reasons, served, voted FROM duels "
                "WHERE winner IS NOT NULL AND voter NOT IN (SELECT voter FROM blocked) ORDER BY voted, id"
            ).fetchall()
        for voter, question, left, right, winner, reasons, served, voted in rows:
            yield Vote(voter, question, left, right, _WINNERS[winner], reasons, served, voted)

    def note(self, voter: str, what: str, detail: str = "") -> None:
        """Write into the audit log."""
        with self._transaction():
            self._note(voter, what, detail)

    def events(self) -> list[tuple[float, str, str, str]]:
        """The audit log."""
        with self._lock:
            return self._database.execute("SELECT at, voter, what, detail FROM events ORDER BY id").fetchall()

    def block(self, voter: str, why: str) -> None:
        """Shut a voter out; the votes stay, and count nowhere."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO blocked VALUES (?, ?, ?)", (voter, time.time(), why))
            self._note(voter, "blocked", why)

    def is_blocked(self, voter: str) -> bool:
        """Whether the voter has been shut out."""
        with self._lock:
            return self._database.execute("SELECT 1 FROM blocked WHERE voter = ?", (voter,)).fetchone() is not None

    def _note(self, voter: str, what: str, detail: str) -> None:
        self._database.execute(
            "INSERT INTO events (at, voter, what, detail) VALUES (?, ?, ?, ?)", (time.time(), voter, what, detail)
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
