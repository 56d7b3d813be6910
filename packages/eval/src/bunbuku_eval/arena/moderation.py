"""What a moderator can do, each act one transaction and one line of the audit log."""

import sqlite3
import time
from typing import Literal, get_args

from bunbuku_contracts import BunbukuError

from bunbuku_eval.arena.store import Store, note

type Act = Literal["block", "unblock", "hide", "unhide", "void", "restore"]
ACTS: tuple[str, ...] = get_args(Act.__value__)
HIDDEN = "hidden"


def moderate(store: Store, act: Act, what: str, why: str) -> None:
    """Do it and write it down.

    `block` shuts a voter out, votes and all; `hide` keeps a question from being asked and its votes from counting; `void`
    takes a single vote out of the count. The other three take those back. Nothing is deleted.

    Raises:
        BunbukuError: There is no such voter, question or vote.
    """
    with store.transaction() as database:
        changed = _do(database, act, what, why)
        if not changed:
            raise BunbukuError(f"there is nothing to {act}: {what!r}", hint="`bunbuku-eval audit` shows what there is")
        note(database, what if "block" in act else "", "moderated", f"{act} {what} {why}".strip())


def _do(database: sqlite3.Connection, act: Act, what: str, why: str) -> int:
    now = time.time()
    match act:
        case "block":
            return database.execute("INSERT OR REPLACE INTO blocked VALUES (?, ?, ?)", (what, now, why)).rowcount
        case "unblock":
            return database.execute("DELETE FROM blocked WHERE voter = ?", (what,)).rowcount
        case "hide":
            # A question of stored answers that nobody has had yet can be hidden as well.
            database.execute(
                "UPDATE duels SET voided = ? WHERE question = ? AND winner IS NULL AND voided IS NULL", (HIDDEN, what)
            )
            return database.execute("INSERT OR REPLACE INTO hidden VALUES (?, ?, ?)", (what, now, why)).rowcount
        case "unhide":
            return database.execute("DELETE FROM hidden WHERE question = ?", (what,)).rowcount
        case "void":
            return database.execute(
                "UPDATE duels SET voided = ? WHERE id = ? AND winner IS NOT NULL AND voided IS NULL",
                (why or "by a moderator", what),
            ).rowcount
        case "restore":
            return database.execute(
                "UPDATE duels SET voided = NULL WHERE id = ? AND winner IS NOT NULL AND voided IS NOT NULL", (what,)
            ).rowcount
