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

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.batches import with_columns
from bunbuku_corpus.document import COLUMNS, Document
from bunbuku_corpus.filters import ColumnValue, Filter, Measure, Values
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
    """What the filters judge by: annotations, and the columns of others; numbers are NaN where there is none."""
    values = values_beside(batch, filters)
    for name, measure in measures_of(filters).items():
        if name not in values:
            values[name] = _values(cast(pa.StructArray, batch.column(COLUMN)).field(name), measure)
    return values


def values_beside(batch: pa.RecordBatch, filters: Sequence[Filter]) -> dict[str, Values]:
    """Of what the filters judge by, the numbers in the columns of others."""
    found: dict[str, Values] = {}
    for name, measure in measures_of(filters).items():
        if isinstance(measure, ColumnValue):
            column, *fields = measure.values_in.split(".")
            array = batch.column(column)
            for one in fields:
                array = compute.struct_field(array, one)  # null where the struct is
            found[name] = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def columns_beside(filters: Sequence[Filter]) -> list[str]:
    """The columns of others that the filters judge by."""
    measures = measures_of(filters).values()
    return sorted({one.values_in.partition(".")[0] for one in measures if isinstance(one, ColumnValue)})


def check(schema: pa.Schema, filters: Sequence[Filter], place: object) -> None:
    """See that a shard has what the filters judge by, measured as they would measure it.

    Raises:
        BunbukuError: It has not.
    """
    check_beside(schema, filters, place)
    filters = [one for one in filters if not isinstance(one.measure, ColumnValue)]
    hint = "annotate the corpus with these `measures`, or with `presets` that have the filter"
    if filters and COLUMN not in schema.names:
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


def check_beside(schema: pa.Schema, filters: Sequence[Filter], place: object) -> None:
    """See that a shard has the columns of others that the filters judge by, and that they are numbers.

    Raises:
        BunbukuError: It has not, or they are not.
    """
    for one in filters:
        if isinstance(one.measure, ColumnValue):
            name = one.measure.values_in
            kind = _type_of(schema, name)
            if kind is None:
                raise BunbukuError(
                    f"{place} has no column {name!r}, which the filter {one.name!r} judges by; "
                    f"it has {', '.join(schema.names)}",
                    hint="`perplexity` and `classify` write such columns; correct `values_in`",
                )
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
                raise BunbukuError(f"{name!r} of {place} is {kind}, no number", hint="correct `values_in`")


def _type_of(schema: pa.Schema, name: str) -> pa.DataType | None:
    kind: pa.DataType = pa.struct(list(schema))
    for one in name.split("."):
        if not isinstance(kind, pa.StructType) or kind.get_field_index(one) < 0:
            return None
        kind = kind.field(one).type
    return kind


def _signature(measure: Measure) -> dict[str, Any]:
    return {**measure.model_dump(mode="json"), "revision": type(measure).revision}


def _array(values: Values, measure: Measure) -> pa.Array:
    return pa.array(values, measure.column, from_pandas=True)


def _values(array: pa.Array, measure: Measure) -> Values:
    if pa.types.is_string(measure.column):
        return np.array(array.to_pylist(), object)
    return array.to_numpy(zero_copy_only=False)
