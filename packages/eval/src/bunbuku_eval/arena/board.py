"""The live leaderboard: fitted again when votes have come and the last fit is a while ago, else as it was."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from bunbuku_eval.arena.ballots import ballot_rows
from bunbuku_eval.arena.store import Store
from bunbuku_eval.arena.suspects import Why
from bunbuku_eval.arena.tables import Pool
from bunbuku_eval.ratings import elo, ranks, rate
from bunbuku_eval.votes import seen, votes_of

type Ties = Literal["half", "davidson"]


class View(NamedTuple):
    """Which leaderboard is asked for."""

    category: str = ""
    """Votes on questions of this one; all if empty."""
    style: bool = False
    """Rate as if answers were alike in length, headings, lists and bold passages."""
    ties: Ties = "half"


@dataclass
class _Fitted:
    state: tuple[int, ...]
    at: float
    shown: dict[str, Any]


class Board:
    """Ratings of the votes so far, without voters who are suspected."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        *,
        min_votes: int,
        refit_seconds: float,
        leave_out: Sequence[Why],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._pool, self._leave_out, self._clock = store, pool, leave_out, clock
        self._min_votes, self._refit_seconds = min_votes, refit_seconds
        self._lock = threading.Lock()
        self._fitted: dict[View, _Fitted] = {}
        self._rows: tuple[tuple[int, ...], list[dict[str, Any]]] | None = None

    def show(self, view: View) -> dict[str, Any] | None:
        """The leaderboard of this view; `None` if nobody voted on such a category.

        Whoever comes while another is waiting for a fit gets the one before.
        """
        kept = self._fitted.get(view)
        if kept and not self._lock.acquire(blocking=False):
            return kept.shown
        if not kept:
            self._lock.acquire()
        try:
            return self._fresh(view)
        finally:
            self._lock.release()

    def _fresh(self, view: View) -> dict[str, Any] | None:
        kept, now = self._fitted.get(view), self._clock()
        if kept and now - kept.at < self._refit_seconds:
            return kept.shown
        state = self._store.state()
        if kept and kept.state == state:
            return kept.shown
        if self._rows is None or self._rows[0] != state:
            self._rows = state, ballot_rows(self._store, self._pool, leave_out=self._leave_out)[0]
        rows = self._rows[1]
        categories = sorted({row["category"] for row in rows if row["category"]})
        if view.category and view.category not in categories:
            return None
        shown = _fit([row for row in rows if view.category in ("", row["category"])], view, self._min_votes)
        shown["categories"] = categories
        self._fitted[view] = _Fitted(state, now, shown)
        return shown


def _fit(rows: list[dict[str, Any]], view: View, min_votes: int) -> dict[str, Any]:
    columns = ["model_a", "model_b", "winner", "voter"]
    if view.style:
        rows = [row for row in rows if row["answer_a"] is not None and row["answer_b"] is not None]
        columns += ["answer_a", "answer_b"]
    if len(rows) < max(min_votes, 2):
        return {"votes": len(rows), "needed": max(min_votes, 2), "rows": []}
    table = pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows])
    ratings = rate(seen(votes_of(table, "the arena's file")), rounds=0, style=view.style, ties=view.ties)
    return {
        "votes": len(rows),
        "needed": min_votes,
        "rows": [
            {
                "place": place,
                "model": row.model,
                # Whoever won or lost every time has no rating yet.
                "rating": round(row.elo) if row.bounded else None,
                "interval": [round(elo(end)) for end in row.sandwich] if row.bounded else None,
                "votes": row.votes,
            }
            for place, row in zip(ranks(ratings), ratings.rows, strict=True)
        ],
    }
