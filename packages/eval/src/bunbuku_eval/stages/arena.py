"""`eval.arena` and what belongs to it: let people vote, invite them, look after the votes, and take them home."""

import csv
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Config, Report, RunSettings, view
from bunbuku_inference import AnyEngine, Model, OpenAIEngine, Sampling, TransformersEngine, open_model
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from rich.console import Console
from rich.table import Table

from bunbuku_eval.arena.ballots import ballot_rows
from bunbuku_eval.arena.imports import import_votes
from bunbuku_eval.arena.links import MIN_SECRET_CHARS, token
from bunbuku_eval.arena.moderation import Act, moderate
from bunbuku_eval.arena.store import Store
from bunbuku_eval.arena.suspects import EVERY, Why, suspicions
from bunbuku_eval.arena.tables import Pool
from bunbuku_eval.judging import Shown, read_answers
from bunbuku_eval.models import require_hugging_face

SECRET = "BUNBUKU_ARENA_SECRET"
_log = logging.getLogger(__name__)


class ArenaConfig(Config):
    min_votes: PositiveInt = 20
    """Votes before the leaderboard is shown."""
    refit_seconds: NonNegativeFloat = 5.0
    """A leaderboard is fitted no sooner than this after the last fit; until then everybody gets that one."""
    leave_out: tuple[Why, ...] = EVERY
    """Voters suspected of these are left out of the leaderboard: votes faster than one can read, one side, a pattern,
    hardly anything but ties, the same prompts again."""
    requests_per_second: PositiveFloat = 2.0
    """Of one voter, on average."""
    burst: PositiveInt = 20
    """And at once."""
    degenerate: bool = False
    """Show answers that are empty, loop or garbled too."""
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=512)
    """Of live answers."""
    most_turns: PositiveInt = 1
    """Turns that a live duel may have before the vote."""
    most_prompt_chars: int = Field(default=2000, ge=1, le=8000)
    prompts_per_minute: PositiveFloat = 6.0
    """Of one voter, on average; three at once."""


class ArenaRun(RunSettings):
    database: Path = Path("arena.sqlite")
    """Where duels and votes are kept."""
    host: str = "127.0.0.1"
    """Behind a proxy that speaks HTTPS, leave it."""
    port: int = Field(default=8017, ge=0, le=65535)
    engine: AnyEngine = TransformersEngine()
    """Where the checkpoints of a live arena run."""
    servers: dict[str, OpenAIEngine] = Field(default_factory=dict[str, OpenAIEngine])
    """Models of a live arena that others serve, by the name that is revealed."""
    answers: Path = Path("ballots.parquet")
    """Where `ballots` writes the votes."""
    links: Path = Path("links.csv")
    """Where `invite` writes the invitations."""
    base_url: str = "http://127.0.0.1:8017"
    """What invitations begin with. With `https` the cookie is never sent over anything else."""


class InviteConfig(Config):
    voters: tuple[str, ...] = Field(min_length=1)
    """Their names, as the votes will have them."""
    days: PositiveInt = 30
    """How long a link is good."""


class BallotsConfig(Config):
    leave_out: tuple[Why, ...] = EVERY
    """Voters suspected of these are left out; the others' column `suspicion` says what was found."""


class ModerateConfig(Config):
    act: Act
    what: str = Field(min_length=1)
    """A voter's name (block, unblock), a question's id (hide, unhide) or a vote's id (void, restore)."""
    why: str = ""


class AuditConfig(Config):
    most_rows: PositiveInt = 40
    """Lines of the log that are printed, the last ones."""


class ImportConfig(Config):
    """There is nothing to choose."""


_HERE = ArenaRun()


