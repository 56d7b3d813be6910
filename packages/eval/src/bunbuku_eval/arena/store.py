"""Duels and votes in SQLite: a vote that was acknowledged is on the disk, and none counts twice.

Every write is one transaction in write-ahead-log mode, synced before it returns. Everything that comes from outside is a
parameter of a statement and never a part of it.
"""

import hashlib
import secrets
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from random import SystemRandom

from bunbuku_contracts import BunbukuError

from bunbuku_eval.arena.tables import SIDES, TABLES, VERSION, WINNERS, Choice, Duel, Kind, Pool, Side, Turn, Vote

FAILED = "an answer did not come"
BALANCE = 2 / 3
"""How likely the side is on which a model has stood less with this voter (Efron 1971, Biometrika 58:403): balanced
enough to matter, and never known beforehand."""
_random = SystemRandom()


class Store:
    """The arena's memory. Several processes may hold one file: a server, and who moderates it."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        known = self._database.execute("SELECT 1 FROM sqlite_master WHERE name = 'duels'").fetchone()
        if known and version != VERSION:
            self._database.close()
            raise BunbukuError(
                f"{path} has tables of version {version}, and this arena writes version {VERSION}",
                hint="export its votes with the version that made it, then `bunbuku-eval import` them into a new file",
            )
        self._database.executescript(TABLES)
        self._database.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Bring the log into the database and close it."""
        with self._lock:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._database.close()

    def duel(self, voter: str, pool: Pool) -> Duel | None:
        """The voter's open duel, or a new one: of the pairs with the fewest duels, a question the voter has not had.

        Two windows of one voter get the same duel. `None` when there is nothing left to compare.
        """
        with self.transaction() as database:
            found = _open(database, voter, "stored")
            if found and pool.holds(found.question, (found.left, found.right)):
                return found
            had = _had(database, voter)
            hidden = {question for (question,) in database.execute("SELECT question FROM hidden")}
            for pair in _fewest_first(database, list(pool.pairs)):
                open_ones = [one for one in pool.pairs[pair] if (one, pair) not in had and one not in hidden]
                if open_ones:
                    question = _random.choice(open_ones)
                    return _begin(database, voter, "stored", question, pool.category(question), pair)
            return None

    def begin(self, voter: str, models: Sequence[str], prompt: str) -> Duel | None:
        """A live duel on this prompt; `None` if the voter has one open, has had all pairs on it, or it is hidden."""
        question = question_of(prompt)
        with self.transaction() as database:
            hidden = database.execute("SELECT 1 FROM hidden WHERE question = ?", (question,)).fetchone()
            if hidden or _open(database, voter, "live"):
                return None
            had = _had(database, voter)
            for pair in _fewest_first(database, list(combinations(sorted(models), 2))):
                if (question, pair) not in had:
                    made = _begin(database, voter, "live", question, "live", pair)
                    database.execute("INSERT INTO turns (duel, turn, prompt) VALUES (?, 0, ?)", (made.id, prompt))
                    note(database, voter, "prompt", f"{made.id} {question}")
                    return made
            return None

    def go_on(self, voter: str, duel: str, prompt: str, *, most_turns: int) -> Duel | None:
        """The open live duel with one more turn; `None` if it is not the voter's, is waiting, or has had its turns."""
        with self.transaction() as database:
            found = _open(database, voter, "live")
            if found is None or found.id != duel:
                return None
            turns = _turns(database, duel)
            if len(turns) >= most_turns or not all(one.whole for one in turns):
                return None
            database.execute("UPDATE duels SET ready = NULL WHERE id = ?", (duel,))
            database.execute("INSERT INTO turns (duel, turn, prompt) VALUES (?, ?, ?)", (duel, len(turns), prompt))
            note(database, voter, "prompt", duel)
            return found

    def answer(self, duel: str, turn: int, side: Side, text: str) -> None:
        """Keep an answer that is whole. With the second one the duel can be decided."""
        assert side in SIDES
        with self.transaction() as database:
            database.execute(f'UPDATE turns SET "{side}" = ? WHERE duel = ? AND turn = ?', (text, duel, turn))
            if all(one.whole for one in _turns(database, duel)):
                database.execute("UPDATE duels SET ready = ? WHERE id = ?", (time.time(), duel))

    def fail(self, duel: str, why: str) -> None:
        """Close a duel whose answers will not come."""
        with self.transaction() as database:
            changed = database.execute(
                "UPDATE duels SET voided = ? WHERE id = ? AND winner IS NULL AND voided IS NULL", (FAILED, duel)
            ).rowcount
            if changed:
                (voter,) = database.execute("SELECT voter FROM duels WHERE id = ?", (duel,)).fetchone()
                note(database, voter, "failed", f"{duel} {why[:500]}")

    def live(self, voter: str) -> tuple[Duel, list[Turn]] | None:
        """The voter's open live duel and its turns."""
        with self._lock:
            found = _open(self._database, voter, "live")
            return (found, _turns(self._database, found.id)) if found else None

    def vote(self, voter: str, duel: str, winner: Choice, reasons: Sequence[str]) -> Duel | None:
        """Decide a duel once; `None` if it is not the voter's, does not exist, is not ready, or has been decided."""
        with self.transaction() as database:
            changed = database.execute(
                "UPDATE duels SET winner = ?, reasons = ?, voted = ? WHERE id = ? AND voter = ? AND winner IS NULL "
                "AND voided IS NULL AND ready IS NOT NULL",
                (winner, ",".join(reasons), time.time(), duel, voter),
            ).rowcount
            if not changed:
                note(database, voter, "vote refused", duel[:64])
                return None
            note(database, voter, "vote", f"{duel} {winner}")
            row = database.execute("SELECT id, question, model_left, model_right FROM duels WHERE id = ?", (duel,))
            return Duel(*row.fetchone())

    def votes(self) -> Iterator[Vote]:
        """All votes in the order in which they came, left as `a`, but for blocked voters', hidden and voided ones."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, voter, kind, question, category, model_left, model_right, winner, reasons, served, ready, voted "
                "FROM duels WHERE winner IS NOT NULL AND voided IS NULL AND voter NOT IN (SELECT voter FROM blocked) "
                "AND question NOT IN (SELECT question FROM hidden) ORDER BY voted, id"
            ).fetchall()
            turns: dict[str, list[Turn]] = {}
            for duel, *turn in self._database.execute(
                'SELECT duel, prompt, "left", "right" FROM turns ORDER BY duel, turn'
            ):
                turns.setdefault(duel, []).append(Turn(*turn))
        for row in rows:
            vote = Vote(*row)
            yield vote._replace(winner=WINNERS[vote.winner], turns=tuple(turns.get(vote.id, ())))

    def state(self) -> tuple[int, ...]:
        """What changes whenever the votes that count do."""
        with self._lock:
            return self._database.execute(
                "SELECT (SELECT COUNT(*) FROM duels WHERE winner IS NOT NULL AND voided IS NULL), "
                "(SELECT COUNT(*) FROM blocked), (SELECT COUNT(*) FROM hidden), "
                "(SELECT COALESCE(MAX(id), 0) FROM events WHERE what IN ('vote', 'moderated', 'imported'))"
            ).fetchone()

    def note(self, voter: str, what: str, detail: str = "") -> None:
        """Write into the audit log."""
        with self.transaction() as database:
            note(database, voter, what, detail)

    def events(self) -> list[tuple[float, str, str, str]]:
        """The audit log."""
        with self._lock:
            return self._database.execute("SELECT at, voter, what, detail FROM events ORDER BY id").fetchall()

    def is_blocked(self, voter: str) -> bool:
        """Whether the voter has been shut out."""
        with self._lock:
            return self._database.execute("SELECT 1 FROM blocked WHERE voter = ?", (voter,)).fetchone() is not None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is done inside, or nothing; on the disk when it ends."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def question_of(prompt: str) -> str:
    """The id of a prompt that a voter wrote: the same for the same words in another width or spacing.

    >>> question_of("ＡＢＣ  とは？") == question_of("abc とは?")
    True
    """
    plain = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())
    return f"live/{hashlib.sha256(plain.encode()).hexdigest()[:24]}"


def note(database: sqlite3.Connection, voter: str, what: str, detail: str) -> None:
    """Write into the audit log, as part of a transaction."""
    database.execute(
        "INSERT INTO events (at, voter, what, detail) VALUES (?, ?, ?, ?)", (time.time(), voter, what, detail)
    )


def _open(database: sqlite3.Connection, voter: str, kind: Kind) -> Duel | None:
    row = database.execute(
        "SELECT id, question, model_left, model_right FROM duels "
        "WHERE voter = ? AND winner IS NULL AND voided IS NULL AND kind = ?",
        (voter, kind),
    ).fetchone()
    return Duel(*row) if row else None


def _begin(
    database: sqlite3.Connection, voter: str, kind: Kind, question: str, category: str, pair: tuple[str, str]
) -> Duel:
    left, right = _sides(database, voter, pair)
    made = Duel(secrets.token_urlsafe(18), question, left, right)
    now = time.time()
    database.execute(
        "INSERT INTO duels (id, voter, kind, question, category, model_left, model_right, served, ready) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (made.id, voter, kind, question, category, left, right, now, now if kind == "stored" else None),
    )
    return made


def _sides(database: sqlite3.Connection, voter: str, pair: tuple[str, str]) -> tuple[str, str]:
    """The pair in the order in which it stands, by a coin that leans to what this voter has seen less of."""
    leans = dict.fromkeys(pair, 0)
    for left, right in database.execute("SELECT model_left, model_right FROM duels WHERE voter = ?", (voter,)):
        leans[left] = leans.get(left, 0) + 1
        leans[right] = leans.get(right, 0) - 1
    first, second = pair
    gap = leans[first] - leans[second]
    chance = 0.5 if not gap else BALANCE if gap < 0 else 1 - BALANCE
    return (first, second) if _random.random() < chance else (second, first)


def _had(database: sqlite3.Connection, voter: str) -> set[tuple[str, tuple[str, str]]]:
    rows = database.execute(
        "SELECT question, min(model_left, model_right), max(model_left, model_right) FROM duels WHERE voter = ?",
        (voter,),
    )
    return {(question, (one, other)) for question, one, other in rows}


def _fewest_first(database: sqlite3.Connection, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs in the order of how often they were shown; at random where that is the same."""
    rows = database.execute(
        "SELECT min(model_left, model_right), max(model_left, model_right), COUNT(*) FROM duels GROUP BY 1, 2"
    )
    counts = {(one, other): count for one, other, count in rows}
    return sorted(pairs, key=lambda pair: (counts.get(pair, 0), secrets.randbits(32)))


def _turns(database: sqlite3.Connection, duel: str) -> list[Turn]:
    rows = database.execute('SELECT prompt, "left", "right" FROM turns WHERE duel = ? ORDER BY turn', (duel,))
    return [Turn(*row) for row in rows]
