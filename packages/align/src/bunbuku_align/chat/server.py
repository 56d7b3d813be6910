"""The chat page's server: one page, one script, and three questions that it asks.

Everything that is said is data and is put into the page as text; the page may load nothing but its own script and style,
and a request is refused that comes from another site's page, or that asks for the server by a name it does not have (as a
page does whose name was made to point here).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import urlsplit

from bunbuku_contracts import BunbukuError
from bunbuku_inference import Message, Piece, Request, Sampling, Talker
from bunbuku_inference.talker import last
from fastapi import FastAPI, HTTPException
from fastapi import Request as HttpRequest
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from bunbuku_align.chat.styles import STYLES, Language

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST = 20_000
_MOST_TURNS = 200

type Text = Annotated[str, StringConstraints(max_length=_LONGEST)]
type Keep = Callable[[str, Sequence[Message]], str]
"""Keeps a conversation with the model of this name and says where."""


class Said(BaseModel):
    """A turn, as the page sends it."""

    model_config = ConfigDict(extra="forbid")
    role: Annotated[str, StringConstraints(pattern="^(system|user|assistant)$")]
    content: Text


class Turns(BaseModel):
    """A conversation with one of the models."""

    model_config = ConfigDict(extra="forbid")
    model: Text
    messages: Annotated[list[Said], Field(min_length=1, max_length=_MOST_TURNS)]

    def read(self) -> tuple[Message, ...]:
        """The turns, checked for their order."""
        found = tuple(Message.model_validate(said.model_dump()) for said in self.messages)
        turns = found[1:] if found[0].role == "system" else found
        for index, message in enumerate(turns):
            if message.role != ("assistant" if index % 2 else "user"):
                raise HTTPException(422, f"turn {index + 1} is of {message.role!r}: user and assistant take turns")
        return found


class Asking(Turns):
    """What the next answer is wanted to."""

    temperature: Annotated[float, Field(ge=0, le=5)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 256
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0


def make_app(
    talkers: Mapping[str, Talker],
    *,
    language: Language,
    style: str,
    keep: Keep | None = None,
    hosts: Collection[str] = (),
) -> FastAPI:
    """The server over these models, asked for by the names `hosts` or this machine's own; it keeps conversations if told how."""
    names = {name.lower() for name in hosts} | _HERE
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    about = {
        "models": list(talkers),
        "styles": {name: one.model_dump() for name, one in STYLES.items()},
        "style": style,
        "language": language,
        "keeps": keep is not None,
    }

    @app.middleware("http")
    async def guard(request: HttpRequest, following: Callable[[HttpRequest], Any]) -> Response:
        if problem := _stranger(request.headers, names):
            return PlainTextResponse(problem, 403)
        response = await following(request)
        response.headers.update(_HEADERS)
        return response

    for name, kind in (("chat.html", "text/html"), ("chat.js", "text/javascript"), ("chat.css", "text/css")):
        app.add_api_route("/" if name == "chat.html" else f"/{name}", _page(name, kind), response_class=HTMLResponse)

    @app.get("/about")
    def tell() -> JSONResponse:
        return JSONResponse(about)

    @app.post("/ask")
    def ask(asking: Asking) -> StreamingResponse:
        talker = _known(talkers, asking.model)
        sampling = Sampling(temperature=asking.temperature, top_p=asking.top_p, max_tokens=asking.max_tokens)
        asked = Request(prompt=asking.read(), sampling=sampling, seed=asking.seed)
        return StreamingResponse(_lines(talker, asked), media_type="application/x-ndjson")

    @app.post("/keep")
    def keep_it(turns: Turns) -> JSONResponse:
        _known(talkers, turns.model)
        if keep is None:
            raise HTTPException(404, "this server keeps no conversations: its run settings name no `exports`")
        messages = turns.read()
        if messages[-1].role != "assistant":
            raise HTTPException(422, "the last turn has no answer yet")
        try:
            return JSONResponse({"kept": keep(turns.model, messages)})
        except BunbukuError as error:
            raise HTTPException(409, str(error)) from error

    return app


def _page(name: str, kind: str) -> Callable[[], Response]:
    text = files("bunbuku_align").joinpath("templates", name).read_text(encoding="utf-8")

    def serve() -> Response:
        return Response(text, media_type=f"{kind}; charset=utf-8")

    return serve


def _stranger(headers: Mapping[str, str], names: Collection[str]) -> str | None:
    """Why a request is none from a page of this server's own."""
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    if host not in names:
        return f"{host!r} is no name of this server: `hosts` in its run settings lists them"
    origin = headers.get("origin")
    if origin and urlsplit(origin).netloc != headers.get("host"):
        return "another site's page may not ask here"
    return None


def _known(talkers: Mapping[str, Talker], name: str) -> Talker:
    if name not in talkers:
        raise HTTPException(404, f"no model {name!r} here: {', '.join(talkers)}")
    return talkers[name]


async def _lines(talker: Talker, request: Request) -> AsyncIterator[str]:
    """The answer as it grows, a piece a line. Who goes away before its end has it broken off."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece]()

    def put(piece: Piece) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    asked = talker.begin(request, told=lambda text: put(Piece(text)), done=lambda outcome: put(last(outcome)))
    try:
        while True:
            piece = await pieces.get()
            yield json.dumps(piece._asdict(), ensure_ascii=False) + "\n"
            if piece.finish is not None:
                return
    finally:
        asked.drop()
