"""`eval.rate`: models in the order in which people, or judges, prefer them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bunbuku_contracts import BunbukuError, Config, Draft, Report, Section, Table, stage, write_sections
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_eval.ratings import Ratings, elo, ranks, rate
from bunbuku_eval.standings import UNBOUNDED
from bunbuku_eval.votes import OneSided, Votes, one_sided, read_votes, seen, without


class RateConfig(Config):
    ties: Literal["half", "davidson"] = "half"
    """A tie is half a win to each, or (Davidson 1970) an outcome with a chance of its own."""
    style: bool = False
    """Rate as if answers were alike in length, headings, lists and bold passages; needs `answer_a` and `answer_b`."""
    side: bool = False
    """Estimate what standing on the left is worth."""
    drop_one_sided: bool = True
    """Leave out voters who take one side more often than random sides allow; they are named in the report."""
    one_sided_level: float = Field(default=0.01, gt=0, lt=1)
    """How sure that must be, over all voters together."""
    bootstrap_rounds: PositiveInt = 200
    seed: NonNegativeInt = 0
    """Of the bootstrap."""
    votes_per_category: PositiveInt = 50
    """A category with fewer votes gets no ratings of its own."""


@stage("eval.rate", revision=3)
def rate_votes(draft: Draft, config: RateConfig, votes: Path) -> Report:
    """Rate models by votes on pairs of answers: Bradley–Terry with ties, bootstrap and sandwich intervals.

    Takes CSV, TSV, JSON Lines or Parquet with `model_a`, `model_b`, `winner` (a, b, tie, both_bad), as a spreadsheet, the
    arena and the pairwise judge have it; `voter`, `category`, `answer_a`, `answer_b` if there are any. Where voters are
    known, sandwich intervals take their votes together.
    """
    everything = read_votes(votes)
    odd = one_sided(everything, level=config.one_sided_level)
    kept = without(everything, [one.voter for one in odd]) if config.drop_one_sided else everything
    if not len(kept):
        raise BunbukuError(
            f"all {len(everything)} votes are of voters who take one side", hint="see whether sides were random at all"
        )
    kept = seen(kept)
    found = _rated(kept, config)
    for row in found.rows:
        draft.metrics |= {f"rating.{row.model}": row.elo}
        draft.metrics |= {
            f"rating.{row.model}.{end}": elo(at) for end, at in zip(("low", "high"), row.sandwich, strict=True)
        }
    draft.metrics |= {f"{UNBOUNDED}{row.model}": 1 for row in found.rows if not row.bounded}
    draft.metrics |= {"votes": len(everything), "votes.kept": len(kept), "one_sided": len(odd)}
    sections = [_section(found, kept), *_effects(found, config), *_categories(kept, config)]
    if odd:
        sections.append(_oddities(odd, dropped=config.drop_one_sided))
    write_sections(draft, sections)
    return Report(title="Ratings by votes")


def _rated(votes: Votes, config: RateConfig) -> Ratings:
    return rate(
        votes,
        ties=config.ties,
        style=config.style,
        side=config.side,
        rounds=config.bootstrap_rounds,
        seed=config.seed,
    )


def _section(found: Ratings, votes: Votes) -> Section:
    said = [
        f"{len(votes):,} votes on {len(votes.models)} models. 1000 is the mean model; 400 more are odds of ten to one. "
        "A place is the best that a model's interval leaves it: those with overlapping intervals share it."
    ]
    if loose := [row.model for row in found.rows if not row.bounded]:
        said.append(
            f"Never set apart from both sides: {', '.join(loose)}. Whoever won or lost every time has no rating but "
            "one that grows with the number of votes; more votes against their likes are needed."
        )
    return Section(title="Ratings", paragraphs=tuple(said), tables=(_table(found),))


def _table(found: Ratings, caption: str = "") -> Table:
    rows = tuple(
        (
            rank,
            row.model,
            round(row.elo, 1),
            _span([elo(at) for at in row.sandwich]),
            _span([elo(at) for at in row.bootstrap]),
            row.votes,
            "" if row.bounded else "unbounded",
        )
        for rank, row in zip(ranks(found), found.rows, strict=True)
    )
    columns = ("place", "model", "rating", "95 % sandwich", "95 % bootstrap", "votes", "")
    return Table(columns=columns, rows=rows, caption=caption)


def _effects(found: Ratings, config: RateConfig) -> list[Section]:
    if not found.effects:
        return []
    rows = tuple((name, round(value, 3), _span([low, high], 3)) for name, (value, low, high) in found.effects.items())
    said = "In log odds: for style, of an answer with one standard deviation more of it; these are not in the ratings."
    return [
        Section(
            title="What else moves votes",
            paragraphs=(said,),
            tables=(Table(columns=("effect", "log odds", "95 %"), rows=rows),),
        )
    ]


def _categories(votes: Votes, config: RateConfig) -> list[Section]:
    if votes.category is None:
        return []
    tables: list[Table] = []
    for at, name in enumerate(votes.categories):
        some = votes.where(votes.category == at)
        if name and len(some) >= config.votes_per_category:
            tables.append(_table(_rated(seen(some), config), caption=f"{name}: {len(some):,} votes"))
    return [Section(title="By category", tables=tuple(tables))] if tables else []


def _oddities(odd: Sequence[OneSided], *, dropped: bool) -> Section:
    rows = tuple((one.voter, one.left, one.right, f"{one.chance:.1e}") for one in odd)
    said = "Their votes are left out." if dropped else "Their votes count all the same, as the config has it."
    table = Table(columns=("voter", "left", "right", "chance"), rows=rows)
    told = f"Sides are random, so nobody's favourites stand on one side. {said}"
    return Section(title="Voters who take one side", paragraphs=(told,), tables=(table,))


def _span(ends: Sequence[float], digits: int = 0) -> str:
    low, high = ends
    return f"{low:.{digits}f} to {high:.{digits}f}".replace("-", "−")
