"""Take out of documents what the whole corpus repeats."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, ArtifactError, Corpus, Draft, Section, Table, stage, write_sections

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.engine import Engine, EngineRun, open_engine
from bunbuku_corpus.paragraphs import (
    DOCUMENTS,
    PARAGRAPH,
    REMOVED,
    SPARED,
    Boilerplate,
    CountParagraphs,
    Frequent,
    Thin,
)
from bunbuku_corpus.shards import NUMBER, RowGroup, row_groups, write_arrow
from bunbuku_corpus.writing import Shard, by_shard, count_rows

TABLE = "table"
_SETTINGS = b"bunbuku.paragraphs"
_HASHES = 2
"""Raised when the same line would get another number, so that no table is taken for what it is not."""
_ADDED = [REMOVED, PARAGRAPH, SPARED, NUMBER]
_DOCUMENTS_A_BUCKET = 100_000
_GLIMPSE_CHARS = 60


class ThinConfig(Boilerplate):
    """Which paragraphs are boilerplate."""

    samples: int = 50
    """Paragraphs that the report shows, those first that were taken out of the most documents."""


_HERE = EngineRun()


@stage("corpus.thin", revision=2)
def thin(
    draft: Draft,
    config: ThinConfig,
    corpus: Artifact[Corpus],
    table: Artifact[Corpus] | None = None,
    *,
    run: EngineRun = _HERE,
) -> Corpus:
    """Take boilerplate out of documents: paragraphs (lines) that very many documents of the corpus have.

    No document is dropped: one that is nothing but boilerplate is left as it is. What was taken out is kept in the part
    `removed`, a row a document; the part `table` holds the paragraphs and in how many documents they are. With `--table DIR`,
    an earlier run of `thin`, its table is taken instead of counting.
    """
    rules = Boilerplate.model_validate(config.model_dump(include=set(Boilerplate.model_fields)))
    groups = row_groups(corpus)
    shards = by_shard(groups)
    with open_engine(run, draft.scratch) as engine:
        frequent = _read_table(table, rules) if table else _count(engine, groups, rules)
        write_arrow(draft.scratch / "table.arrow", frequent)
        write = _WriteThinned(Thin(rules, draft.scratch / "table.arrow"), draft.dir)
        tally = _Tally()
        for written in draft.track(engine.each(write, shards), unit="shards", total=len(shards)):
            tally.add(written)
    count_rows(draft, tally.files)
    _write_table(draft, frequent, tally, rules)
    _report(draft, config, tally, frequent.num_rows)
    return Corpus(languages=corpus.spec.languages)


@dataclass
class _Tally:
    """What was taken out."""

    counts: Counter[str] = field(default_factory=Counter[str])
    documents: Counter[int] = field(default_factory=Counter[int])
    """Out of how many documents each paragraph was taken."""
    texts: dict[int, str] = field(default_factory=dict[int, str])
    """One of the ways each is written: the least."""
    files: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, other: "_Tally") -> None:
        self.counts += other.counts
        self.documents += other.documents
        self.files |= other.files
        for paragraph, text in other.texts.items():
            self.texts[paragraph] = min(self.texts.get(paragraph, text), text)


@dataclass(frozen=True)
class _WriteThinned:
    """Thins the row groups of one shard and writes them."""

    thin: Thin
    out: Path

    def __call__(self, groups: Sequence[RowGroup]) -> _Tally:
        tally = _Tally()
        with Shard(self.out, groups[0].path.name, tally.files) as shard:
            for group in groups:
                batch = group.read()
                thinned = self.thin(batch)
                changed = thinned.filter(compute.greater(compute.list_value_length(thinned[REMOVED]), 0))
                taken = compute.binary_join(changed[REMOVED], "\n")
                columns = {name: changed[name] for name in batch.schema.names} | {"text": taken}
                shard.write(thinned.drop_columns(_ADDED))
                shard.write(pa.record_batch(columns).drop_columns([NUMBER]), "removed")
                self._count(batch, thinned, changed, tally)
        return tally

    def _count(self, batch: pa.RecordBatch, thinned: pa.RecordBatch, changed: pa.RecordBatch, tally: _Tally) -> None:
        tally.counts += Counter(
            {
                "documents": batch.num_rows,
                "changed.documents": changed.num_rows,
                "spared.documents": compute.sum(thinned[SPARED]).as_py(),
                "characters": compute.sum(compute.utf8_length(batch["text"])).as_py(),
                "kept.characters": compute.sum(compute.utf8_length(thinned["text"])).as_py(),
            }
        )
        for removed, paragraphs in zip(changed[REMOVED].to_pylist(), changed[PARAGRAPH].to_pylist(), strict=True):
            tally.counts["removed.paragraphs"] += len(removed)
            texts = dict(zip(paragraphs, removed, strict=True))
            tally.documents.update(texts.keys())
            tally.add(_Tally(texts=texts))


def _count(engine: Engine, groups: list[RowGroup], rules: Boilerplate) -> pa.RecordBatch:
    """Paragraphs that enough documents have, sorted."""
    buckets = 1 + sum(group.rows for group in groups) // _DOCUMENTS_A_BUCKET
    work = _Read(CountParagraphs(rules, min(buckets, 60_000)))
    found = list(engine.grouped(work, groups, Frequent(rules)))
    paragraphs = np.concatenate([np.empty(0, np.uint64), *(batch[PARAGRAPH].to_numpy() for batch in found)])
    documents = np.concatenate([np.empty(0, np.int64), *(batch[DOCUMENTS].to_numpy() for batch in found)])
    order = np.argsort(paragraphs)
    return pa.record_batch({PARAGRAPH: pa.array(paragraphs[order]), DOCUMENTS: pa.array(documents[order])})


@dataclass(frozen=True)
class _Read:
    """A step on a row group, read where the work is done."""

    step: CountParagraphs

    def __call__(self, group: RowGroup) -> pa.RecordBatch:
        return self.step(group.read())


def _settings(rules: Boilerplate) -> dict[bytes, bytes]:
    """What a table says of how it was made."""
    settings = {**rules.model_dump(include={"min_chars", "digits_matter"}), "hashes": _HASHES}
    return {_SETTINGS: json.dumps(settings, sort_keys=True).encode()}


def _read_table(table: Artifact[Corpus], rules: Boilerplate) -> pa.RecordBatch:
    [file] = table.files(TABLE)
    found = pq.read_table(table.path(file), columns=[PARAGRAPH, DOCUMENTS])
    made = (found.schema.metadata or {}).get(_SETTINGS, b"no settings")
    if made != _settings(rules)[_SETTINGS]:
        raise ArtifactError(
            f"the table of {table.dir} was made with {made.decode()}, not with {_settings(rules)[_SETTINGS].decode()}",
            hint="take the same `min_chars` and `digits_matter`, or leave out --table",
        )
    found = found.filter(compute.greater_equal(found[DOCUMENTS], rules.min_documents)).combine_chunks()
    if not found.num_rows:
        raise ArtifactError(
            f"no paragraph in the table of {table.dir} is in {rules.min_documents} documents",
            hint="lower `min_documents`",
        )
    return found.to_batches()[0]


def _write_table(draft: Draft, frequent: pa.RecordBatch, tally: _Tally, rules: Boilerplate) -> None:
    if not frequent.num_rows:
        return
    paragraphs = frequent[PARAGRAPH].to_pylist()
    rows = pa.table(
        {
            PARAGRAPH: frequent[PARAGRAPH],
            DOCUMENTS: frequent[DOCUMENTS],
            REMOVED: pa.array([tally.documents[one] for one in paragraphs], pa.int64()),
            "text": pa.array([tally.texts.get(one) for one in paragraphs], pa.string()),
        }
    ).replace_schema_metadata(_settings(rules))
    path = draft.dir / TABLE / "part-00000.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(rows, path, compression="zstd")
    draft.count(path, rows=rows.num_rows, part=TABLE)


def _report(draft: Draft, config: ThinConfig, tally: _Tally, frequent: int) -> None:
    counts = tally.counts
    names = (
        "documents",
        "changed.documents",
        "spared.documents",
        "characters",
        "kept.characters",
        "removed.paragraphs",
    )
    draft.metrics |= {name: float(counts[name]) for name in names} | {"frequent.paragraphs": float(frequent)}
    gone = counts["characters"] - counts["kept.characters"]
    share = gone / counts["characters"] if counts["characters"] else 0.0
    most = sorted(tally.documents.items(), key=lambda item: (-item[1], tally.texts[item[0]]))[: config.samples]
    rows = tuple((tally.texts[one][:_GLIMPSE_CHARS], documents) for one, documents in most)
    write_sections(
        draft,
        [
            Section(
                title="Boilerplate",
                paragraphs=(
                    f"{frequent:,} paragraphs are in at least {config.min_documents:,} documents. {gone:,} characters "
                    f"({share:.1%}) were taken out of {counts['changed.documents']:,} of {counts['documents']:,} documents; "
                    f"{counts['spared.documents']:,} are nothing but boilerplate and were left as they are.",
                ),
                tables=(Table(columns=("paragraph", "taken out of documents"), rows=rows),) if rows else (),
            )
        ],
    )
