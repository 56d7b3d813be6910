"""The web application: a page, and four things it asks for. Nobody learns a model's name before the vote."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from bunbuku_eval.arena.limits import Limit
from bunbuku_eval.arena.links import voter_of
from bunbuku_eval.arena.store import Choice, Store
from bunbuku_eval.judging import Shown
from bunbuku_eval.ratings import elo, ranks, rate
from bunbuku_eval.votes import OUTCOMES, Votes, one_sided, without

COOKIE = "voter"
MAX_BODY_BYTES = 4096
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


class Ballot(BaseModel):
    """What a voter sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    duel: Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
    winner: Choice
    reasons: Annotated[list[Reason], Field(max_length=5)] = []


@dataclass(frozen=True)
class Arena:
    """What the application answers with."""

    store: Store
    answers: dict[str, dict[str, Shown]]
    secret: str
    limit: Limit
    min_votes: int

    def voter(self, request: Request) -> str:
        """Who asks; an error for strangers, and for those who ask too often."""
        found = voter_of(request.cookies.get(COOKIE, ""), secret=self.secret)
        if found is None or self.store.is_blocked(found):
            raise HTTPException(403, "you need an invitation")
        if not self.limit.allows(found):
            raise HTTPException(429, "too many requests; wait a little")
        return found

    def enter(self, token: str) -> Response:
        """Take an invitation."""
        found = voter_of(token, secret=self.secret)
        if found is None:
            return JSONResponse({"detail": "this invitation is not valid, or no longer"}, 403)
        if self.limit.allows(found):
            self.store.note(found, "entered")
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=30 * 86400)
        return response

    def duel(self, request: Request) -> dict[str, Any]:
        """Two answers, without names."""
        found = self.store.duel(self.voter(request), self.answers)
        if found is None:
            return {"done": True}
        shown = self.answers[found.question]
        question = shown[found.left].question
        return {
            "id": found.id,
            "question": question,
            "left": shown[found.left].answer,
            "right": shown[found.right].answer,
        }

    def vote(self, ballot: Ballot, request: Request) -> dict[str, str]:
        """Take a vote, and tell the names."""
        found = self.store.vote(self.voter(request), ballot.duel, ballot.winner, ballot.reasons)
        if found is None:
            raise HTTPException(409, "this duel is not yours, or has been decided")
        return {"left": found.left, "right": found.right}

    def leaderboard(self, request: Request) -> dict[str, Any]:
        """Ratings so far."""
        self.voter(request)
        return board(self.store, min_votes=self.min_votes)


def arena_app(
    store: Store, answers: Mapping[str, Mapping[str, Shown]], *, secret: str, limit: Limit, min_votes: int = 20
) -> FastAPI:
    """The application. It closes the store when it is shut down.

    Args:
        store: Where duels and votes are kept.
        answers: By question and model.
        secret: Signs invitations.
        limit: Of each voter's requests.
        min_votes: Votes before there is a leaderboard.
    """

    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = FastAPI(title="arena", docs_url=None, redoc_url=None, openapi_url=None, lifespan=closing)
    arena = Arena(store, {question: dict(models) for question, models in answers.items()}, secret, limit, min_votes)
    app.middleware("http")(_guard)
    app.get("/v/{token}", response_model=None)(arena.enter)
    app.get("/api/duel")(arena.duel)
    app.post("/api/vote")(arena.vote)
    app.get("/api/leaderboard")(arena.leaderboard)
    for path, (name, kind) in _FILES.items():
        app.get(path, response_model=None)(_sender(name, kind))
    return app


async def _guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    size = request.headers.get("content-length", "0")
    if not size.isdigit() or int(size) > MAX_BODY_BYTES or "transfer-encoding" in request.headers:
        return JSONResponse({"detail": "too large"}, 413, headers=HEADERS)
    response = await call(request)
    response.headers.update(HEADERS)
    return response


def board(store: Store, *, min_votes: int) -> dict[str, Any]:
    """Ratings of the votes so far, without voters who take one side."""
    found = list(store.votes())
    if len(found) < min_votes:
        return {"votes": len(found), "needed": min_votes, "rows": []}
    votes = Votes.of(
        [one.model_a for one in found],
        [one.model_b for one in found],
        [OUTCOMES[one.winner] for one in found],  # pyright: ignore[reportArgumentType]
        voters=[one.voter for one in found],
    )
    kept = without(votes, [one.voter for one in one_sided(votes)])
    ratings = rate(kept, rounds=0)
    rows = [
        {
            "place": place,
            "model": row.model,
            # Whoever won or lost every time has no rating yet.
            "rating": round(row.elo) if row.bounded else None,
            "interval": [round(elo(end)) for end in row.sandwich] if row.bounded else None,
            "votes": row.votes,
        }
        for place, row in zip(ranks(ratings), ratings.rows, strict=True)
    ]
    return {"votes": len(found), "needed": min_votes, "rows": rows}


def _sender(name: str, kind: str) -> Callable[[], Response]:
    def send() -> Response:
        return Response(_text(name), media_type=f"{kind}; charset=utf-8")

    return send


@cache
def _text(name: str) -> str:
    return files("bunbuku_eval").joinpath("templates", name).read_text(encoding="utf-8")
