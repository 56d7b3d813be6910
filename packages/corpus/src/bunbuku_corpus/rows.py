"""From a row of somebody's data to a document: which field is what, and what to do where one is absent.

A row has a place (`web.jsonl.zst:17`) that every complaint names. A document without an id of its own is named by a
hash of its address and text, so that it keeps that name whatever is added before it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from bunbuku_contracts import BunbukuError, Config

from bunbuku_corpus.document import UNDETERMINED, Document

_SURROGATE = re.compile("[\ud800-\udfff]")
UNKNOWN = "unknown"


class Row(NamedTuple):
    """A mapping of field names to values, and where it stands."""

    place: str
    values: Mapping[str, Any]


class Fields(Config):
    """Names of the fields that a document is made of. A dotted name reaches into nested objects: `meta.url`."""

    id: str = "id"
    """Names the document. Where a row has none, a hash of its address and text does."""
    text: str = "text"
    """The text; every row must have it."""
    source: str = "source"
    """The collection a document belongs to."""
    url: str = "url"
    """Where a document can be found."""
    licence: str = "licence"
    """Under what licence it may be used."""
    language: str = "language"
    """What it is written in, ISO 639-1."""


type Shape = Literal["plain", "culturax", "fineweb-2", "llm-jp-corpus", "mc4", "slimpajama"]

SHAPES: Mapping[Shape, Mapping[str, str]] = {
    "plain": {},
    "culturax": {"id": "", "licence": "", "language": ""},  # text, timestamp, url, source
    "fineweb-2": {"source": "dump"},  # text, id, dump, url, date, file_path, language (ISO 639-3), …
    "llm-jp-corpus": {
        "id": "meta.id",
        "url": "meta.url",
        "source": "meta.source",
        "licence": "meta.license",
        "language": "meta.language",
    },
    "mc4": {"id": "", "source": "", "licence": "", "language": ""},  # text, timestamp, url
    "slimpajama": {"id": "", "source": "meta.redpajama_set_name", "url": "meta.url"},
}
"""What the fields of well-known collections are called, where that is not what `Fields` calls them; nothing if there is none."""

_ISO_639_3 = {"jpn": "ja", "eng": "en", "zho": "zh", "cmn": "zh", "kor": "ko"}


def shaped(fields: Fields, shape: Shape) -> Fields:
    """The fields of a collection; those that a config names stay as it names them."""
    named = fields.model_dump(include=fields.model_fields_set)
    return Fields.model_construct(fields.model_fields_set, **{**Fields().model_dump(), **SHAPES[shape], **named})


class Defaults(NamedTuple):
    """What a document gets where its row says nothing."""

    source: str
    licence: str = UNKNOWN
    language: str = UNDETERMINED


type Failed = Callable[[Row, BunbukuError], None]


def read_documents(
    rows: Iterable[Row], fields: Fields, defaults: Defaults, failed: Failed | None = None
) -> Iterator[tuple[str, Document]]:
    """A document for each row, with its place.

    Raises:
        BunbukuError: A row makes no document, and `failed` is not told; or a field that was named in the config is in no row.
    """
    found: Counter[str] = Counter()
    last: Row | None = None
    repeats: Counter[str] = Counter()
    for last in rows:
        try:
            document = _document(last, fields, defaults, found, repeats)
        except BunbukuError as error:
            if failed is None:
                raise
            failed(last, error)
        else:
            yield last.place, document
    if last is not None:
        _refuse_misspelt(fields, found, last)


def _document(row: Row, fields: Fields, defaults: Defaults, found: Counter[str], repeats: Counter[str]) -> Document:
    found.update(name for name, key in fields.model_dump().items() if _has(row, key))
    values = {name: _text_of(row, name, key) for name, key in fields.model_dump().items()}
    text = values["text"]
    if text is None:
        raise BunbukuError(
            f"{row.place} has no field {fields.text!r}; it has {_names(row)}",
            hint='say which field holds the text: fields = { text = "…" }',
        )
    source = values["source"] or defaults.source
    return Document(
        id=values["id"] or _content_id(source, values["url"], text, repeats),
        text=text,
        source=source,
        url=values["url"],
        licence=values["licence"] or defaults.licence,
        language=_language(values["language"]) or defaults.language,
    )


def _refuse_misspelt(fields: Fields, found: Counter[str], row: Row) -> None:
    """A field that the config names and no row has is a mistake, which defaults would hide."""
    for name in sorted(fields.model_fields_set):
        if not found[name]:
            key = getattr(fields, name)
            raise BunbukuError(
                f"no row has the field {key!r} that `fields.{name}` names; {row.place} has {_names(row)}",
                hint=f"correct `fields.{name}`, or leave it out",
            )


def _names(row: Row) -> str:
    return ", ".join(map(repr, sorted(row.values))) or "none"


def _value(row: Row, key: str) -> Any:
    value: Any = row.values
    for part in [key] if key in row.values else key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _has(row: Row, key: str) -> bool:
    return bool(key) and _value(row, key) not in (None, "")


def _text_of(row: Row, name: str, key: str) -> str | None:
    """The field as text, `None` if the row lacks it; numbers are written out for everything but the text."""
    value = _value(row, key) if key else None
    if value is None and name == "text" and key in row.values:
        raise BunbukuError(
            f"{row.place}: {key!r} is null, not a text", hint="leave that row out, or name another field"
        )
    if value is None or (value == "" and name != "text"):
        return None
    if not isinstance(value, str) and (name == "text" or not isinstance(value, int)):
        raise BunbukuError(
            f"{row.place}: {key!r} is {value!r:.60}, not a text", hint="make it a JSON string, or name another field"
        )
    text = str(value)
    if lone := _SURROGATE.search(text):
        raise BunbukuError(
            f"{row.place}: {key!r} holds half of a surrogate pair, {lone[0]!a}, which is no character",
            hint="remove it from the data; a program cut a text in the middle of a character",
        )
    return text


def _language(code: str | None) -> str | None:
    """The code in ISO 639-1 where it was in ISO 639-3, perhaps with a script: `jpn_Jpan`."""
    return _ISO_639_3.get(code.partition("_")[0], code) if code else None


def _content_id(source: str, url: str | None, text: str, repeats: Counter[str]) -> str:
    digest = hashlib.sha256(f"{url or ''}\n{text}".encode()).hexdigest()[:16]
    id = f"{source}:{digest}"
    repeats[digest] += 1
    return id if repeats[digest] == 1 else f"{id}~{repeats[digest]}"
