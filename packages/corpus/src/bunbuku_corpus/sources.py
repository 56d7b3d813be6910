"""Where documents come from: a discriminated union of sources, each a config that reads itself.

A source that reads files finds them under the role `--source`, which is a folder or one file; each source names its
files by a pattern, so that several can share a folder. Each file is read by itself, wherever there is a free worker. A source on the hub needs no path. Files are read in the order
of their names, lines and rows in theirs.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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

_COMMIT = re.compile("[0-9a-f]{40}")
Commit = Annotated[str, StringConstraints(pattern=f"^{_COMMIT.pattern}$")]
_BATCH_ROWS = 256


type Malformed = Literal["stop", "keep"]


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
    malformed: Malformed = "stop"
    """What to do about a row that makes no document (it does not read, has no text, or an id that was there before) and about
    a file that breaks off: end with its place, or keep it in the part `failed` with what is wrong and go on."""

    def _documents(
        self, rows: Callable[["_Lost"], Iterator[Row]], name: str, hidden: str, shown: str
    ) -> Iterator[Placed]:
        """Documents of rows, and in their places what was lost; where files lie, `hidden`, is not said of those: `shown` is."""
        defaults = Defaults(self.name or name, self.licence, self.language)
        lost = _Lost(self, name, hidden, shown)
        failed = lost.row if self.malformed == "keep" else None
        for place, document in read_documents(rows(lost), shaped(self.fields, self.shape), defaults, failed):
            yield from lost.drained()
            yield Placed("data", place.replace(hidden, shown) if failed else place, document)
        yield from lost.drained()


@dataclass
class _Lost:
    """What makes no document, on its way to the part `failed`; or an error, if nothing may be lost."""

    source: _Rows
    name: str
    hidden: str
    shown: str
    _waiting: deque[Placed] = field(default_factory=deque[Placed])

    def add(self, place: str, text: str, error: BunbukuError) -> None:
        if self.source.malformed == "stop":
            raise error
        # Where the files lie is no part of what is made of them.
        id, reason = (one.replace(self.hidden, self.shown) for one in (place, str(error)))
        document = Document(id, text, self.name, None, self.source.licence, UNDETERMINED)
        self._waiting.append(Placed("failed", place, document, reason))

    def row(self, row: Row, error: BunbukuError) -> None:
        text = json.dumps(row.values, default=str, ensure_ascii=False)
        self.add(row.place, text.encode("utf-8", "backslashreplace").decode(), error)

    def drained(self) -> Iterator[Placed]:
        while self._waiting:
            yield self._waiting.popleft()


class JsonlSource(_Rows):
    """JSON Lines, plain or compressed (`.gz`, `.zst`): an object a line, in UTF-8."""

    type: Literal["jsonl"] = "jsonl"
    files: str = "**/*.jsonl*"
    """Which files of the folder; of no account where `--source` is a file."""
    max_line_bytes: PositiveInt = 100_000_000
    """A longer line is malformed: memory is short, and it is no document."""

    def paths(self, root: Path | None) -> Sequence[Path]:
        """Its files: each is read by itself."""
        return find_files(root, self.files)

    def read(self, path: Path, root: Path | None, scratch: Path) -> Iterator[Placed]:
        """Documents of all lines of a file."""
        name = path.name.partition(".")[0]
        yield from self._documents(lambda lost: self._rows(path, lost), name, str(path), _shown(path, root))

    def _rows(self, path: Path, lost: "_Lost") -> Iterator[Row]:
        lines = _lines(path, self.max_line_bytes)
        while True:
            line = b""
            place = str(path)
            try:
                number, line = next(lines)
                place = f"{path}:{number}"
                row = Row(place, _json_object(line, place, self.max_line_bytes)) if line.strip() else None
            except StopIteration:
                return
            except BunbukuError as error:
                lost.add(place, line.decode("utf-8", "backslashreplace"), error)
                continue
            if row is not None:
                yield row


class ParquetSource(_Rows):
    """Parquet files: a document a row."""

    type: Literal["parquet"] = "parquet"
    files: str = "**/*.parquet"
    """Which files of the folder; of no account where `--source` is a file."""

    def paths(self, root: Path | None) -> Sequence[Path]:
        """Its files: each is read by itself."""
        return find_files(root, self.files)

    def read(self, path: Path, root: Path | None, scratch: Path) -> Iterator[Placed]:
        """Documents of all rows of a file."""
        fields, name = shaped(self.fields, self.shape), path.name.partition(".")[0]
        yield from self._documents(lambda lost: _parquet_rows(path, fields, lost), name, str(path), _shown(path, root))


class DatasetsSource(_Rows):
    """A data set of the Hugging Face hub, or a local one that `--source` names.

    A branch or a tag becomes the commit that it is at when the config is read: it is the commit that the recipe holds, so that
    a branch that has moved since is another recipe.
    """

    type: Literal["datasets"] = "datasets"
    hub: str | None = None
    """Name on the hub, such as `user/data`; nothing for a local data set."""
    revision: Commit | None = None
    """Commit of the hub's data set, 40 hexadecimal digits, or a branch or tag; `main` if nothing is said."""
    subset: str | None = None
    """Which of the data set's configurations, if it has several."""
    split: str = "train"
    """Which split is read."""

    def paths(self, root: Path | None) -> Sequence[Path]:
        """One for all: a data set is read as a whole."""
        return [needed(root) if self.hub is None else Path(self.hub)]

    @model_validator(mode="before")
    @classmethod
    def _pinned(cls, given: dict[str, Any]) -> dict[str, Any]:
        hub, revision = given.get("hub"), given.get("revision")
        if hub is None:
            return given
        if not isinstance(revision, str) or not _COMMIT.fullmatch(revision):
            from bunbuku_corpus import hf  # takes seconds to import

            revision = hf.commit_of(hub, revision or "main")
        return {**given, "revision": revision}

    @model_validator(mode="after")
    def _hub_is_named(self) -> "DatasetsSource":
        if self.hub is None and self.revision is not None:
            raise ValueError(f"`revision` {self.revision!r} is one of a `hub` data set, and none is named")
        return self

    def read(self, path: Path, root: Path | None, scratch: Path) -> Iterator[Placed]:
        """Documents of all rows of the split."""
        from bunbuku_corpus import hf  # takes seconds to import

        if self.hub is not None:
            assert self.revision is not None
            name = self.hub
            found = hf.read_hub(name, subset=self.subset, revision=self.revision, split=self.split)
        else:
            name = path.name
            found = hf.read_disk(path, subset=self.subset, split=self.split, cache=scratch)
        rows = (Row(f"{name}:{n}", row) for n, row in enumerate(found, 1))
        yield from self._documents(lambda _: rows, name, str(path), name)


