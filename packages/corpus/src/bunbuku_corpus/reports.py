"""What `clean` found, twice: as `report.json` for programs and as sections for readers."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bunbuku_contracts import BunbukuError, Draft, Section, Table, write_sections
from bunbuku_contracts.manifest import Frozen

from bunbuku_corpus.cleaning import Count, Sample, Verdicts
from bunbuku_corpus.normalization import Changes, fold

REPORT = "report.json"
_TOP = 30


class Amount(Frozen):
    """Documents and their characters."""

    documents: int
    characters: int


class Glimpse(Frozen):
    """The beginning of a document."""

    id: str
    text: str


class FilterReport(Frozen):
    """What one filter did."""

    name: str
    config: dict[str, Any]
    alone: Amount
    """What it rejects, whether or not another filter does."""
    in_sequence: Amount
    """What it is the first to reject."""
    samples: tuple[Glimpse, ...]


class Replaced(Frozen):
    """Characters that normalization replaced."""

    before: str
    after: str
    times: int


class NormalizationReport(Frozen):
    """What normalization did, and what NFKC would do to the results."""

    changed_documents: int
    edited: dict[str, int]
    """Documents that each edit changed."""
    newlines: int
    controls_removed: int
    replaced: tuple[Replaced, ...]
    nfkc_would_change_documents: int
    nfkc_would_replace: tuple[Replaced, ...]


class SourceReport(Frozen):
    """What a source gave."""

    seen: Amount
    kept: Amount


class CleanReport(Frozen):
    """`report.json` of `clean`. Characters are counted after normalization."""

    seen: Amount
    kept: Amount
    dropped: Amount
    filters: tuple[FilterReport, ...]
    normalization: NormalizationReport
    sources: dict[str, SourceReport]


def amount(count: Count) -> Amount:
    """The count as it is reported."""
    return Amount(documents=count.documents, characters=count.characters)


def clean_report(verdicts: Verdicts) -> CleanReport:
    """The tally as it is reported."""
    seen, kept = verdicts.seen, verdicts.kept
    filters = zip(verdicts.filters, verdicts.alone, verdicts.in_sequence, verdicts.examples, strict=True)
    return CleanReport(
        seen=amount(seen),
        kept=amount(kept),
        dropped=Amount(documents=seen.documents - kept.documents, characters=seen.characters - kept.characters),
        filters=tuple(
            FilterReport(
                name=one.name,
                config=one.model_dump(mode="json"),
                alone=amount(alone),
                in_sequence=amount(in_sequence),
                samples=_glimpses(samples),
            )
            for one, alone, in_sequence, samples in filters
        ),
        normalization=normalization_report(verdicts.changes),
        sources={
            name: SourceReport(seen=amount(seen), kept=amount(kept))
            for name, (seen, kept) in sorted(verdicts.sources.items())
        },
    )


def refuse_emptiness(report: CleanReport) -> None:
    """See that a document was kept.

    Raises:
        BunbukuError: None was.
    """
    if report.kept.documents:
        return
    worst = max(report.filters, key=lambda one: one.in_sequence.documents, default=None)
    if worst is None:
        raise BunbukuError("there is not one document in the corpus", hint="`bunbuku show` says what it holds")
    raise BunbukuError(
        f"every one of {report.seen.documents} documents was dropped, {worst.in_sequence.documents} by {worst.name!r}",
        hint="loosen that filter, or say with its `languages` which documents it is for",
    )


def report_metrics(report: CleanReport) -> dict[str, float]:
    """The report's numbers under dotted names."""
    metrics: dict[str, float] = {}
    for one in report.filters:
        for how, what in (("alone", one.alone), ("in_sequence", one.in_sequence)):
            metrics[f"{how}.{one.name}.documents"] = what.documents
            metrics[f"{how}.{one.name}.characters"] = what.characters
    for name, what in (("seen", report.seen), ("kept", report.kept), ("dropped", report.dropped)):
        metrics |= {f"{name}.documents": what.documents, f"{name}.characters": what.characters}
    return metrics


