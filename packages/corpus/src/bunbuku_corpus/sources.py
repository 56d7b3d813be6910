"""Where documents come from: a discriminated union of sources, each a config that reads itself.

A source that reads files finds them under the role `--source`, which is a folder or one file; each source names its
files by a pattern, so that several can share a folder. A source on the hub needs no path. Files are read in the order
of their names, lines and rows in theirs.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import BunbukuError, Config
from pydantic import Field, PositiveInt, StringConstraints, model_validator

from bunbuku_corpus.arrow import batches_of
from bunbuku_corpus.document import UNDETERMINED, Document, Placed
from bunbuku_corpus.files import find_files, needed, open_stream
from bunbuku_corpus.rows import UNKNOWN, Defaults, Fields, Row, Shape, read_documents, shaped
from bunbuku_corpus.tatoeba import TatoebaSource

Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
_BATCH_ROWS = 256


class _Rows(Config):
    """A source of rows, which `fields` makes documents of."""

    name: str | None = None
    """What documents whose rows name no source are called; the file's name if nothing is said."""
    licence: str = UNKNOWN
    """Licence of documents whose rows state none."""
    language: str = UNDETERMINED
    """Language of documents whose rows state none; `clean` identifies those that are left `und`."""
    fields: Fields = Fields()
    """Which field of a row is what."""
    shape: Shape = "plain"
    """A collection whose fields' names are known: `fields` need then say nothing."""

    def _documents(self, rows: Iterable[Row], name: str) -> Iterator[Placed]:
        defaults = Defaults(self.name or name, self.licence, self.language)
        for place, document in read_documents(rows, shaped(self.fields, self.shape), defaults):
            yield Placed("data", place, document)


class JsonlSource(_Rows):
    """JSON Lines, plain or compressed (`.gz`, `.zst`): an object a line, in UTF-8."""

    type: Literal["jsonl"] = "jsonl"
    files: str = "**/*.jsonl*"
    """Which files of the folder; of no account where `--source` is a file."""

    max_line_bytes: PositiveInt = 100_000_000
    """A longer line is malformed: memory is short, and it is no document."""
    malformed: Literal["stop", "keep"] = "stop"
    """What to do about a line that is no JSON object, and about a file that breaks off: end with its place, or keep it in
    the part `failed` with what is wrong and go on."""

    def read(self, root: Path | None, scratch: Path) -> Iterator[Placed]:
        """Documents of all lines of all files."""
        for path in find_files(root, self.files):
            failed: deque[Placed] = deque()
            for placed in self._documents(self._rows(path, _shown(path, root), failed), path.name.partition(".")[0]):
                yield from _drained(failed)
                yield placed
            yield from _drained(failed)

    def _rows(self, path: Path, shown: str, failed: deque[Placed]) -> Iterator[Row]:
        lines = _lines(path, self.max_line_bytes)
        while True:
            line = b""
            place = str(path)
            try:
                number, line = next(lines)
                place = f"{path}:{number}"
                if line.strip():
                    yield Row(place, _json_object(line, place, self.max_line_bytes))
            except StopIteration:
                return
            except BunbukuError as error:
                if self.malformed == "stop":
                    raise
                text = line.decode("utf-8", "backslashreplace")
                # Where the files lie is no part of what is made of them.
                id = place.replace(str(path), shown)
                lost = Document(id, text, path.name.partition(".")[0], None, self.licence, UNDETERMINED)
                failed.append(Placed("failed", place, lost, str(error).replace(str(path), shown)))


class ParquetSource(_Rows):
    """Parquet files: a document a row."""

    type: Literal["parquet"] = "parquet"
    files: str = "**/*.parquet"
    """Which files of the folder; of no account where `--source` is a file."""

    def read(self, root: Path | None, scratch: Path) -> Iterator[Placed]:
        """Documents of all rows of all files."""
        for path in find_files(root, self.files):
            yield from self._documents(
                _parquet_rows(path, shaped(self.fields, self.shape)), path.name.partition(".")[0]
            )


