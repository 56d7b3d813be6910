"""Bring text from outside in."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import BunbukuError, Config, Corpus, Draft, stage
from pydantic import PositiveInt

from bunbuku_corpus.arrow import batches_of
from bunbuku_corpus.document import COLUMNS, Document, Placed, ShardWriter, schema
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.names import Names
from bunbuku_corpus.sources import AnySource, JsonlSource
from bunbuku_corpus.tatoeba import TatoebaSource

_PIECE_ROWS = 500
_PIECE_CHARS = 4_000_000
_SCHEMA = schema(["part", "place", "reason"])


class GatherConfig(Config):
    """Where documents come from."""

    sources: tuple[AnySource, ...] = (JsonlSource(),)
    """Read one after another."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


class GatherRun(EngineRun):
    """Circumstance of `gather`."""


_ONE_WORKER = GatherRun()


@dataclass(frozen=True)
class _File:
    """A file of a source, and where what is read from it waits."""

    source: AnySource
    path: Path
    root: Path | None
    waiting: Path

    @property
    def keeps_failures(self) -> bool:
        """Whether what makes no document is kept."""
        return not isinstance(self.source, TatoebaSource) and self.source.malformed == "keep"


@stage("corpus.gather", resumable=True)
def gather(draft: Draft, config: GatherConfig, source: Path | None, *, run: GatherRun = _ONE_WORKER) -> Corpus:
    """Bring text from outside in as a corpus, every document with id, text, source, url, licence and language.

    A source in the config is of type `jsonl` (plain, .gz or .zst), `parquet`, `datasets` (of the Hugging Face hub, or
    local) or `tatoeba` (sentences with translations, joined into short documents). `--source` is the folder or file
    that they read; a data set of the hub needs none. For example:

        [[sources]]
        type = "jsonl"
        files = "web/*.jsonl.zst"
        licence = "CC0-1.0"
        fields = { text = "content", url = "meta.url" }

    `shape` is for collections whose fields are known: culturax, fineweb-2, llm-jp-corpus, mc4, slimpajama. With
    `malformed = "keep"` rows that make no document are kept in the part `failed`, each with what is wrong with it. A run
    that is killed goes on with the file that it was at; `--run` with `workers = 8` reads eight files at a time.
    """
    draft.scratch.mkdir(parents=True, exist_ok=True)
    found = [(one, path) for one in config.sources for path in one.paths(source)]
    files = [
        _File(one, path, source, draft.scratch / f"{number:06d}.parquet") for number, (one, path) in enumerate(found)
    ]
    tally = _Tally(Counter(), set(), set(), Names())
    with (
        open_engine(run, draft.scratch) as engine,
        ShardWriter(draft, rows_per_shard=config.rows_per_shard) as data,
        ShardWriter(draft, "parallel", rows_per_shard=config.rows_per_shard) as parallel,
        ShardWriter(draft, "failed", rows_per_shard=config.rows_per_shard, extra=("reason",)) as failed,
    ):
        writers = {"data": data, "parallel": parallel, "failed": failed}
        for file in draft.track(engine.each(_read, files), unit="files", total=len(files)):
            for placed in tally.counted(_waiting(file), keep=file.keeps_failures):
                extra = {"reason": placed.reason} if placed.part == "failed" else {}
                writers[placed.part].add(placed.document, **extra)
    if not data.documents:
        lost = f", and {failed.documents:,} rows that make none" if failed.documents else ""
        raise BunbukuError(
            f"there is not one document in {source or 'the sources'}{lost}", hint="correct --source or `files`"
        )
    draft.metrics |= {name: float(count) for name, count in sorted(tally.counts.items())}
    draft.metrics |= {"documents": data.documents, "characters": data.chars, "pairs": parallel.documents}
    if failed.documents:
        draft.metrics["failed"] = failed.documents
    return Corpus(languages=tuple(sorted(tally.languages)), licences=tuple(sorted(tally.licences)))


@dataclass
class _Tally:
    counts: Counter[str]
    languages: set[str]
    licences: set[str]
    names: Names

    def counted(self, found: Iterator[Placed], *, keep: bool) -> Iterator[Placed]:
        """The same, with repeated ids among the failures if these are kept, and counted."""
        for placed in found:
            document = placed.document
            if placed.part == "failed":
                yield placed
                continue
            if not self.names.claim(document.id):
                problem = f"{placed.place}: the id {document.id!r} was there before"
                if not keep:
                    hint = "ids must be unique: name another field with `fields.id`, or gather a file once"
                    raise BunbukuError(problem, hint=hint)
                yield Placed("failed", placed.place, replace(document, id=placed.place), problem)
                continue
            self.licences.add(document.licence)
            if placed.part == "data":
                self.languages.add(document.language)
                self.counts[f"documents.{document.language}"] += 1
                self.counts[f"characters.{document.language}"] += len(document.text)
            yield placed


def _read(file: _File) -> _File:
    """What is in the file, written where it waits, whole or not at all; nothing is done if it is there."""
    if file.waiting.exists():
        return file
    begun = file.waiting.with_suffix(".begun")
    with pq.ParquetWriter(begun, _SCHEMA, compression="lz4") as writer:
        rows: list[dict[str, str | None]] = []
        chars = 0
        for placed in file.source.read(file.path, file.root, file.waiting.parent):
            said = {"part": placed.part, "place": placed.place, "reason": placed.reason}
            rows.append({name: getattr(placed.document, name) for name in COLUMNS} | said)
            chars += len(placed.document.text)
            if len(rows) >= _PIECE_ROWS or chars >= _PIECE_CHARS:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows, chars = [], 0
        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    begun.replace(file.waiting)
    return file


def _waiting(file: _File) -> Iterator[Placed]:
    with pq.ParquetFile(file.waiting) as waiting:
        for batch in batches_of(waiting, _PIECE_ROWS):
            for row in batch.to_pylist():
                part, place, reason = row.pop("part"), row.pop("place"), row.pop("reason")
                yield Placed(part, place, Document(**row), reason)
