"""The web application: a page, and what it asks for. Nobody learns a model's name before the vote."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from bunbuku_eval.arena.board import Board, Ties, View
from bunbuku_eval.arena.gate import TOO_MANY, Gate
from bunbuku_eval.arena.limits import Limit
from bunbuku_eval.arena.live import Live
from bunbuku_eval.arena.store import Store
from bunbuku_eval.arena.tables import SIDES, Choice, Duel, Pool, Turn

MAX_BODY_BYTES = 32_768
PAUSE_SECONDS = 0.06
"""Between two looks at what has been written."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FILES = {
    "/": ("arena.html", "text/html"),
    "/arena.js": ("arena.js", "text/javascript"),
    "/arena.css": ("arena.css", "text/css"),
}

type Reason = Literal["correct", "useful", "natural", "concise", "harmless"]
type Id = Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]


class Ballot(BaseModel):
    """What a voter sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    duel: Id
    winner: Choice
    reasons: Annotated[list[Reason], Field(max_length=5)] = []


class Prompting(BaseModel):
    """What a voter asks two models: a new duel, or one more turn of an open one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[str, Field(min_length=1, max_length=8000, pattern=r"\S")]
    duel: Id | None = None


@dataclass(frozen=True)
class Rules:
    """What a live duel may be."""

    most_turns: int = 1
    most_prompt_chars: int = 2000
    prompts: Limit | None = None
    """Of each voter's prompts."""


@dataclass(frozen=True)
class Arena:
    """What the application answers with."""

    store: Store
    pool: Pool
    gate: Gate
    board: Board
    live: Live | None
    rules: Rules

    def about(self, request: Request) -> dict[str, Any]:
        """What can be done here."""
        self.gate.voter(request)
        rules = {"most_turns": self.rules.most_turns, "most_prompt_chars": self.rules.most_prompt_chars}
        return {"stored": bool(self.pool.pairs), "live": self.live is not None, **rules}

    def duel(self, request: Request) -> dict[str, Any]:
        """Two stored answers, without names."""
        found = self.store.duel(self.gate.voter(request), self.pool)
        if found is None:
            return {"done": True}
        shown = self.pool.answers[found.question]
        left, right = shown[found.left], shown[found.right]
        return _told(found, [Turn(left.question, left.answer, right.answer)])

    def open(self, request: Request) -> dict[str, Any]:
        """The voter's live duel, if one is open."""
        voter = self.gate.voter(request)
        found = self._live(voter)
        return _told(*found) if found else {"done": True}

    def _live(self, voter: str) -> tuple[Duel, list[Turn]] | None:
        """The voter's open live duel. One whose answers were lost with a server that died is closed first."""
        if self.live is None:
            return None
        with self.live.starting:
            found = self.store.live(voter)
            if found and not found[1][-1].whole and self.live.running(found[0].id) is None:
                self.store.fail(found[0].id, "the server was stopped meanwhile")
                return None
            return found

    def prompt(self, asked: Prompting, request: Request) -> dict[str, Any]:
        """Put a prompt to two models; the answers come by `stream`."""
        voter = self.gate.voter(request)
        if self.live is None:
            raise HTTPException(404, "no model answers here; there are stored answers")
        if len(asked.prompt) > self.rules.most_prompt_chars:
            raise HTTPException(422, f"a prompt has at most {self.rules.most_prompt_chars} characters")
        if self.rules.prompts and not self.rules.prompts.allows(voter):
            raise HTTPException(429, TOO_MANY)
        with self.live.starting:
            if asked.duel is None:
                made = self.store.begin(voter, self.live.names, asked.prompt)
            else:
                made = self.store.go_on(voter, asked.duel, asked.prompt, most_turns=self.rules.most_turns)
            found = self.store.live(voter) if made else None
            if found is None:
                raise HTTPException(409, "another duel is open, or this prompt has been had")
            self.live.ask(*found)
        return _told(*found)

    def stream(self, duel: str, request: Request) -> StreamingResponse:
        """Lines of JSON: what each side has written so far, until both answers are whole. Only for whose duel it is."""
        voter = self.gate.voter(request)
        found = self._live(voter)
        if found is None or found[0].id != duel:
            raise HTTPException(404, "there is no such duel")
        return StreamingResponse(self._lines(voter, duel), media_type="application/x-ndjson")

    async def _lines(self, voter: str, duel: str) -> AsyncIterator[str]:
        shown: dict[str, tuple[str, bool]] = {}
        while self.live is not None and (running := self.live.running(duel)):
            for side in SIDES:
                now = running.texts[side], side in running.whole
                if now != shown.get(side, ("", False)):
                    shown[side] = now
                    yield json.dumps({"side": side, "text": now[0], "whole": now[1]}, ensure_ascii=False) + "\n"
            await asyncio.sleep(PAUSE_SECONDS)
        found = await run_in_threadpool(self._live, voter)
        if found is None or found[0].id != duel or not found[1][-1].whole:
            yield json.dumps({"failed": True}) + "\n"
            return
        for side in SIDES:
            text = getattr(found[1][-1], side)
            yield json.dumps({"side": side, "text": text, "whole": True}, ensure_ascii=False) + "\n"
        yield json.dumps({"ready": True}) + "\n"

    def vote(self, ballot: Ballot, request: Request) -> dict[str, str]:
        """Take a vote, and tell the names."""
        found = self.store.vote(self.gate.voter(request), ballot.duel, ballot.winner, ballot.reasons)
        if found is None:
            raise HTTPException(409, "this duel is not yours, is not ready, or has been decided")
        return {"left": found.left, "right": found.right}

    def leaderboard(
        self, request: Request, category: str = "", style: bool = False, ties: Ties = "half"
    ) -> dict[str, Any]:
        """Ratings so far."""
        self.gate.voter(request)
        shown = self.board.show(View(category, style, ties))
        if shown is None:
            raise HTTPException(404, "nobody has voted on such a category")
        return shown


