"""Labelled examples, a line each: JSON Lines with a text or the id of a document, or fastText's format.

{"text": "今だけ無料！", "label": "bad"}
{"id": "web:17", "label": "good"}

__label__bad 今だけ無料！
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bunbuku_contracts import Artifact, BunbukuError, Config, Corpus

from bunbuku_corpus.document import read_documents
from bunbuku_corpus.files import open_stream

FASTTEXT = "__label__"
"""What a label begins with in fastText's format."""


class Example(NamedTuple):
    """A text and what it is called."""

    text: str
    label: str


class LabelFields(Config):
    """Which fields of a line are what."""

    label: str = "label"
    """Field with the label. Lines without it, or with an empty one, are left out."""
    text: str = "text"
    """Field with the text."""
    id: str = "id"
    """Field with a document's id, for lines without a text; the corpus that has it must be given."""


def read_examples(path: Path, corpus: Artifact[Corpus] | None, fields: LabelFields) -> list[Example]:
    """The labelled texts, in the file's order.

    Raises:
        BunbukuError: There is none, a line has no text, or no document has its id.
    """
    if is_fasttext(path):
        return list(read_fasttext(path))
    lines = [(place, row) for place, row in read_objects(path) if row.get(fields.label)]
    if not lines:
        raise BunbukuError(f"{path} has no line with {fields.label!r}", hint="name the field with `label`")
    wanted = {str(row[fields.id]) for _, row in lines if not row.get(fields.text) and fields.id in row}
    texts = {one.id: one.text for one in read_documents(corpus) if one.id in wanted} if corpus and wanted else {}
    return [Example(_text(place, row, texts, fields), str(row[fields.label])) for place, row in lines]


def is_fasttext(path: Path) -> bool:
    """Whether the first line that is not blank begins with a label of fastText's format."""
    with open_stream(path) as stream:
        return next((line.strip() for line in stream if line.strip()), b"").startswith(FASTTEXT.encode())


def read_fasttext(path: Path) -> Iterator[Example]:
    """The examples of a file in fastText's format: a label at the beginning of each line, the text behind it.

    Raises:
        BunbukuError: A line has no label, or several, or no text, or is not UTF-8.
    """
    with open_stream(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                label, *rest = line.decode("utf-8").split(maxsplit=1)
            except UnicodeDecodeError as error:
                raise BunbukuError(f"{path}:{number} is not UTF-8: {error}", hint="correct that line") from error
            labels = [word for word in (label, *"".join(rest).split()) if word.startswith(FASTTEXT)]
            if labels != [label] or not rest:
                found = (
                    "several labels"
                    if len(labels) > 1
                    else "no text"
                    if labels == [label]
                    else "no label before its text"
                )
                hint = f"a line is one {FASTTEXT}NAME, a space, and a text in one line"
                raise BunbukuError(f"{path}:{number} has {found}", hint=hint)
            yield Example(rest[0].strip(), label.removeprefix(FASTTEXT))


def fasttext_line(example: Example) -> str:
    r"""The example in fastText's format: white space in a text becomes one space, in a label `_`.

    >>> fasttext_line(Example("今だけ\n無料！", "very bad"))
    '__label__very_bad 今だけ 無料！\n'
    """
    return f"{FASTTEXT}{'_'.join(example.label.split())} {' '.join(example.text.split())}\n"


def _text(place: str, row: Mapping[str, Any], texts: Mapping[str, str], fields: LabelFields) -> str:
    text = row.get(fields.text) or texts.get(str(row.get(fields.id)))
    if isinstance(text, str):
        return text
    if fields.id in row:
        hint = "give the --corpus that it is in, or a text in the line"
        raise BunbukuError(f"{place}: there is no document {row[fields.id]!r} to take the text of", hint=hint)
    raise BunbukuError(f"{place} has neither {fields.text!r} nor {fields.id!r}", hint='{"text": "…", "label": "…"}')


def read_labels(path: Path, columns: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """What a file says of documents: id to column to label; what it does not say is left out."""
    found: dict[str, dict[str, str]] = {}
    for place, row in read_objects(path):
        if "id" not in row:
            raise BunbukuError(f'{place} has no "id" of a document', hint='{"id": "…", "purpose": "…"}')
        found[str(row["id"])] = {column: str(row[column]) for column in columns if row.get(column)}
    return found


def read_objects(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a file of JSON Lines, each with its place."""
    with open_stream(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise BunbukuError(
                    f"{path}:{number} is not JSON in UTF-8: {error}", hint="correct that line"
                ) from error
            if not isinstance(row, dict):
                raise BunbukuError(f"{path}:{number} is no JSON object", hint='a line is {"text": "…", "label": "…"}')
            yield f"{path}:{number}", row
