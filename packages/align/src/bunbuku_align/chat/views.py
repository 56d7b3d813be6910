"""`chat`, a page to talk to checkpoints, and `talk`, the same in a terminal."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated

from bunbuku_contracts import (
    Artifact,
    Checkpoint,
    Config,
    ConfigError,
    Dialogues,
    Draft,
    RunSettings,
    stage,
    view,
)
from bunbuku_inference import AnyEngine, Message, Piece, Request, Sampling, Talker, TransformersEngine, open_model
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bunbuku_align.chat.styles import STYLES, Language


class ChatConfig(Config):
    """How a conversation begins; the page and the terminal can change all of it."""

    language: Language = "ja"
    """Of the page."""
    style: str = "default"
    """The way of speaking that the system prompt asks for: default, schoolmate, polite, teacher, plain, lists or
    tanuki."""
    system: str | None = None
    """A system prompt of one's own, instead of the style's. In a terminal."""
    temperature: NonNegativeFloat = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: PositiveInt = 256
    seed: NonNegativeInt = 0


class ChatRun(RunSettings):
    """Where the models run and where the page is served."""

    engine: AnyEngine = TransformersEngine()
    host: str = "127.0.0.1"
    """Anyone who reaches it can talk: keep it on this machine, or behind something that asks who they are."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8008
    hosts: tuple[str, ...] = ()
    """Names, without a port, by which browsers may ask for the page, besides `host`, localhost and 127.0.0.1. Any other is
    refused: it may be another site's name that was made to point here."""
    exports: str | None = None
    """Folder in which the page's conversations are kept as dialogues artifacts; left out, none are."""


_HERE = ChatRun()


class ConversationConfig(Config):
    """A conversation that was had."""

    model: str
    """Content of the checkpoint that answered."""
    messages: tuple[Message, ...]


@stage("align.conversation")
def conversation(draft: Draft, config: ConversationConfig) -> Dialogues:
    """Keep a conversation as a dialogues artifact of one row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {
        "id": f"chat:{_digest(config)}",
        "messages": [message.model_dump() for message in config.messages],
        "task": "chat",
        "language": "ja",
        "source": None,
        "template": "chat@1",
        "generator": "teacher",
        "teacher": config.model,
        "seed": 0,
        "licence": "unknown",
        "choices": None,
        "answer": None,
    }
    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    kinds = {"messages": pa.list_(turn), "seed": pa.int64(), "choices": pa.list_(pa.string()), "answer": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in row])
    pq.write_table(pa.Table.from_pylist([row], schema), draft.dir / "part-00000.parquet")
    draft.count(draft.dir / "part-00000.parquet", rows=1)
    return Dialogues()


@view("align.chat")
def chat(config: ChatConfig, models: dict[str, Artifact[Checkpoint]], *, run: ChatRun = _HERE) -> None:
    """Serve a page to talk to one checkpoint, or to several side by side, `--models NAME=DIR` each.

    Answers appear while they are written. The page has the style presets, the sampling settings and both languages; with
    `exports` in the run settings it keeps conversations as dialogues artifacts, which `sft` can train on.
    """
    import uvicorn

    from bunbuku_align.chat.server import make_app

    _check(config)
    with ExitStack() as stack:
        talkers = {
            name: stack.enter_context(Talker(name, open_model(run.engine, model.dir))) for name, model in models.items()
        }
        contents = {name: model.content for name, model in models.items()}
        keep = None if run.exports is None else partial(keep_in, Path(run.exports), contents)
        app = make_app(talkers, language=config.language, style=config.style, keep=keep, hosts=(run.host, *run.hosts))
        Console(stderr=True).print(f"http://{run.host}:{run.port}/ (Ctrl-C ends it)")
        uvicorn.run(app, host=run.host, port=run.port, log_level="warning")


@view("align.talk")
def talk(config: ChatConfig, model: Artifact[Checkpoint], *, run: ChatRun = _HERE) -> None:
    """Talk to a checkpoint in the terminal: a line is a turn; `/new` begins again, `/system TEXT` sets the system prompt.

    Ctrl-C breaks an answer off; an empty line or the end of the input ends the conversation.
    """
    _check(config)
    console = Console(highlight=False, soft_wrap=True)
    first = STYLES[config.style].system if config.system is None else config.system
    said: list[Message] = []
    with Talker("model", open_model(run.engine, model.dir)) as talker:
        while line := _line(console):
            if line == "/new":
                said = []
                continue
            if line.startswith("/system"):
                first, said = line.removeprefix("/system").strip(), []
                continue
            said.append(Message(role="user", content=line))
            system = [Message(role="system", content=first)] if first else []
            answer = _shown(console, talker, _request(config, [*system, *said]))
            if answer.finish == "error":
                said.pop()  # the question that got no answer
            else:
                said.append(Message(role="assistant", content=answer.text))


def keep_in(folder: Path, contents: dict[str, str], name: str, messages: Sequence[Message]) -> str:
    """Keep a conversation under a name made of what was said, and say where; the same one is kept once."""
    config = ConversationConfig(model=contents[name], messages=tuple(messages))
    folder.mkdir(parents=True, exist_ok=True)
    return str(conversation(folder / f"conversation-{_digest(config)}", config).dir)


def _digest(config: ConversationConfig) -> str:
    text = json.dumps(config.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check(config: ChatConfig) -> None:
    if config.style not in STYLES:
        raise ConfigError(f"`style` {config.style!r} is not known", hint=f"take one of: {', '.join(STYLES)}")


def _request(config: ChatConfig, messages: Sequence[Message]) -> Request:
    sampling = Sampling(temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens)
    return Request(prompt=tuple(messages), sampling=sampling, seed=config.seed)


def _line(console: Console) -> str:
    try:
        return console.input("[bold]> [/bold]").strip()
    except EOFError:
        return ""


def _shown(console: Console, talker: Talker, request: Request) -> Piece:
    """Show an answer as it grows, as plain text whatever it looks like; what there is of it, if it is broken off."""
    piece = Piece("")
    with (
        Live(Text(""), console=console, refresh_per_second=12, vertical_overflow="visible") as live,
        closing(talker.ask(request)) as pieces,
    ):
        try:
            for piece in pieces:
                live.update(Text(piece.text, style="red" if piece.finish == "error" else ""))
        except KeyboardInterrupt:
            live.update(Text(f"{piece.text} …"))
    return piece
