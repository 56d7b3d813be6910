"""Thresholds on numbers that others wrote beside the documents: a perplexity, a probability, a score of a collection's own."""

from typing import Literal, override

from bunbuku_contracts import BunbukuError
from pydantic import Field, model_validator

from bunbuku_corpus.filters.filter import Filter, Measure, Values
from bunbuku_corpus.texts import Texts


class ColumnValue(Measure):
    """The number in a column of the corpus; a dotted name reaches into a struct. No text has it: batches are read for it."""

    type: Literal["column_value"] = "column_value"
    values_in: str

    @override
    def of(self, texts: Texts) -> Values:
        hint = "`clean`, `decide` and `explain` read it from the corpus"
        raise BunbukuError(f"the column {self.values_in!r} is no property of a text", hint=hint)


class OddValue(Filter):
    """The number in the column `values_in` is below `min_value` or above `max_value`. Documents without one pass.

    `bits_per_byte` is what `perplexity` writes, `quality_probabilities.bad` what `classify` does.

    >>> OddValue(values_in="bits_per_byte", max_value=2.5).name
    'odd_value_bits_per_byte'
    """

    measured = ColumnValue
    type: Literal["odd_value"] = "odd_value"
    values_in: str = Field(min_length=1)
    min_value: float | None = None
    max_value: float | None = None

    @model_validator(mode="after")
    def _has_a_threshold(self) -> "OddValue":
        if self.min_value is None and self.max_value is None:
            raise ValueError(f"`odd_value` of {self.values_in!r} needs a `min_value` or a `max_value`")
        return self
