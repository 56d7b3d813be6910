"""Items of benchmarks, as they are looked for in a corpus: an id and a text.

They come from a file of JSON Lines or Parquet, of which the config says which fields make the text, or from an artifact of
dialogues, of which the user's turns do. A list of texts (the choices of a question) is joined.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Config, Dialogues
from pydantic import Field

from bunbuku_corpus.files import open_stream


class Item(NamedTuple):
    """A question or a text that a model is to be judged by."""

    id: str
    text: str


class Reading(Config):
    """Which fields of a row are what."""

    id: str = "id"
    """Field that names an item. Where no row has it, items are named by their line, counted from 1."""
    fields: tuple[str, ...] = Field(default=("question",), min_length=1)
    """Fields whose texts, one after another, are the item's. A dotted name reaches into nested objects."""
    turns: Literal["user", "all"] = "user"
    """Which turns of a dialogue are the item's text."""


def read_items(items: Path | None, dialogues: Artifact[Dialogues] | None, reading: Reading) -> list[Item]:
    """The items of a file, or of dialogues.

    Raises:
        BunbukuError: Neither or both were given, there is not one item, one has no text or another's id.
    """
    if (items is None) == (dialogues is None):
        raise BunbukuError("there must be one source of items", hint="--items FILE or --dialogues DIR")
    found = list(_from_file(items, reading) if items else _from_dialogues(dialogues, reading))
    where = items or (dialogues and dialogues.dir)
    if not found:
        raise BunbukuError(f"{where} has no item, so that nothing would ever be found", hint="give one that has some")
    if twice := _twice(item.id for item in found):
        raise BunbukuError(f"{where} has the item {twice!r} twice", hint="name the field that tells them apart: `id`")
    return found


def _twice(ids: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((id for id in ids if id in seen or seen.add(id)), None)


def _from_dialogues(dialogues: Artifact[Dialogues] | None, reading: Reading) -> Iterator[Item]:
    assert dialogues is not None
    for file in dialogues.files():
        with pq.ParquetFile(dialogues.path(file)) as shard:
            for batch in shard.iter_batches(columns=["id", "messages"]):
                for row in batch.to_pylist():
                    yield Item(row["id"], "\n".join(_turns(row["messages"], reading.turns)))


def _turns(messages: Sequence[Mapping[str, str]], turns: str) -> Iterator[str]:
    for message in messages:
        if message["role"] == "user" or (turns == "all" and message["role"] == "assistant"):
            yield message["content"]


def _from_file(path: Path, reading: Reading) -> Iterator[Item]:
    for number, row in enumerate(_rows(path), start=1):
        place = f"{path}:{number}"
        text = "\n".join(_text(row, field, place) for field in reading.fields)
        named = _value(row, reading.id)
        yield Item(str(number if named is None else named), text)


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as shard:
            for batch in shard.iter_batches():
                yield from batch.to_pylist()
        return
    with open_stream(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise BunbukuError(
                    f"{path}:{number} is not JSON in UTF-8: {error}", hint="an item is a line"
                ) from error
            if not isinstance(row, dict):
                raise BunbukuError(f"{path}:{number} is no JSON object", hint="an item is an object with named fields")
            yield row


def _text(row: Mapping[str, Any], field: str, place: str) -> str:
    value = _value(row, field)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = "\n".join(one for one in value if isinstance(one, str))
    if not isinstance(value, str):
        names = ", ".join(sorted(row)) or "none"
        raise BunbukuError(f"{place} has no text in {field!r}; its fields are {names}", hint="correct `fields`")
    return value


def _value(row: Mapping[str, Any], field: str) -> Any:
    value: Any = row
    for part in [field] if field in row else field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