@view("eval.arena")
def arena(
    config: ArenaConfig,
    reports: dict[str, Artifact[Report]],
    checkpoints: dict[str, Artifact[Checkpoint]],
    *,
    run: ArenaRun = _HERE,
) -> None:
    """Serve a blind arena: a voter sees two answers without names, votes, and then learns whose they were.

    Takes `generate` or `score` reports in which models answer the same prompts, or checkpoints (and `servers` of the run
    settings) that answer what voters write, side by side and while they watch; or both. Voters come by links that `invite`
    signs with the secret in BUNBUKU_ARENA_SECRET. Votes are in the database before they are acknowledged; `ballots` exports
    them, `audit` shows what happened, `moderate` blocks, hides and voids, `import` takes votes from a spreadsheet.
    """
    import scipy.stats  # noqa: F401  # before the doors open, so that nobody waits for it at the first leaderboard
    import uvicorn

    from bunbuku_eval.arena.app import Arena, Rules, arena_app
    from bunbuku_eval.arena.board import Board
    from bunbuku_eval.arena.gate import Gate
    from bunbuku_eval.arena.limits import Limit
    from bunbuku_eval.arena.live import Live

    if not reports and len(checkpoints) + len(run.servers) < 2:
        raise BunbukuError(
            "there is nothing to compare", hint="give --reports of stored answers, or two --checkpoints or more"
        )
    key, pool = secret(), Pool(by_question(reports, degenerate=config.degenerate) if reports else {})
    with ExitStack() as until_served:
        store = Store(run.database)
        until_served.callback(store.close)
        models = _models(checkpoints, run, until_served)
        app = arena_app(
            Arena(
                store,
                pool,
                Gate(
                    store,
                    key,
                    Limit(per_second=config.requests_per_second, burst=config.burst),
                    secure=run.base_url.startswith("https:"),
                ),
                Board(
                    store,
                    pool,
                    min_votes=config.min_votes,
                    refit_seconds=config.refit_seconds,
                    leave_out=config.leave_out,
                ),
                Live(models, store, config.sampling) if models else None,
                Rules(
                    config.most_turns,
                    config.most_prompt_chars,
                    Limit(per_second=config.prompts_per_minute / 60, burst=3),
                ),
            )
        )
        until_served.pop_all()  # from here on the application closes them
    at = f"http://{run.host}:{run.port}"
    _log.info("the arena is open at %s: %d questions, %d live models", at, len(pool.answers), len(models))
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
    pool = Pool(by_question(reports, degenerate=True) if reports else {})
    with _existing(run) as store:
        rows, found = ballot_rows(store, pool, leave_out=config.leave_out)
    for one in found:
        _log.info("%s (%s): %s", one.voter, one.why, one.detail)
    if not rows:
        raise BunbukuError(f"{run.database} has no votes yet, or none that count", hint="`bunbuku-eval audit` says why")
    pq.write_table(pa.Table.from_pylist(rows), run.answers)
    _log.info("%d votes are in %s", len(rows), run.answers)


@view("eval.moderate")
def moderate_arena(config: ModerateConfig, *, run: ArenaRun = _HERE) -> None:
    """Block a voter, hide a question or void a vote, or take that back; the arena may be running meanwhile."""
    with _existing(run) as store:
        moderate(store, config.act, config.what, config.why)
    _log.info("%s: %s", config.act, config.what)


@view("eval.audit")
def audit(config: AuditConfig, reports: dict[str, Artifact[Report]], *, run: ArenaRun = _HERE) -> None:
    """Print what is odd about voters, and the last lines of the audit log. With `reports`, reading times are known."""
    pool = Pool(by_question(reports, degenerate=True) if reports else {})
    with _existing(run) as store:
        events, odd = store.events(), suspicions(list(store.votes()), pool)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    table = Table("voter", "suspicion", "what was seen", box=None)
    for one in odd:
        table.add_row(one.voter, one.why, one.detail)
    console.print(table if odd else "nothing is odd about any voter")
    log = Table("when (UTC)", "voter", "what", "", box=None)
    for at, voter, what, detail in events[-config.most_rows :]:
        log.add_row(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)), voter, what, detail)
    console.print(log)


@view("eval.import")
def import_ballots(config: ImportConfig, votes: Path, *, run: ArenaRun = _HERE) -> None:
    """Take votes of a spreadsheet (CSV, TSV, XLSX, JSON Lines, Parquet) into the arena's database; a row counts once.

    Takes `model_a`, `model_b`, `winner` (a, b, tie, both_bad), and `voter`, `category`, `question`, `prompt`, `answer_a`,
    `answer_b`, `reasons` if there are any.
    """
    store = Store(run.database)
    try:
        taken, known = import_votes(store, votes)
    finally:
        store.close()
    _log.info("%d votes were taken, %d were there already", taken, known)


@contextmanager
def _existing(run: ArenaRun) -> Iterator[Store]:
    if not run.database.is_file():
        raise BunbukuError(f"{run.database} is not there", hint="name the arena's `database` in the run settings")
    store = Store(run.database)
    try:
        yield store
    finally:
        store.close()


def _models(checkpoints: dict[str, Artifact[Checkpoint]], run: ArenaRun, stack: ExitStack) -> dict[str, Model]:
    """The live models, by name, closed with the stack."""
    if both := checkpoints.keys() & run.servers.keys():
        raise BunbukuError(f"{min(both)!r} is a checkpoint and a server", hint="give one of them another name")
    if checkpoints:
        require_hugging_face(checkpoints)
    opened = {name: stack.enter_context(open_model(run.engine, one.dir)) for name, one in checkpoints.items()}
    return opened | {name: stack.enter_context(open_model(one, None)) for name, one in run.servers.items()}


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
