"""`eval.arena`, `eval.invite` and `eval.ballots`: let people vote, invite them, and take the votes home."""

import csv
import logging
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Config, Report, RunSettings, view
from pydantic import Field, PositiveFloat, PositiveInt

from bunbuku_eval.arena.links import MIN_SECRET_CHARS, token
from bunbuku_eval.arena.store import Store
from bunbuku_eval.judging import Shown, read_answers

SECRET = "BUNBUKU_ARENA_SECRET"
_log = logging.getLogger(__name__)


class ArenaConfig(Config):
    min_votes: PositiveInt = 20
    """Votes before the leaderboard is shown."""
    requests_per_second: PositiveFloat = 2.0
    """Of one voter, on average."""
    burst: PositiveInt = 20
    """And at once."""
    degenerate: bool = False
    """Show answers that are empty, loop or garbled too."""


class ArenaRun(RunSettings):
    database: Path = Path("arena.sqlite")
    """Where duels and votes are kept."""
    host: str = "127.0.0.1"
    """Behind a proxy that speaks HTTPS, leave it."""
    port: int = Field(default=8017, ge=0, le=65535)
    answers: Path = Path("ballots.parquet")
    """Where `ballots` writes the votes."""
    links: Path = Path("links.csv")
    """Where `invite` writes the invitations."""
    base_url: str = "http://127.0.0.1:8017"
    """What invitations begin with."""


class InviteConfig(Config):
    voters: tuple[str, ...] = Field(min_length=1)
    """Their names, as the votes will have them."""
    days: PositiveInt = 30
    """How long a link is good."""


class BallotsConfig(Config):
    """There is nothing to choose."""


_HERE = ArenaRun()


@view("eval.arena")
def arena(config: ArenaConfig, reports: dict[str, Artifact[Report]], *, run: ArenaRun = _HERE) -> None:
    """Serve a blind arena of stored answers: a voter sees two without names, votes, and then learns whose they were.

    Takes `generate` or `score` reports in which models answer the same prompts. Voters come by links that `invite` signs
    with the secret in BUNBUKU_ARENA_SECRET. Votes are in the database before they are acknowledged; `ballots` exports them.
    """
    import uvicorn

    from bunbuku_eval.arena.app import arena_app
    from bunbuku_eval.arena.limits import Limit

    answers = by_question(reports, degenerate=config.degenerate)
    store = Store(run.database)
    limit = Limit(per_second=config.requests_per_second, burst=config.burst)
    app = arena_app(store, answers, secret=secret(), limit=limit, min_votes=config.min_votes)
    _log.info("the arena is open at http://%s:%d with %d questions", run.host, run.port, len(answers))
    uvicorn.run(app, host=run.host, port=run.port, log_level="warning", server_header=False)


@view("eval.invite")
def invite(config: InviteConfig, *, run: ArenaRun = _HERE) -> None:
    """Write a CSV with a signed link for every voter. A link is a voter's: whoever has it votes under that name."""
    key, expires = secret(), int(time.time()) + config.days * 86400
    try:
        links = [(voter, f"{run.base_url}/v/{token(voter, expires=expires, secret=key)}") for voter in config.voters]
    except ValueError as error:
        raise BunbukuError(str(error)) from error
    with run.links.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("voter", "link"), *links])
    _log.info("%d links are in %s", len(links), run.links)


@view("eval.ballots")
def ballots(config: BallotsConfig, reports: dict[str, Artifact[Report]], *, run: ArenaRun = _HERE) -> None:
    """Write the arena's votes as Parquet, with the answers they are about, as `rate` takes them."""
    if not run.database.is_file():
        raise BunbukuError(f"{run.database} is not there", hint="name the arena's `database` in the run settings")
    answers = by_question(reports, degenerate=True) if reports else {}
    store = Store(run.database)
    try:
        rows = [
            one._asdict()
            | {
                "seconds": one.voted - one.served,
                "category": _of(answers, one.question, one.model_a, "category"),
                "prompt": _of(answers, one.question, one.model_a, "question"),
                "answer_a": _of(answers, one.question, one.model_a, "answer"),
                "answer_b": _of(answers, one.question, one.model_b, "answer"),
            }
            for one in store.votes()
        ]
    finally:
        store.close()
    if not rows:
        raise BunbukuError(f"{run.database} has no votes yet")
    pq.write_table(pa.Table.from_pylist(rows), run.answers)
    _log.info("%d votes are in %s", len(rows), run.answers)


def by_question(reports: dict[str, Artifact[Report]], *, degenerate: bool) -> dict[str, dict[str, Shown]]:
    """The answers by question and model, of questions that two models or more answer."""
    found: dict[str, dict[str, Shown]] = {}
    for one in read_answers(reports):
        if degenerate or not one.flags:
            found.setdefault(one.id, {})[one.model] = one
    comparable = {question: models for question, models in found.items() if len(models) > 1}
    if not comparable:
        raise BunbukuError(
            "no question is answered by two models", hint="give reports of several models on the same prompts"
        )
    return comparable


def secret() -> str:
    """What invitations are signed with, from the environment and recorded nowhere."""
    found = os.environ.get(SECRET, "")
    if len(found) < MIN_SECRET_CHARS:
        raise BunbukuError(
            f"{SECRET} has {len(found)} characters, and needs {MIN_SECRET_CHARS}",
            hint=f"export {SECRET}=$(python -c 'import secrets; print(secrets.token_hex(32))'), and keep it",
        )
    return found


def _of(answers: dict[str, dict[str, Shown]], question: str, model: str, what: str) -> str | None:
    shown = answers.get(question, {}).get(model)
    return getattr(shown, what) if shown else None
