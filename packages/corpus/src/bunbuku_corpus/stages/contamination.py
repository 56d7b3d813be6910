"""Look for the items of a benchmark in a corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Corpus,
    Dialogues,
    Draft,
    Picture,
    Report,
    Section,
    Table,
    page,
    stage,
)
from bunbuku_contracts.intervals import wilson
from pydantic import NonNegativeInt

from bunbuku_corpus import pictures
from bunbuku_corpus.annotations import documents_of
from bunbuku_corpus.benchmarks import Item, Reading, read_items
from bunbuku_corpus.document import COLUMNS
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.overlap import Counts, Evidence, Finding, Overlap
from bunbuku_corpus.shards import RowGroup, row_groups
from bunbuku_corpus.writing import by_shard

TITLE = "Benchmark items that stand in the corpus"
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("method", pa.string()),
        ("chars", pa.int64()),
        ("contaminated", pa.bool_()),
        ("coverage", pa.float64()),
        ("documents", pa.int64()),
        ("document", pa.string()),
    ]
)

_HITS_SCHEMA = pa.schema(
    [("document", pa.string()), ("item", pa.string()), ("chars", pa.int64()), ("coverage", pa.float64())]
)
HITS = "documents"
"""Part with the documents that have items in them."""


class ContaminationConfig(Reading, Evidence):
    """How items are read, and what shows that they stand in the corpus."""

    shown: NonNegativeInt = 30
    """Contaminated items that the page shows, the most covered first."""


_HERE = EngineRun()


@stage("corpus.contamination", revision=3)
def contamination(
    draft: Draft,
    config: ContaminationConfig,
    corpus: Artifact[Corpus],
    items: Path | None = None,
    dialogues: Artifact[Dialogues] | None = None,
    *,
    run: EngineRun = _HERE,
) -> Report:
    """Look for every item of a benchmark in a corpus: short ones as a whole, long ones by n-grams of letters.

    Items come from `--items` (JSON Lines, plain, .gz or .zst, or Parquet; `fields` names the texts) or from
    `--dialogues`. `items.parquet` has a row an item: its id, whether it is `contaminated`, its coverage by the document
    that covers it best, and that document's id. Scores are then given with and without those items, joined by id.
    `documents.parquet` has every document with every item that contaminates it, for `decontaminate` to drop.
    """
    wanted = tuple(read_items(items, dialogues, config))
    overlap = Overlap(wanted, config)
    shards = by_shard(row_groups(corpus, columns=COLUMNS))
    with open_engine(run, draft.scratch) as engine:
        work = engine.each(_Look(wanted, config), shards)
        for counts in draft.track(work, unit="shards", total=len(shards)):
            overlap.merge(counts)
    if not overlap.characters:
        raise BunbukuError(f"{corpus.dir} has no text to look in", hint="give a part that has some, such as DIR#train")
    findings = overlap.findings
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist([_row(one) for one in findings], _SCHEMA), path, compression="zstd")
    draft.count(path, rows=len(findings))
    _write_hits(draft, findings)
    judged = [one for one in findings if one.method != "not judged"]
    bad = [one for one in judged if one.contaminated]
    low, high = wilson(len(bad), len(judged))
    draft.metrics |= {
        "documents": overlap.documents,
        "characters": overlap.characters,
        "items": len(findings),
        "items.judged": len(judged),
        "items.contaminated": len(bad),
        "share": len(bad) / len(judged),
        "share.low": low,
        "share.high": high,
    }
    drawn = {"coverage.svg": _picture(judged, config)}
    return Report(title=TITLE, page=page.publish(draft, TITLE, _sections(overlap, bad, config), drawn))


@dataclass(frozen=True)
class _Look:
    """Looks for the items in one shard."""

    items: tuple[Item, ...]
    evidence: Evidence

    def __call__(self, groups: tuple[RowGroup, ...]) -> Counts:
        overlap = _empty((self.items, self.evidence))
        for group in groups:
            for document in documents_of(group.read()):
                overlap.add(document)
        return overlap.counts()


@lru_cache(1)
def _empty(what: tuple[tuple[Item, ...], Evidence]) -> Overlap:
    """Made once: the index of the items' n-grams takes time to build."""
    return Overlap(*what)


def _write_hits(draft: Draft, findings: Sequence[Finding]) -> None:
    rows = sorted(
        (document, one.item.id, len(one.letters), round(coverage, 6))
        for one in findings
        for document, coverage in one.hits
    )
    named = [dict(zip(_HITS_SCHEMA.names, row, strict=True)) for row in rows]
    path = draft.dir / "documents.parquet"
    pq.write_table(pa.Table.from_pylist(named, _HITS_SCHEMA), path, compression="zstd")
    draft.count(path, rows=len(rows) or None, part=HITS)  # that there is nothing is what everybody hopes for


def _row(found: Finding) -> dict[str, str | float | bool | None]:
    return {
        "id": found.item.id,
        "method": found.method,
        "chars": len(found.letters),
        "contaminated": found.contaminated,
        "coverage": round(found.coverage, 6),
        "documents": found.documents,
        "document": found.document,
    }


def _picture(judged: Sequence[Finding], config: ContaminationConfig) -> str:
    steps = [step / 20 for step in range(1, 21)]
    points = [(step, sum(one.coverage >= step for one in judged) / len(judged)) for step in steps]
    return pictures.curve(
        points,
        x_label=f"coverage (contaminated from {config.threshold:g})",
        y_label="share of items with at least so much",
    )


def _sections(overlap: Overlap, bad: Sequence[Finding], config: ContaminationConfig) -> tuple[Section, ...]:
    findings = overlap.findings
    count = {method: [one for one in findings if one.method == method] for method in ("ngrams", "whole", "not judged")}
    judged = len(findings) - len(count["not judged"])
    low, high = wilson(len(bad), judged)
    said = (
        f"{len(bad):,} of {judged:,} items ({len(bad) / judged:.1%}; {low:.1%} to {high:.1%} at 95 %) stand in "
        f"{overlap.documents:,} documents ({overlap.characters:,} characters).",
        f"An item of fewer than {config.ngram} letters is found as a whole; a longer one when some document has "
        f"{config.threshold:.0%} of its letters in n-grams of {config.ngram}. N-grams that more than {config.shared_by} "
        "items share do not count.",
    )
    names = {"ngrams": "by n-grams", "whole": "as a whole", "not judged": "not judged: too few letters of their own"}
    methods = tuple((names[one], len(some), sum(x.contaminated for x in some)) for one, some in count.items())
    worst = sorted(bad, key=lambda one: (-one.coverage, one.item.id))[: config.shown]
    rows = tuple(
        (one.item.id, round(one.coverage, 3), one.documents, one.document, _cut(one.item.text), one.passage)
        for one in worst
    )
    return (
        Section(
            title="How many items are contaminated",
            paragraphs=said,
            pictures=(Picture(path="coverage.svg", caption="How much of the items the best document has"),),
            tables=(Table(columns=("looked for", "items", "contaminated"), rows=methods),),
        ),
        Section(
            title="Which they are",
            tables=(
                Table(
                    columns=("item", "coverage", "documents", "best document", "text", "passage, in letters"),
                    rows=rows,
                    caption=f"{len(worst):,} of {len(bad):,}, the most covered first",
                ),
            ),
        ),
    )


def _cut(text: str, chars: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= chars else text[: chars - 1] + "…"
