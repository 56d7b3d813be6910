"""Say of every document what a classifier calls it, and drop what it is sure enough is bad."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Classifier,
    Config,
    Corpus,
    Draft,
    Section,
    Table,
    load,
    stage,
    write_sections,
)
from pydantic import Field, field_validator

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.batches import with_columns
from bunbuku_corpus.classifier import Linear, read_classifier
from bunbuku_corpus.engine import EngineRun
from bunbuku_corpus.passes import REASON, passed


class ClassifyConfig(Config):
    """What is said of a document, and from when on it goes."""

    column: str = Field(default="quality", pattern="^[a-z][a-z0-9_]*$")
    """Column for the likeliest label; `<column>_probabilities` has the probability of every label."""
    drop: dict[str, float] = Field(default={})
    """Label to the probability from which a document goes: `{ bad = 0.9 }`. Other labels drop nothing, however sure."""

    @field_validator("drop")
    @classmethod
    def _are_probabilities(cls, drop: dict[str, float]) -> dict[str, float]:
        for label, threshold in drop.items():
            if not 0 < threshold <= 1:
                raise ValueError(f"`drop.{label}` {threshold} is no probability above 0")
        return drop


class ClassifyRun(EngineRun):
    """Circumstance of `classify`."""


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


@stage("corpus.classify", revision=2, resumable=True, bitwise=False)
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
    passed(draft, corpus, _Work(classifier.dir, classifier.content, config), tally, run)
    seen, gone = tally.labels.total(), tally.reasons.total()
    if gone == seen:
        raise BunbukuError(f"every one of {seen} documents was dropped", hint="raise the thresholds in `drop`")
    draft.metrics |= {"seen.documents": seen, "kept.documents": seen - gone}
    draft.metrics |= {f"dropped.{reason}.documents": count for reason, count in sorted(tally.reasons.items())}
    draft.metrics |= {f"label.{label}.documents": tally.labels[label] for label in linear.labels}
    write_sections(draft, [_section(linear, tally, config)])
    return Corpus(languages=tuple(sorted(tally.languages)))


@dataclass
class _Tally:
    labels: Counter[str] = field(default_factory=Counter[str])
    chars: Counter[str] = field(default_factory=Counter[str])
    reasons: Counter[str] = field(default_factory=Counter[str])
    languages: set[str] = field(default_factory=set[str])
    """Of the documents that stay."""

    def add(self, other: "_Tally") -> None:
        self.labels += other.labels
        self.chars += other.chars
        self.reasons += other.reasons
        self.languages |= other.languages


@lru_cache(1)
def _read_once(dir: Path, content: str) -> Linear:
    return read_classifier(load(dir, Classifier))


@dataclass(frozen=True)
class _Work:
    """Classifies a batch and says why which documents go. The classifier is read where the work is done."""

    classifier: Path
    content: str
    """Its digest."""
    config: ClassifyConfig

    def __call__(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, _Tally]:
        column = self.config.column
        batch = Classifying(_read_once(self.classifier, self.content), column)(batch)
        why = reasons(batch, column, self.config.drop)
        tally = _Tally(Counter(batch[column].to_pylist()), reasons=Counter(reason for reason in why if reason))
        lengths = compute.utf8_length(batch["text"]).to_pylist()
        for label, length in zip(batch[column].to_pylist(), lengths, strict=True):
            tally.chars[label] += length
        tally.languages |= {
            language for language, reason in zip(batch["language"].to_pylist(), why, strict=True) if reason is None
        }
        judged = with_columns(batch, {REASON: pa.array(why, pa.string())}, without=(REASON,))
        return judged.replace_schema_metadata(batch.schema.metadata), tally


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
