"""Drop the documents that a benchmark's items stand in."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    ArtifactError,
    BunbukuError,
    Config,
    Corpus,
    Draft,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import Field, NonNegativeInt

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.batches import with_columns
from bunbuku_corpus.engine import EngineRun
from bunbuku_corpus.passes import REASON, passed
from bunbuku_corpus.stages.contamination import HITS

CONTAMINATED = "contaminated"


class DecontaminateConfig(Config):
    """What a document goes for."""

    min_chars: NonNegativeInt = 13
    """Items of fewer letters drop nothing: 「日本の首都は？」 stands in many a document that has nothing to do with the item."""
    min_coverage: float = Field(default=0.0, ge=0, le=1)
    """Share of an item that must stand in a document, where that is to be more than the `threshold` of the audit."""


_HERE = EngineRun()


@stage("corpus.decontaminate", resumable=True)
def decontaminate(
    draft: Draft,
    config: DecontaminateConfig,
    corpus: Artifact[Corpus],
    findings: Artifact[Report],
    *,
    run: EngineRun = _HERE,
) -> Corpus:
    """Drop the documents in which `contamination` found items of a benchmark.

    `--findings` is what `contamination` made of the same `--corpus`. What goes is kept in the part `dropped` with the reason
    `contaminated`; which items it has is in the audit's part `documents`.
    """
    made = findings.manifest.recipe
    if made.stage != "corpus.contamination" or HITS not in findings.manifest.parts:
        raise ArtifactError(f"{findings.dir} was made by {made.stage!r}", hint="give what `contamination` made")
    if made.inputs.get("corpus") != "#".join(filter(None, (corpus.manifest.content, corpus.part))):
        where = f"{corpus.dir}#{corpus.part}" if corpus.part else f"{corpus.dir}"
        raise ArtifactError(f"{findings.dir} did not look at {where}", hint="run `contamination` on that corpus")
    [hits] = findings.files(HITS)
    tally = passed(draft, corpus, _Work(findings.path(hits), findings.manifest.content, config), _Tally(), run)
    seen, gone = tally.kept + tally.dropped, tally.dropped
    if not tally.kept["documents"]:
        raise BunbukuError(f"every one of {seen['documents']} documents was dropped", hint="raise `min_chars`")
    draft.metrics |= {f"{name}.{unit}": count[unit] for name, count in _named(seen, tally) for unit in _UNITS}
    rows = tuple((name, *(count[unit] for unit in _UNITS)) for name, count in _named(seen, tally))
    said = f"{gone['documents']:,} of {seen['documents']:,} documents have an item of {config.min_chars} letters or more in them."
    table = Table(columns=("", *_UNITS), rows=rows)
    write_sections(draft, [Section(title="What was dropped", paragraphs=(said,), tables=(table,))])
    return Corpus(languages=tuple(sorted(tally.languages)) or corpus.spec.languages)


_UNITS = ("documents", "characters")


@dataclass
class _Tally:
    kept: Counter[str] = field(default_factory=Counter[str])
    dropped: Counter[str] = field(default_factory=Counter[str])
    languages: set[str] = field(default_factory=set[str])

    def add(self, other: "_Tally") -> None:
        self.kept += other.kept
        self.dropped += other.dropped
        self.languages |= other.languages


def _named(seen: Counter[str], tally: _Tally) -> tuple[tuple[str, Counter[str]], ...]:
    return ("seen", seen), ("kept", tally.kept), ("dropped.contaminated", tally.dropped)


@dataclass(frozen=True)
class _Work:
    """Says which documents of a batch go."""

    hits: Path
    content: str
    """Digest of the findings."""
    config: DecontaminateConfig

    def __call__(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, _Tally]:
        doomed = _doomed(self.hits, self.content, self.config.min_chars, self.config.min_coverage)
        goes = np.fromiter((id in doomed for id in batch["id"].to_pylist()), np.bool_, batch.num_rows)
        lengths = np.array(compute.utf8_length(batch["text"]).to_pylist(), np.int64)
        tally = _Tally(
            Counter(documents=int((~goes).sum()), characters=int(lengths[~goes].sum())),
            Counter(documents=int(goes.sum()), characters=int(lengths[goes].sum())),
            set(batch["language"].filter(pa.array(~goes)).to_pylist()),
        )
        reasons = pa.array([CONTAMINATED if one else None for one in goes.tolist()], pa.string())
        judged = with_columns(batch, {REASON: reasons}, without=(REASON,))
        return judged.replace_schema_metadata(batch.schema.metadata), tally


@lru_cache(1)
def _doomed(hits: Path, _content: str, min_chars: int, min_coverage: float) -> frozenset[str]:
    rows = pq.read_table(hits, columns=["document", "chars", "coverage"])
    enough = compute.and_(
        compute.greater_equal(rows["chars"], min_chars),
        compute.greater_equal(rows["coverage"], min_coverage),
    )
    return frozenset(rows.filter(enough)["document"].to_pylist())
