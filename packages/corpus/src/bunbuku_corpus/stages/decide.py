"""Apply a policy to measured documents."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from bunbuku_contracts import Artifact, Corpus, Draft, stage
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_corpus.annotations import check, documents_of, values_of
from bunbuku_corpus.batches import BatchWriter, open_shard, read_batches
from bunbuku_corpus.cleaning import Judged, Verdicts
from bunbuku_corpus.document import count_documents
from bunbuku_corpus.policy import Policy, first, objections
from bunbuku_corpus.reports import clean_report, clean_sections, refuse_emptiness, report_metrics, write_report


class DecideConfig(Policy):
    """Which documents are let through."""

    samples: NonNegativeInt = 5
    """Rejected documents that the report shows of each filter."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


@stage("corpus.decide")
def decide(draft: Draft, config: DecideConfig, corpus: Artifact[Corpus]) -> Corpus:
    """Keep or drop every document by the measures that `annotate` wrote, and store both.

    A policy is a `preset` and `filters`, as in `clean --help`, and gives what `clean` gives. It reads columns of numbers
    and no text, so that changing it measures nothing again. Dropped documents are kept in the part `dropped` with their
    reason, the first filter that objects, and their annotations; `--corpus DIR#dropped` decides about them anew.
    """
    verdicts = Verdicts(config.filters, config.samples)
    languages: set[str] = set()
    for file in corpus.files():
        with open_shard(corpus.path(file)) as shard:
            check(shard.schema_arrow, config.filters, corpus.path(file))
    with (
        BatchWriter(draft, rows_per_shard=config.rows_per_shard) as kept,
        BatchWriter(draft, "dropped", rows_per_shard=config.rows_per_shard) as dropped,
    ):
        for judged in draft.track(
            _judged(corpus, config, kept, dropped), unit="documents", total=count_documents(corpus)
        ):
            if verdicts.add(judged) is None:
                languages.add(judged.document.language)
    report = clean_report(verdicts)
    refuse_emptiness(report)
    write_report(draft, report, clean_sections(report)[:-1])  # nothing was normalized
    draft.metrics |= report_metrics(report)
    return Corpus(languages=tuple(sorted(languages)))


def _judged(corpus: Artifact[Corpus], policy: Policy, kept: BatchWriter, dropped: BatchWriter) -> Iterator[Judged]:
    """Every document with the filters that reject it, written to where it belongs."""
    for batch in read_batches(corpus):
        documents = documents_of(batch)
        rejected = objections(policy.filters, values_of(batch, policy.filters), [one.language for one in documents])
        drop = rejected.any(axis=0)
        reasons = [None if index is None else policy.filters[index].name for index in first(rejected)]
        bare = batch.drop_columns(["reason"]) if "reason" in batch.schema.names else batch
        kept.add(bare.filter(pa.array(~drop)))
        dropped.add(_with_reason(bare, reasons).filter(pa.array(drop)))
        for document, column in zip(documents, rejected.T, strict=True):
            yield Judged(document, tuple(np.flatnonzero(column).tolist()))


def _with_reason(batch: pa.RecordBatch, reasons: list[str | None]) -> pa.RecordBatch:
    return batch.append_column(pa.field("reason", pa.string()), pa.array(reasons, pa.string()))
