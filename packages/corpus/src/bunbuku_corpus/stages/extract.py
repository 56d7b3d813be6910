"""Find the text of pages."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import BunbukuError, Corpus, Draft, Section, Table, stage, write_sections
from pydantic import PositiveInt

from bunbuku_corpus.arrow import batches_of
from bunbuku_corpus.document import COLUMNS, UNDETERMINED, Document, ShardWriter, schema
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.extraction import Extraction, Failure, Skipped, kind_of
from bunbuku_corpus.extraction import extract as extracts
from bunbuku_corpus.files import find_files
from bunbuku_corpus.names import Names

_PIECE_ROWS = 200
_SCHEMA = schema(["failure"])


class ExtractConfig(Extraction):
    """Which files are read, and how pages become documents."""

    files: str = "**/*"
    """Which files of the folder, among those that are archives, HTML or PDF by their names."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


class ExtractRun(EngineRun):
    """Circumstance of `extract`."""


_ONE_WORKER = ExtractRun()


@dataclass(frozen=True)
class _File:
    """A file, and where what is found in it waits."""

    path: Path
    shown: str
    waiting: Path


@stage("corpus.extract", revision=4, resumable=True)
def extract(draft: Draft, config: ExtractConfig, source: Path, *, run: ExtractRun = _ONE_WORKER) -> Corpus:
    """Find the main text of web pages and PDF files, in archives or single, as a corpus.

    Read are WARC and WET archives (plain, .gz, .zst), HTML and PDF files under `--source`. HTML is decoded by what its
    bytes are, not by what it says: Shift_JIS, EUC-JP, ISO-2022-JP, UTF-8. Pages without kana are skipped before they are
    parsed. A page that cannot be read ends nothing: it is in the part `failed` with its place and its error, and so is an
    archive that breaks off, what was read before it kept. A run that is killed goes on with the file that it was at.
    """
    root = source if source.is_dir() else source.parent
    found = [path for path in find_files(source, config.files) if kind_of(path)]
    if not found:
        raise BunbukuError(
            f"there is no archive, HTML or PDF file under {source}",
            hint="their names end in .warc, .wet, .html, .htm or .pdf, and perhaps in .gz or .zst",
        )
    draft.scratch.mkdir(parents=True, exist_ok=True)
    shown = [path.relative_to(root).as_posix() for path in found]
    files = [
        _File(path, name, draft.scratch / f"{number:06d}.parquet")
        for number, (path, name) in enumerate(zip(found, shown, strict=True))
    ]
    counts: Counter[str] = Counter()
    names = Names()
    languages: set[str] = set()
    with (
        open_engine(run, draft.scratch) as engine,
        ShardWriter(draft, rows_per_shard=config.rows_per_shard) as data,
        ShardWriter(draft, "failed", rows_per_shard=config.rows_per_shard, extra=("reason",)) as failed,
    ):
        work = engine.each(partial(_extract_file, how=config), files)
        for file in draft.track(work, unit="files", total=len(files)):
            counts.update(_collect(file, data, failed, names, languages))
    if not data.documents:
        raise BunbukuError(
            f"not one document was found in {len(files)} files: {_said(counts) or 'they are empty'}",
            hint="`min_kana = 0` lets pages of any language pass",
        )
    draft.metrics |= {f"skipped.{name}": float(count) for name, count in sorted(counts.items())}
    draft.metrics |= {
        "files": len(files),
        "documents": data.documents,
        "characters": data.chars,
        "failed": failed.documents,
    }
    write_sections(draft, [_section(draft, counts)])
    return Corpus(languages=tuple(sorted(languages)), licences=(config.licence,))


def _extract_file(file: _File, how: Extraction) -> _File:
    """What is in the file, written where it waits, whole or not at all; nothing is done if it is there."""
    if file.waiting.exists():
        return file
    begun = file.waiting.with_suffix(".begun")
    skipped: Counter[str] = Counter()
    rows: list[dict[str, str | None]] = []
    with pq.ParquetWriter(begun, _SCHEMA, compression="zstd") as writer:
        for one in extracts(file.path, file.shown, how):
            if isinstance(one, Skipped):
                skipped[one.reason] += 1
                continue
            rows.append(_row(one))
            if len(rows) >= _PIECE_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
        writer.add_key_value_metadata({f"skipped.{name}": str(count) for name, count in skipped.items()})
    begun.replace(file.waiting)
    return file


def _row(one: Document | Failure) -> dict[str, str | None]:
    if isinstance(one, Document):
        return {name: getattr(one, name) for name in COLUMNS} | {"failure": None}
    empty = {"text": "", "source": one.place.partition("#")[0], "licence": "", "language": UNDETERMINED}
    return {"id": one.place, "url": one.url, **empty, "failure": one.reason}


def _collect(file: _File, data: ShardWriter, failed: ShardWriter, names: Names, languages: set[str]) -> Counter[str]:
    """Write what was found in a file to where it belongs; gives how many records were skipped, by reason."""
    with pq.ParquetFile(file.waiting) as waiting:
        for batch in batches_of(waiting, _PIECE_ROWS):
            for row in batch.to_pylist():
                failure = row.pop("failure")
                document = Document(**row)
                if failure is not None:
                    failed.add(document, reason=failure)
                else:
                    data.add(_named(document, names))
                    languages.add(document.language)
        metadata = waiting.metadata.metadata or {}
    prefix = b"skipped."
    return Counter(
        {name[len(prefix) :].decode(): int(count) for name, count in metadata.items() if name.startswith(prefix)}
    )


def _named(document: Document, names: Names) -> Document:
    """The document under an id that no other has: a page may be in two archives."""
    for id in _ids(document.id):
        if names.claim(id):
            return Document(id, document.text, document.source, document.url, document.licence, document.language)
    raise AssertionError


def _ids(id: str) -> Iterator[str]:
    yield id
    number = 2
    while True:
        yield f"{id}~{number}"
        number += 1


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


def _section(draft: Draft, counts: Counter[str]) -> Section:
    metrics = draft.metrics
    paragraph = (
        f"{metrics['documents']:,.0f} documents of {metrics['characters']:,.0f} characters were found in "
        f"{metrics['files']:,.0f} files; {metrics['failed']:,.0f} records failed and are in the part `failed`."
    )
    table = Table(columns=("skipped because", "records"), rows=tuple(sorted(counts.items())))
    return Section(title="What was extracted", paragraphs=(paragraph,), tables=(table,) if counts else ())
