"""Annotations: the measures of every document, as one struct column beside the documents.

`annotations.kana_ratio` is a column of numbers in the same row as the text it belongs to; null says that a text has no such
value. The shards' schema says by which measures, with which settings and revision, each was made. Readers that name the
columns they want do not see it; DuckDB, polars and pandas read it as any other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
from bunbuku_contracts import BunbukuError

from bunbuku_corpus.batches import with_columns
from bunbuku_corpus.document import COLUMNS, Document
from bunbuku_corpus.filters import Filter, Measure, Values
from bunbuku_corpus.normalization import Changes
from bunbuku_corpus.policy import measured, measures_of
from bunbuku_corpus.preparation import Preparation
from bunbuku_corpus.texts import Texts

COLUMN = "annotations"
_MADE_BY = b"bunbuku.annotations"
LEFTOVERS = (COLUMN, "reason")
"""Columns that say nothing of a document any more once it is prepared anew."""


@dataclass
class Annotated:
    """What was seen while documents were annotated."""

    documents: int = 0
    changes: Changes = field(default_factory=Changes)
    languages: set[str] = field(default_factory=set[str])

    def add(self, other: "Annotated") -> None:
        """Count what `other` counted, too."""
        self.documents += other.documents
        self.changes.add(other.changes)
        self.languages |= other.languages


@dataclass(frozen=True)
class Annotator:
    """Measures batches of documents: a pure function from record batches to record batches, the same in any process."""

    preparation: Preparation
    measures: tuple[Measure, ...]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self.annotate(batch)[0]

    def annotate(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, "Annotated"]:
        """The batch with its documents prepared and measured, and what was seen of them."""
        seen = Annotated(batch.num_rows)
        prepared = [self.preparation.prepare(document, seen.changes) for document in documents_of(batch)]
        seen.languages.update(one.language for one in prepared)
        texts = Texts([one.text for one in prepared], [one.url for one in prepared])
        values = measured(texts, {one.name: one for one in self.measures})
        arrays = [_array(values[one.name], one) for one in self.measures]
        struct = pa.StructArray.from_arrays(arrays, fields=list(self._struct))
        columns = {**columns_of(prepared), COLUMN: struct}
        return with_columns(batch, columns, without=LEFTOVERS).replace_schema_metadata(self._metadata), seen

    @cached_property
    def _struct(self) -> pa.StructType:
        return pa.struct([pa.field(one.name, one.column) for one in self.measures])

    @cached_property
    def _metadata(self) -> dict[bytes, bytes]:
        made_by = {one.name: _signature(one) for one in self.measures}
        return {_MADE_BY: json.dumps(made_by, ensure_ascii=False, sort_keys=True).encode()}


def columns_of(prepared: Sequence[Document]) -> dict[str, pa.Array]:
    """What preparing documents may have changed."""
    texts, languages = [one.text for one in prepared], [one.language for one in prepared]
    return {"text": pa.array(texts, pa.string()), "language": pa.array(languages, pa.string())}


def documents_of(batch: pa.RecordBatch) -> list[Document]:
    """The batch's documents."""
    return [Document(**row) for row in batch.select(list(COLUMNS)).to_pylist()]


def values_of(batch: pa.RecordBatch, filters: Sequence[Filter]) -> dict[str, Values]:
    """The annotations that the filters judge by; numbers are NaN where there is none."""
    struct = cast(pa.StructArray, batch.column(COLUMN))
    return {name: _values(struct.field(name), measure) for name, measure in measures_of(filters).items()}


def check(schema: pa.Schema, filters: Sequence[Filter], place: object) -> None:
    """See that a shard has what the filters judge by, measured as they would measure it.

    Raises:
        BunbukuError: It has not.
    """
    hint = "annotate the corpus with these `measures`, or with `presets` that have the filter"
    if COLUMN not in schema.names:
        raise BunbukuError(f"{place} has no annotations", hint="bunbuku-corpus annotate makes them")
    made_by: Mapping[str, Any] = json.loads((schema.metadata or {}).get(_MADE_BY, b"{}"))
    for one in filters:
        measure = one.measure
        if measure.name not in made_by:
            raise BunbukuError(
                f"{place} was not measured by {measure.name!r}, which the filter {one.name!r} judges by; "
                f"it has {', '.join(sorted(made_by))}",
                hint=hint,
            )
        if made_by[measure.name] != _signature(measure):
            raise BunbukuError(
                f"{measure.name!r} of {place} was measured as {made_by[measure.name]}, not as {_signature(measure)}",
                hint="annotate the corpus anew",
            )


def _signature(measure: Measure) -> dict[str, Any]:
    return {**measure.model_dump(mode="json"), "revision": type(measure).revision}


def _array(values: Values, measure: Measure) -> pa.Array:
    return pa.array(values, measure.column, from_pandas=True)


def _values(array: pa.Array, measure: Measure) -> Values:
    if pa.types.is_string(measure.column):
        return np.array(array.to_pylist(), object)
    return array.to_numpy(zero_copy_only=False)