def _glimpses(samples: Iterable[Sample]) -> tuple[Glimpse, ...]:
    return tuple(Glimpse(id=sample.id, text=sample.text) for sample in samples)


def normalization_report(changes: Changes) -> NormalizationReport:
    """The tally as it is reported."""
    replaced = sorted(changes.replaced.items(), key=lambda item: (-item[1], item[0]))
    foldable = sorted(changes.foldable.items(), key=lambda item: (-item[1], item[0]))
    return NormalizationReport(
        changed_documents=changes.documents,
        edited=dict(sorted(changes.edited.items())),
        newlines=changes.newlines,
        controls_removed=changes.controls,
        replaced=tuple(Replaced(before=before, after=after, times=n) for (before, after), n in replaced),
        nfkc_would_change_documents=changes.foldable_documents,
        nfkc_would_replace=tuple(Replaced(before=char, after=fold(char), times=n) for char, n in foldable),
    )


def write_report(draft: Draft, report: Frozen, sections: Iterable[Section]) -> None:
    """Write `report.json` and the sections into the draft, apart from the documents."""
    path = Path(draft.dir, REPORT)
    path.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draft.count(path, part="report")
    write_sections(draft, sections)


def clean_sections(report: CleanReport) -> tuple[Section, ...]:
    """The report for readers."""
    return (_filters_section(report), _sources_section(report), normalization_section(report.normalization))


def _filters_section(report: CleanReport) -> Section:
    seen, kept = report.seen, report.kept
    rows = tuple(
        (one.name, one.alone.documents, one.alone.characters, one.in_sequence.documents, one.in_sequence.characters)
        for one in report.filters
    )
    samples = tuple((one.name, sample.id, sample.text) for one in report.filters for sample in one.samples)
    return Section(
        title="What the filters removed",
        paragraphs=(
            f"{kept.documents:,} of {seen.documents:,} documents were kept, {kept.characters:,} of {seen.characters:,} "
            "characters. A filter alone is counted with every document that it rejects; in sequence, with those that it "
            "is the first to reject.",
        ),
        tables=(
            Table(
                columns=("filter", "alone: documents", "characters", "in sequence: documents", "characters"),
                rows=rows,
            ),
            *((Table(columns=("filter", "id", "begins"), rows=samples, caption="Samples"),) if samples else ()),
        ),
    )


def _sources_section(report: CleanReport) -> Section:
    rows = tuple(
        (name, one.seen.documents, one.kept.documents, one.seen.characters, one.kept.characters)
        for name, one in report.sources.items()
    )
    columns = ("source", "documents", "kept", "characters", "kept")
    return Section(title="What was kept, by source", tables=(Table(columns=columns, rows=rows),))


def normalization_section(report: NormalizationReport) -> Section:
    """What normalization and edits did, for readers."""
    paragraph = (
        f"{report.changed_documents:,} documents were changed: {report.newlines:,} carriage returns and "
        f"{report.controls_removed:,} control characters went, {sum(one.times for one in report.replaced):,} characters "
        f"were replaced. NFKC would change {report.nfkc_would_change_documents:,} documents."
    )
    edited = "; ".join(f"{name}: {count:,}" for name, count in report.edited.items())
    tables = (
        _replaced_table(report.replaced, "Replaced"),
        _replaced_table(report.nfkc_would_replace, "NFKC would replace"),
    )
    return Section(
        title="Normalization",
        paragraphs=(paragraph, *((f"Documents edited. {edited}.",) if edited else ())),
        tables=tuple(table for table in tables if table.rows),
    )


def _replaced_table(replaced: tuple[Replaced, ...], caption: str) -> Table:
    rows = tuple((one.before, one.after, _named(one.before), one.times) for one in replaced[:_TOP])
    more = f" (the {_TOP} most frequent of {len(replaced)})" if len(replaced) > _TOP else ""
    return Table(columns=("before", "after", "name", "times"), rows=rows, caption=caption + more)


def _named(text: str) -> str:
    return ", ".join(unicodedata.name(char, f"U+{ord(char):04X}").lower() for char in text)
