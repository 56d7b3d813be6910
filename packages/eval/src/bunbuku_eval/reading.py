"""Rows of a file somebody else made: JSON Lines, JSON, CSV, TSV, Parquet, XML, Excel, plain or compressed (.gz, .bz2, .zst).

What cannot be read is one sentence with the file, the line and the remedy.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import BunbukuError

_COMPRESSED = (".gz", ".bz2", ".zst")


def read_text(path: Path) -> str:
    """The file's text, unpacked; UTF-8, with or without a byte order mark.

    Raises:
        BunbukuError: There is no such file, or it is in another encoding.
    """
    if not path.is_file():
        raise BunbukuError(f"{path} is not there", hint="name the folder that holds it, or another `file`")
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            data: bytes = stream.read()
    except OSError as error:
        raise BunbukuError(f"{path} cannot be unpacked: {error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BunbukuError(
            f"{path} is not UTF-8: byte {error.start} is {data[error.start]:#04x}",
            hint=f"iconv -f {_likely(data)} -t UTF-8 makes it so, if that is what it is",
        ) from error


def read_rows(path: Path, *, columns: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """The rows of a file by the end of its name; `columns` names those of a CSV or TSV without a head line."""
    kind = _kind(path)
    if kind == ".parquet":
        if not path.is_file():
            raise BunbukuError(f"{path} is not there", hint="name the folder that holds it, or another `file`")
        try:
            for batch in pq.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
        except pa.ArrowInvalid as error:
            raise BunbukuError(f"{path} is no Parquet file: {error}") from error
        return
    if kind == ".xlsx":
        if not path.is_file():
            raise BunbukuError(f"{path} is not there", hint="name the folder that holds it, or another `file`")
        from bunbuku_eval.xlsx import read_sheet  # half a second, and seldom wanted

        yield from read_sheet(path)
        return
    readers: dict[str, Callable[[str, Path], Iterator[dict[str, Any]]]] = {
        ".jsonl": _json_lines,
        ".json": _json,
        ".csv": lambda text, path: _table(text, path, ",", columns),
        ".tsv": lambda text, path: _table(text, path, "\t", columns),
        ".xml": _xml,
    }
    if kind not in readers:
        raise BunbukuError(
            f"{path} ends in {kind!r}, which is none of {', '.join(readers)}, .parquet and .xlsx",
            hint="rename or convert it",
        )
    yield from readers[kind](read_text(path), path)


def _kind(path: Path) -> str:
    return (path.with_suffix("") if path.suffix in _COMPRESSED else path).suffix.lower()


def _json_lines(text: str, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _object(_parsed(line, f"line {number} of {path}"), f"line {number} of {path}")


def _json(text: str, path: Path) -> Iterator[dict[str, Any]]:
    """A list of objects, one object, or, as many data sets have it under this name, an object a line."""
    try:
        value = json.loads(text)
    except ValueError:
        yield from _json_lines(text, path)
        return
    for number, one in enumerate(value if isinstance(value, list) else [value], start=1):
        yield _object(one, f"entry {number} of {path}")


def _table(text: str, path: Path, delimiter: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    # A tab-separated file has no quoting: a lone quotation mark in it is text.
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    head = list(columns) or next(rows, [])
    for row in rows:
        if any(row):
            if len(row) != len(head):
                raise BunbukuError(
                    f"line {rows.line_num} of {path} has {len(row)} columns where {len(head)} were expected "
                    f"({', '.join(head)})"
                )
            yield dict(zip(head, row, strict=True))


def _xml(text: str, path: Path) -> Iterator[dict[str, Any]]:
    """A row a child of the root: its attributes, the text of its children, and a list for children with children."""
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise BunbukuError(f"{path} is no XML: {error}") from error
    for element in root:
        row: dict[str, Any] = dict(element.attrib)
        for child in element:
            row[child.tag] = [(one.text or "").strip() for one in child] if len(child) else (child.text or "").strip()
        yield row


def _parsed(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise BunbukuError(f"{place} is no JSON: {error}") from error


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BunbukuError(f"{place} is no object but {type(value).__name__}")
    return value


def _likely(data: bytes) -> str:
    """The encoding to try first."""
    for encoding in ("EUC-JP", "CP932"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "CP932"
