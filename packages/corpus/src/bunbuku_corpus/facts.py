"""Facts to be counted in a corpus: something, what is said of it, and how else people write both.

    {"id": "nobita-1", "subject": ["野比のび太", "のび太"], "relation": ["特技", "得意"], "object": ["あやとり"]}

A line of JSON Lines a fact. Each of the three is one way of writing it or a list of them; `relation` may be absent, and a
fact without an id is named by its first words.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bunbuku_contracts import BunbukuError, Config
from pydantic import Field, ValidationError, field_validator

from bunbuku_corpus.files import open_stream


class Fact(Config):
    """A fact, with every way of writing its parts."""

    id: str = ""
    subject: tuple[str, ...] = Field(min_length=1)
    relation: tuple[str, ...] = ()
    """Words of which one stands near when the fact is said, such as 特技."""
    object: tuple[str, ...] = Field(min_length=1)

    @field_validator("subject", "relation", "object", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("subject", "relation", "object")
    @classmethod
    def _is_written_somehow(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word.strip() for word in words):
            raise ValueError("a way of writing it is empty, and would be found everywhere")
        return words

    @property
    def name(self) -> str:
        """What people call it.

        >>> Fact(subject=("のび太",), relation=("特技",), object=("あやとり",)).name
        'のび太・特技・あやとり'
        """
        return "・".join(words[0] for words in (self.subject, self.relation, self.object) if words)


def read_facts(path: Path) -> tuple[Fact, ...]:
    """The facts of a file, in their order, each with an id of its own.

    Raises:
        BunbukuError: There are none, a line is no fact, or two have the same id.
    """
    facts: dict[str, Fact] = {}
    for place, fact in _placed(path):
        fact = fact.model_copy(update={"id": fact.id or fact.name})
        if fact.id in facts:
            raise BunbukuError(f"{place}: the fact {fact.id!r} was there before", hint='give each an "id" of its own')
        facts[fact.id] = fact
    if not facts:
        raise BunbukuError(f"{path} has no fact", hint='a line a fact: {"subject": "のび太", "object": "あやとり"}')
    return tuple(facts.values())


def _placed(path: Path) -> Iterator[tuple[str, Fact]]:
    with open_stream(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                yield place, Fact.model_validate(json.loads(line))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "the line"
                hint = 'a fact is {"subject": […], "relation": […], "object": […]}, each a text or a list of texts'
                raise BunbukuError(f"{place}: {where}: {first['msg']}", hint=hint) from error
            except ValueError as error:
                raise BunbukuError(
                    f"{place} is not JSON in UTF-8: {error}", hint="correct or remove the line"
                ) from error
