"""Votes from elsewhere, taken into the arena's file: a spreadsheet of a reading group, another arena's export."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bunbuku_contracts import BunbukuError

from bunbuku_eval.arena.store import Store, note, question_of
from bunbuku_eval.arena.tables import CHOICES
from bunbuku_eval.reading import read_rows
from bunbuku_eval.votes import SPELT

NEEDED = ("model_a", "model_b", "winner")


def import_votes(store: Store, path: Path) -> tuple[int, int]:
    """How many votes of the file were taken, and how many were there already: the same row counts once.

    Raises:
        BunbukuError: A row lacks a model or a winner, or sets a model against itself. Then none is taken.
    """
    rows = [_vote(row, at, path) for at, row in enumerate(read_rows(path), start=1)]
    if not rows:
        raise BunbukuError(f"{path} has no votes")
    seen: dict[str, int] = {}
    taken = 0
    with store.transaction() as database:
        for row in rows:
            # Two voters without a name may well have voted alike: a repeated row of one file is another vote.
            told = json.dumps(row, ensure_ascii=False)
            seen[told] = seen.get(told, 0) + 1
            name = hashlib.sha256(f"{told}\0{seen[told]}".encode()).hexdigest()[:24]
            taken += _insert(database, name, row)
        note(database, "", "imported", f"{taken} of {len(rows)} votes of {path.name}")
    return taken, len(rows) - taken


def _vote(row: dict[str, Any], at: int, path: Path) -> Sequence[str]:
    text = {name: str(value).strip() if value is not None else "" for name, value in row.items()}
    for name in NEEDED:
        if not text.get(name):
            raise BunbukuError(f"row {at} of {path} has no {name!r}", hint="mend the row, or take it out")
    if text["model_a"] == text["model_b"]:
        raise BunbukuError(f"row {at} of {path} sets {text['model_a']!r} against itself")
    if text["winner"] not in SPELT:
        raise BunbukuError(f"row {at} of {path} has the winner {text['winner']!r}", hint="a, b, tie or both_bad")
    choice = CHOICES[SPELT[text["winner"]]]
    rest = [
        text.get(name, "") for name in ("voter", "category", "question", "prompt", "answer_a", "answer_b", "reasons")
    ]
    return (text["model_a"], text["model_b"], choice, *rest)


def _insert(database: Any, name: str, row: Sequence[str]) -> int:
    model_a, model_b, choice, voter, category, question, prompt, answer_a, answer_b, reasons = row
    now = time.time()
    about = question or (question_of(prompt) if prompt else f"imported/{name}")
    values = (name, voter, "imported", about, category, model_a, model_b, now, now, choice, reasons, now)
    taken = database.execute(
        "INSERT OR IGNORE INTO duels (id, voter, kind, question, category, model_left, model_right, served, ready, "
        "winner, reasons, voted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    ).rowcount
    if taken and (answer_a or answer_b):
        turn = (name, prompt, answer_a, answer_b)
        database.execute('INSERT INTO turns (duel, turn, prompt, "left", "right") VALUES (?, 0, ?, ?, ?)', turn)
    return taken
