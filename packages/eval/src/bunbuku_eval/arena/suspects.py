"""Voters who do not seem to read: too fast, by a pattern, always undecided, on one side, with the same prompts.

Each finding is named by its kind and told in numbers, so that a person can judge it. What is found is left out of the
leaderboard and of what is exported, unless the config says otherwise; nothing is deleted. The thresholds are choices:
what chance would bring is held below `LEVEL` over all voters together (Bonferroni), and speed is set against reading at
`READING_CHARS_PER_SECOND`, several times what practised readers of Japanese reach.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from bunbuku_eval.arena.tables import Pool, Vote

type Why = Literal["fast", "one_sided", "pattern", "ties", "prompts"]

EVERY: tuple[Why, ...] = get_args(Why.__value__)
LEVEL = 0.01
READING_CHARS_PER_SECOND = 60.0
LEAST_SECONDS = 1.0
FEWEST_TIMED = 5
FEWEST_PROMPTS = 5
FEWEST_TIES = 10
MANY = 0.5
MOSTLY = 0.8
PERIODS = (1, 2, 3, 4)


class Suspicion(NamedTuple):
    """Why a voter's votes may say nothing."""

    voter: str
    why: Why
    detail: str


def suspicions(votes: Sequence[Vote], pool: Pool) -> list[Suspicion]:
    """What is odd about each voter, by name. Votes without a voter's name are nobody's and are not looked at."""
    by_voter: dict[str, list[Vote]] = {}
    for vote in votes:
        if vote.voter:
            by_voter.setdefault(vote.voter, []).append(vote)
    level = LEVEL / max(len(by_voter), 1)
    undecided = {name: sum(one.winner in ("tie", "both_bad") for one in own) for name, own in by_voter.items()}
    asked = Counter(vote.question for vote in votes if vote.kind == "live")
    found: list[Suspicion] = []
    for name, own in sorted(by_voter.items()):
        others = sum(undecided.values()) - undecided[name], sum(map(len, by_voter.values())) - len(own)
        checks: Mapping[Why, str] = {
            "fast": _fast(own, pool),
            "one_sided": _one_sided(own, level),
            "pattern": _pattern([one.winner for one in own], level / len(PERIODS)),
            "ties": _ties(undecided[name], len(own), others, level),
            "prompts": _prompts(own, asked),
        }
        found += [Suspicion(name, why, detail) for why, detail in checks.items() if detail]
    return found


def _fast(votes: Sequence[Vote], pool: Pool) -> str:
    timed = [vote for vote in votes if vote.kind != "imported"]
    fast = sum(
        vote.voted - vote.ready < max(LEAST_SECONDS, _chars(vote, pool) / READING_CHARS_PER_SECOND) for vote in timed
    )
    if len(timed) >= FEWEST_TIMED and fast > MANY * len(timed):
        return f"{fast} of {len(timed)} votes came before the answers can have been read"
    return ""


def _chars(vote: Vote, pool: Pool) -> int:
    """Characters to read before the vote: of the last turn's two answers."""
    if vote.turns:
        return len(vote.turns[-1].left or "") + len(vote.turns[-1].right or "")
    shown = pool.answers.get(vote.question, {})
    return sum(len(shown[model].answer) for model in (vote.model_a, vote.model_b) if model in shown)


def _one_sided(votes: Sequence[Vote], level: float) -> str:
    left = sum(one.winner == "a" for one in votes)
    right = sum(one.winner == "b" for one in votes)
    # Sides are random, or nearer to even than that, so whatever a voter likes stands on the left half the time.
    if left + right and 2 * _chance(max(left, right), of=left + right, share=0.5) < level:
        return f"{left} times left and {right} times right"
    return ""


def _pattern(choices: Sequence[str], level: float) -> str:
    """Choices that follow from those a few votes before, more than the voter's own mixture of choices explains."""
    shares = [count / len(choices) for count in Counter(choices).values()]
    alike = sum(share**2 for share in shares)
    for period in PERIODS:
        pairs = len(choices) - period
        same = sum(one == other for one, other in zip(choices, choices[period:], strict=False))
        if pairs > 0 and alike < 1 and _chance(same, of=pairs, share=alike) < level:
            return f"{same} of {pairs} votes are as the one {period} before"
    return ""


def _ties(own: int, votes: int, others: tuple[int, int], level: float) -> str:
    usual = others[0] / others[1] if others[1] else MANY
    if votes >= FEWEST_TIES and own > MOSTLY * votes and _chance(own, of=votes, share=usual) < level:
        return f"{own} of {votes} votes are for neither, {usual:.0%} of others'"
    return ""


def _prompts(votes: Sequence[Vote], asked: Mapping[str, int]) -> str:
    live = [vote for vote in votes if vote.kind == "live"]
    again = sum(asked[vote.question] > 1 for vote in live)
    if len(live) >= FEWEST_PROMPTS and again > MANY * len(live):
        return f"{again} of {len(live)} prompts were sent more than once"
    return ""


def _chance(count: int, *, of: int, share: float) -> float:
    """How likely chance brings that many or more, each with probability `share`."""
    from scipy.stats import binom  # slow to import, and not needed to serve

    return float(binom.sf(count - 1, of, share))
