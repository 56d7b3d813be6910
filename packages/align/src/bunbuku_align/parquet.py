"""The Parquet edge: rows of dialogues and preferences artifacts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, ArtifactError, Dialogues, Preferences

from bunbuku_align.examples import Dialogue, Message, Preference

_BATCH_ROWS = 1024
_TOLD = ("task", "teacher", "generator", "rejected_by", "domain", "language")
"""Columns that only the report on the mix reads; rows of elsewhere may lack them."""


def read_dialogues(artifact: Artifact[Dialogues]) -> Iterator[Dialogue]:
    """Every dialogue, in the order of files and rows."""
    for path, row in _every(artifact, ("id", "messages")):
        made_by = row.get("teacher") or row.get("generator") or "-"
        messages = _messages(path, row["id"], row["messages"])
        yield Dialogue(row["id"], messages, row.get("task") or "-", made_by, _domain(row))


def read_preferences(artifact: Artifact[Preferences]) -> Iterator[Preference]:
    """Every preference, in the order of files and rows."""
    for path, row in _every(artifact, ("id", "prompt", "chosen", "rejected")):
        id, task, made_by = row["id"], row.get("task") or "-", row.get("rejected_by") or "-"
        for name in ("chosen", "rejected"):
            if row[name] is None:
                raise _nothing(path, id, f"its {name} answer")
        prompt = _messages(path, id, row["prompt"])
        yield Preference(id, prompt, row["chosen"], row["rejected"], task, made_by, _domain(row))


def _every(artifact: Artifact[Any], columns: tuple[str, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in artifact.files():
        path = artifact.path(file)
        for row in _rows(path, columns):
            yield path, row


def _domain(row: dict[str, Any]) -> str:
    return row.get("domain") or row.get("language") or "-"


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            missing = set(columns) - set(file.schema_arrow.names)
            if missing:
                raise ArtifactError(
                    f"{path} has no column {', '.join(map(repr, sorted(missing)))}",
                    hint=f"its columns are: {', '.join(file.schema_arrow.names)}",
                )
            told = [name for name in _TOLD if name in file.schema_arrow.names]
            for batch in file.iter_batches(_BATCH_ROWS, columns=[*columns, *told]):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise ArtifactError(f"{path} does not read as Parquet: {error}", hint="make the artifact again") from error


def _messages(path: Path, id: str, rows: list[dict[str, str | None]] | None) -> list[Message]:
    found: list[Message] = []
    for number, row in enumerate(rows or (), 1):
        role, content = row["role"], row["content"]
        if role is None or content is None:
            raise _nothing(path, id, f"the {'role' if role is None else 'content'} of turn {number}")
        found.append(Message(role, content))
    return found


def _nothing(path: Path, id: str, what: str) -> ArtifactError:
    return ArtifactError(f"{path}, row {id!r}: {what} is null", hint="leave the row out, or give an empty text")
