"""The arena's votes as rows: with prompts, answers and what is odd about their voters, as `rate` and people take them."""

from collections.abc import Sequence
from typing import Any

from bunbuku_eval.arena.store import Store
from bunbuku_eval.arena.suspects import Suspicion, Why, suspicions
from bunbuku_eval.arena.tables import Pool, Vote


def ballot_rows(store: Store, pool: Pool, *, leave_out: Sequence[Why]) -> tuple[list[dict[str, Any]], list[Suspicion]]:
    """A row a vote but for those of voters suspected of what is to be left out, and all that is suspected."""
    votes = list(store.votes())
    found = suspicions(votes, pool)
    why: dict[str, list[Why]] = {}
    for one in found:
        why.setdefault(one.voter, []).append(one.why)
    kept = [vote for vote in votes if not set(leave_out) & set(why.get(vote.voter, ()))]
    return [_row(vote, pool) | {"suspicion": ",".join(why.get(vote.voter, ()))} for vote in kept], found


def _row(vote: Vote, pool: Pool) -> dict[str, Any]:
    row = vote._asdict()
    turns = row.pop("turns")
    shown = pool.answers.get(vote.question, {})
    left, right = shown.get(vote.model_a), shown.get(vote.model_b)
    prompt, answer_a, answer_b = left and left.question, left and left.answer, right and right.answer
    if turns:
        prompt, answer_a, answer_b = ("\n\n".join(turn[at] or "" for turn in turns) for at in range(3))
    return row | {
        "turns": len(turns) or 1,
        # How long it took says something of the voter only where the arena itself showed the answers.
        "seconds": None if vote.kind == "imported" else vote.voted - vote.ready,
        "prompt": prompt,
        "answer_a": answer_a,
        "answer_b": answer_b,
    }