AnySource = Annotated[JsonlSource | ParquetSource | DatasetsSource | TatoebaSource, Field(discriminator="type")]


def _shown(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root is not None and root.is_dir() else path.name


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


def _numbered(batches: Iterable[pa.RecordBatch], path: Path, lost: _Lost) -> Iterator[Row]:
    number = 1
    for batch in batches:
        try:
            rows = batch.to_pylist()
        except UnicodeDecodeError:
            yield from _one_by_one(batch, number, path, lost)
        else:
            yield from (Row(f"{path}:{at}", values) for at, values in enumerate(rows, number))
        number += batch.num_rows


def _one_by_one(batch: pa.RecordBatch, number: int, path: Path, lost: _Lost) -> Iterator[Row]:
    for at in range(batch.num_rows):
        place = f"{path}:{number + at}"
        try:
            [values] = batch.slice(at, 1).to_pylist()
        except UnicodeDecodeError as error:
            hint = 'write that row anew, leave it out, or go on with `malformed = "keep"`'
            text = error.object.decode("utf-8", "backslashreplace")
            reason = f"{place} is not UTF-8: {error.reason} at byte {error.start}"
            lost.add(place, text, BunbukuError(reason, hint=hint))
        else:
            yield Row(place, values)


def _parquet_rows(path: Path, fields: Fields, lost: _Lost) -> Iterator[Row]:
    wanted = {key.partition(".")[0] for key in fields.model_dump().values()} | set(fields.model_dump().values())
    try:
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            # A row that lacks a field is complained of with the names that there are: read one column at least.
            columns = [name for name in names if name in wanted] or names[:1]
            yield from _numbered(batches_of(table, _BATCH_ROWS, columns), path, lost)
    except (pa.ArrowException, OSError) as error:
        lost.add(str(path), "", BunbukuError(f"{path} does not read as Parquet: {error}", hint="write the file anew"))
