"""Say of every document what a classifier calls it, and drop what it is sure enough is bad."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Classifier,
    Config,
    Corpus,
    Draft,
    RunSettings,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import Field, PositiveInt, field_validator

from bunbuku_corpus.batches import BatchWriter, read_batches
from bunbuku_corpus.classifier import Linear, read_classifier
from bunbuku_corpus.document import count_documents
from bunbuku_corpus.pool import in_order


class ClassifyConfig(Config):
    """What is said of a document, and from when on it goes."""

    column: str = Field(default="quality", pattern="^[a-z][a-z0-9_]*$")
    """Column for the likeliest label; `<column>_probabilities` has the probability of every label."""
    drop: dict[str, float] = Field(default={})
    """Label to the probability from which a document goes: `{ bad = 0.9 }`. Other labels drop nothing, however sure."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""

    @field_validator("drop")
    @classmethod
    def _are_probabilities(cls, drop: dict[str, float]) -> dict[str, float]:
        for label, threshold in drop.items():
            if not 0 < threshold <= 1:
                raise ValueError(f"`drop.{label}` {threshold} is no probability above 0")
        return drop


class ClassifyRun(RunSettings):
    """Circumstance of `classify`."""

    workers: PositiveInt = 1
    """Processes that classify. The result does not depend on it."""


_ONE_WORKER = ClassifyRun()


@dataclass(frozen=True)
class Classifying:
    """Classifies batches of documents: a pure function from record batches to record batches."""

    linear: Linear
    column: str

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the likeliest label and all probabilities, in place of those that were there."""
        probabilities = self.linear.probabilities(batch.column("text").to_pylist()).round(6)
        best = [self.linear.labels[index] for index in probabilities.argmax(axis=1).tolist()]
        arrays = [pa.array(column, pa.float64()) for column in probabilities.T]
        struct = pa.StructArray.from_arrays(arrays, names=list(self.linear.labels))
        added = {self.column: pa.array(best, pa.string()), f"{self.column}_probabilities": struct}
        kept = [name for name in batch.schema.names if name not in added]
        fields = [
            *(batch.schema.field(name) for name in kept),
            *(pa.field(name, one.type) for name, one in added.items()),
        ]
        columns = [*(batch.column(name) for name in kept), *added.values()]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=batch.schema.metadata))


@stage("corpus.classify", bitwise=False)
def classify(
    draft: Draft,
    config: ClassifyConfig,
    corpus: Artifact[Corpus],
    classifier: Artifact[Classifier],
    *,
    run: ClassifyRun = _ONE_WORKER,
) -> Corpus:
    """Add to every document what a classifier calls it, with the probability of every label.

    Nothing goes unless `drop` names its label: `--set 'drop={bad=0.9}'` drops documents that are bad with a probability of
    at least 0.9, into the part `dropped` with the reason `classified_bad`. A document that is good with 0.99 stays, as it
    should.
    """
    linear = read_classifier(classifier)
    for label in config.drop:
        if label not in linear.labels:
            known = ", ".join(map(repr, linear.labels))
            raise BunbukuError(f"`drop` names the label {label!r}; the classifier knows {known}", hint="correct `drop`")
    tally = _Tally()
    work = in_order(Classifying(linear, config.column), read_batches(corpus), workers=run.workers)
    with (
        BatchWriter(draft, rows_per_shard=config.rows_per_shard) as kept,
        BatchWriter(draft, "dropped", rows_per_shard=config.rows_per_shard) as dropped,
    ):
        written = _written(work, config, kept, dropped, tally)
        for _ in draft.track(written, unit="documents", total=count_documents(corpus)):
            pass
    if not kept.documents:
        raise BunbukuError(
            f"every one of {dropped.documents} documents was dropped", hint="raise the thresholds in `drop`"
        )
    draft.metrics |= {"seen.documents": kept.documents + dropped.documents, "kept.documents": kept.documents}
    draft.metrics |= {f"dropped.{reason}.documents": count for reason, count in sorted(tally.reasons.items())}
    draft.metrics |= {f"label.{label}.documents": tally.labels[label] for label in linear.labels}
    write_sections(draft, [_section(linear, tally, config)])
    return Corpus(languages=tuple(sorted(tally.languages)))


class _Tally:
    def __init__(self) -> None:
        self.labels: Counter[str] = Counter()
        self.chars: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.languages: set[str] = set()


def reasons(batch: pa.RecordBatch, column: str, drop: dict[str, float]) -> list[str | None]:
    """Why each document goes, `None` for those that stay: of several labels above their thresholds the likeliest."""
    struct = batch.column(f"{column}_probabilities")
    found: list[str | None] = [None] * batch.num_rows
    best = np.zeros(batch.num_rows)
    for label, threshold in sorted(drop.items()):
        values = struct.field(label).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero((values >= threshold) & (values > best)).tolist():
            found[row], best[row] = f"classified_{label}", values[row]
    return found


def _written(
    work: Iterable[pa.RecordBatch], config: ClassifyConfig, kept: BatchWriter, dropped: BatchWriter, tally: _Tally
) -> Iterator[int]:
    for batch in work:
        why = reasons(batch, config.column, config.drop)
        goes = np.array([reason is not None for reason in why], np.bool_)
        labels, texts = batch.column(config.column).to_pylist(), batch.column("text").to_pylist()
        tally.labels.update(labels)
        for label, text in zip(labels, texts, strict=True):
            tally.chars[label] += len(text)
        tally.reasons.update(reason for reason in why if reason)
        staying = batch.filter(pa.array(~goes))
        tally.languages.update(staying.column("language").to_pylist())
        kept.add(staying)
        if goes.any():
            going = batch.filter(pa.array(goes))
            names = [name for name in going.schema.names if name != "reason"]
            dropped.add(going.select(names).append_column("reason", pa.array([one for one in why if one], pa.string())))
        yield from range(batch.num_rows)


def _section(linear: Linear, tally: _Tally, config: ClassifyConfig) -> Section:
    rows = tuple(
        (
            label,
            tally.labels[label],
            tally.chars[label],
            config.drop.get(label),
            tally.reasons[f"classified_{label}"],
        )
        for label in linear.labels
    )
    columns = ("label", "documents", "characters", "dropped from probability", "dropped")
    return Section(title="What the classifier calls the documents", tables=(Table(columns=columns, rows=rows),))
