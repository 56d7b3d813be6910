"""A conversation as ids, in which no message can forge a special token.

The template of a tokenizer is rendered with a stand-in for every message, and the text is cut at the stand-ins: what the
template itself says may name special tokens, what a person or a document says is text. Rendering is Hugging Face's
(Jinja in a sandbox, with its `generation` mark around what a model learns to say).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from bunbuku_contracts import BunbukuError
from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_OPEN, _CLOSE, _BEGIN, _END = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
"""Noncharacters that mark stand-ins and learned stretches in what is rendered; messages never get there."""
_MARKS = re.compile(f"{_OPEN}(\\d+){_CLOSE}|([{_BEGIN}{_END}])")

type Message = Mapping[str, str]


class Segment(NamedTuple):
    """A stretch of a rendered conversation."""

    text: str
    said: bool
    """Whether it is a message's content, not the template's own words."""
    learned: bool
    """Whether a model learns to say it."""


class Conversation(NamedTuple):
    """A conversation as ids."""

    ids: list[int]
    learned: list[bool]
    """For every id, whether a model learns to say it: the assistant's turns with the tokens that end them."""


def segments(
    template: str, messages: Sequence[Message], *, tokens: Mapping[str, str], add_generation_prompt: bool = False
) -> Iterator[Segment]:
    """The parts of a conversation in order, empty ones left out.

    Args:
        template: A chat template as in `tokenizer_config.json`.
        messages: Each with `role` and `content`.
        tokens: What the template may name, for example `bos_token`.
        add_generation_prompt: Whether the assistant is to speak next.

    Raises:
        BunbukuError: The template refuses the conversation, or looks at what is said.
    """
    stand_ins = [{**message, "content": f"{_OPEN}{index}{_CLOSE}"} for index, message in enumerate(messages)]
    try:
        rendered = _compiled(template).render(messages=stand_ins, add_generation_prompt=add_generation_prompt, **tokens)
    except TemplateError as error:
        raise BunbukuError(f"the chat template refuses the conversation: {error}") from error
    learned, at = False, 0
    for mark in _MARKS.finditer(rendered):
        if mark.start() > at:
            yield Segment(rendered[at : mark.start()], said=False, learned=learned)
        at = mark.end()
        if mark[2]:
            learned = mark[2] == _BEGIN
        elif content := messages[int(mark[1])]["content"]:
            yield Segment(content, said=True, learned=learned)
    if rendered[at:]:
        yield Segment(rendered[at:], said=False, learned=learned)


def encode(
    parts: Iterator[Segment], *, specials: Mapping[str, int], encode_text: Callable[[str], list[int]]
) -> Conversation:
    """The ids of rendered segments, special tokens matched in the template's own words only."""
    matcher = re.compile("|".join(map(re.escape, sorted(specials, key=len, reverse=True))))
    made = Conversation([], [])
    for part in parts:
        ids = encode_text(part.text) if part.said else _matched(part.text, matcher, specials, encode_text)
        made.ids.extend(ids)
        made.learned.extend([part.learned] * len(ids))
    return made


def _matched(
    text: str, matcher: re.Pattern[str], specials: Mapping[str, int], encode_text: Callable[[str], list[int]]
) -> list[int]:
    ids: list[int] = []
    at = 0
    for found in matcher.finditer(text):
        ids += [*encode_text(text[at : found.start()]), specials[found[0]]]
        at = found.end()
    return ids + encode_text(text[at:])


class _Generation(Extension):
    """`{% generation %}`: marks what a model learns to say."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        mark = (nodes.Output([nodes.TemplateData(each)], lineno=line) for each in (_BEGIN, _END))
        return nodes.Scope([next(mark), *body, next(mark)], lineno=line)


@cache
def _compiled(template: str) -> Any:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(template)


def _refuse(message: str) -> None:
    raise TemplateError(message)
