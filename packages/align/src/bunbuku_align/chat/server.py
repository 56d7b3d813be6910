"""The chat page's server: one page, one script, and three questions that it asks.

Everything that is said is data and is put into the page as text; the page may load nothing but its own script and style,
and a request from another site's page is refused.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import urlsplit

from bunbuku_contracts import BunbukuError
from bunbuku_inference import Message, Request, Sampling
from fastapi import FastAPI, HTTPException
from fastapi import Request as HttpRequest
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from bunbuku_align.chat.styles import STYLES, Language
from bunbuku_align.chat.talker import Talker

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
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


def make_app(talkers: Mapping[str, Talker], *, language: Language, style: str, keep: Keep | None) -> FastAPI:
    """The server over these models; conversations can be kept if it is said how."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    about = {
        "models": list(talkers),
        "styles": {name: one._asdict() for name, one in STYLES.items()},
        "style": style,
        "language": language,
        "keeps": keep is not None,
    }

    @app.middleware("http")
    async def guard(request: HttpRequest, following: Callable[[HttpRequest], Any]) -> Response:
        origin = request.headers.get("origin")
        if origin and urlsplit(origin).netloc != request.headers.get("host"):
            return PlainTextResponse("another site's page may not ask here", 403)
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


def _known(talkers: Mapping[str, Talker], name: str) -> Talker:
    if name not in talkers:
        raise HTTPException(404, f"no model {name!r} here: {', '.join(talkers)}")
    return talkers[name]


def _lines(talker: Talker, request: Request) -> Iterator[str]:
    for piece in talker.ask(request):
        yield json.dumps(piece._asdict(), ensure_ascii=False) + "\n"