def arena_app(arena: Arena) -> FastAPI:
    """The application. It closes the models and the store when it is shut down."""

    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[None]:
        yield
        if arena.live:
            arena.live.close()
        arena.store.close()

    app = FastAPI(title="arena", docs_url=None, redoc_url=None, openapi_url=None, lifespan=closing)
    app.middleware("http")(_guard)
    app.exception_handler(RequestValidationError)(_misunderstood)
    app.get("/v/{token}", response_model=None)(arena.gate.enter)
    app.get("/api/about")(arena.about)
    app.get("/api/duel")(arena.duel)
    app.get("/api/open")(arena.open)
    app.post("/api/prompt")(arena.prompt)
    app.get("/api/stream/{duel}", response_model=None)(arena.stream)
    app.post("/api/vote")(arena.vote)
    app.get("/api/leaderboard")(arena.leaderboard)
    for path, (name, kind) in _FILES.items():
        app.get(path, response_model=None)(_sender(name, kind))
    return app


async def _guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    size = request.headers.get("content-length", "0")
    if not size.isdigit() or int(size) > MAX_BODY_BYTES or "transfer-encoding" in request.headers:
        return JSONResponse({"detail": "too large"}, 413, headers=HEADERS)
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        return JSONResponse({"detail": "another site's page may not ask here"}, 403, headers=HEADERS)
    response = await call(request)
    response.headers.update(HEADERS)
    return response


async def _misunderstood(request: Request, error: Exception) -> Response:
    """Says which fields are wrong and repeats nothing of what was sent, which need not even be text."""
    assert isinstance(error, RequestValidationError)
    fields = sorted({str(part) for one in error.errors() for part in one["loc"][1:2] if str(part).isidentifier()})
    return JSONResponse({"detail": "not understood", "fields": fields}, 422)


def _told(duel: Duel, turns: list[Turn]) -> dict[str, Any]:
    """A duel as a voter sees it."""
    return {"id": duel.id, "turns": [turn._asdict() for turn in turns], "ready": turns[-1].whole}


def _sender(name: str, kind: str) -> Callable[[], Response]:
    def send() -> Response:
        return Response(_text(name), media_type=f"{kind}; charset=utf-8")

    return send


@cache
def _text(name: str) -> str:
    return files("bunbuku_eval").joinpath("templates", name).read_text(encoding="utf-8")