class DatasetsSource(_Rows):
    """A data set of the Hugging Face hub, pinned to a commit, or a local one that `--source` names."""

    type: Literal["datasets"] = "datasets"
    hub: str | None = None
    """Name on the hub, such as `user/data`; nothing for a local data set."""
    revision: Commit | None = None
    """Commit of the hub's data set, 40 hexadecimal digits: a branch would be another data set tomorrow."""
    subset: str | None = None
    """Which of the data set's configurations, if it has several."""
    split: str = "train"
    """Which split is read."""

    @model_validator(mode="after")
    def _hub_is_pinned(self) -> "DatasetsSource":
        if (self.hub is None) != (self.revision is None):
            raise ValueError(f"`hub` {self.hub!r} needs a `revision`, a commit, and has {self.revision!r}")
        return self

    def read(self, root: Path | None, scratch: Path) -> Iterator[Placed]:
        """Documents of all rows of the split."""
        from bunbuku_corpus import hf  # takes seconds to import

        if self.hub is not None:
            assert self.revision is not None
            name = self.hub
            rows = hf.read_hub(name, subset=self.subset, revision=self.revision, split=self.split)
        else:
            folder = needed(root)
            name = folder.name
            rows = hf.read_disk(folder, subset=self.subset, split=self.split, cache=scratch)
        yield from self._documents((Row(f"{name}:{n}", row) for n, row in enumerate(rows, 1)), name)


AnySource = Annotated[JsonlSource | ParquetSource | DatasetsSource | TatoebaSource, Field(discriminator="type")]


def _shown(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root is not None and root.is_dir() else path.name


def _drained(failed: deque[Placed]) -> Iterator[Placed]:
    while failed:
        yield failed.popleft()


def _lines(path: Path, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers; of a line that is too long no more than one byte too many."""
    with open_stream(path) as stream:
        number = 0
        while line := stream.readline(max_bytes + 1):
            number += 1
            rest = line
            while len(rest) > max_bytes and not rest.endswith(b"\n"):
                rest = stream.readline(max_bytes + 1)
            yield number, line


def _json_object(line: bytes, place: str, max_bytes: int) -> dict[str, Any]:
    hint = 'every line is one JSON object, in UTF-8; correct or remove that line, or go on with `malformed = "keep"`'
    if len(line) > max_bytes:
        raise BunbukuError(f"{place} is longer than `max_line_bytes` {max_bytes:,}", hint=hint)
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        raise BunbukuError(f"{place} is not UTF-8: {error.reason} at byte {error.start}", hint=hint) from error
    except json.JSONDecodeError as error:
        raise BunbukuError(f"{place} is not JSON: {error.msg} at column {error.colno}", hint=hint) from error
    except RecursionError as error:
        raise BunbukuError(f"{place} is nested too deeply", hint=hint) from error
    if not isinstance(value, dict):
        raise BunbukuError(f"{place} is not a JSON object but {value!r:.60}", hint=hint)
    return cast(dict[str, Any], value)


def _numbered(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[Row]:
    number = 1
    for batch in batches:
        try:
            rows = batch.to_pylist()
        except UnicodeDecodeError:
            rows = (_decoded(batch.slice(at, 1), f"{path}:{number + at}") for at in range(batch.num_rows))
        yield from (Row(f"{path}:{at}", values) for at, values in enumerate(rows, number))
        number += batch.num_rows


def _decoded(row: pa.RecordBatch, place: str) -> dict[str, Any]:
    try:
        return row.to_pylist()[0]
    except UnicodeDecodeError as error:
        hint = "whatever wrote the file said that it is: write that row anew, or leave it out"
        raise BunbukuError(f"{place} is not UTF-8: {error.reason} at byte {error.start}", hint=hint) from error


def _parquet_rows(path: Path, fields: Fields) -> Iterator[Row]:
    wanted = {key.partition(".")[0] for key in fields.model_dump().values()} | set(fields.model_dump().values())
    try:
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            # A row that lacks a field is complained of with the names that there are: read one column at least.
            columns = [name for name in names if name in wanted] or names[:1]
            yield from _numbered(batches_of(table, _BATCH_ROWS, columns), path)
    except (pa.ArrowException, OSError) as error:
        raise BunbukuError(f"{path} does not read as Parquet: {error}", hint="write the file anew") from error
