"""The Parquet edge: rows of dialogues and preferences artifacts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, ArtifactError, Dialogues, Preferences

from bunbuku_align.examples import Dialogue, Message, Preference

_BATCH_ROWS = 1024
_TOLD = ("task", "teacher", "generator", "rejected_by")
"""Columns that only the report on the mix reads; rows of elsewhere may lack them."""


def read_dialogues(artifact: Artifact[Dialogues]) -> Iterator[Dialogue]:
    """Every dialogue, in the order of files and rows."""
    for file in artifact.files():
        for row in _rows(artifact.path(file), ("id", "messages")):
            made_by = row.get("teacher") or row.get("generator") or "-"
            yield Dialogue(row["id"], _messages(row["messages"]), row.get("task") or "-", made_by)


def read_preferences(artifact: Artifact[Preferences]) -> Iterator[Preference]:
    """Every preference, in the order of files and rows."""
    for file in artifact.files():
        for row in _rows(artifact.path(file), ("id", "prompt", "chosen", "rejected")):
            task, made_by = row.get("task") or "-", row.get("rejected_by") or "-"
            yield Preference(row["id"], _messages(row["prompt"]), row["chosen"], row["rejected"], task, made_by)


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


def _messages(rows: list[dict[str, str]]) -> list[Message]:
    return [Message(row["role"], row["content"]) for row in rows]
