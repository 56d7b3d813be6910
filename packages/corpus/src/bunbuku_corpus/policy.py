"""Policies: which filters decide, and what comes of it when every document has its measures.

A policy looks at values and never at texts. So another policy is another look at the same columns.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from bunbuku_contracts import Config
from pydantic import TypeAdapter, model_validator

from bunbuku_corpus.filters import AnyFilter, Filter, Measure, Values
from bunbuku_corpus.items import Mask
from bunbuku_corpus.presets import PresetName, presets
from bunbuku_corpus.texts import Texts

_FILTERS = TypeAdapter(tuple[AnyFilter, ...])


class Policy(Config):
    """Which documents are let through."""

    preset: PresetName | None = None
    """A published set of filters and edits. Ours, `web`, if neither it nor `filters` is given."""
    filters: tuple[AnyFilter, ...] = ()
    """All judge every document; the first in this order that rejects it gives the reason. Without a `preset` these are all;
    with one they replace those of the same name and add to them."""

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, data: Any) -> Any:
        """The preset's filters and edits, so that a recipe shows what was done and not only what it was called."""
        if not isinstance(data, Mapping):
            return data
        given = dict(cast(Mapping[str, Any], data))
        if given.get("preset") is None and "filters" not in given:
            given["preset"] = "web"
        preset = presets().get(given.get("preset") or "")
        if preset is None:
            return given
        own = _FILTERS.validate_python(given.get("filters", ()))
        given["filters"] = tuple({one.name: one for one in (*preset.filters, *own)}.values())
        return {"edits": preset.edits, **given} if "edits" in cls.model_fields else given

    @model_validator(mode="after")
    def _names_differ(self) -> "Policy":
        names = Counter(one.name for one in self.filters)
        twice = [name for name, times in names.items() if times > 1]
        if twice:
            raise ValueError(f"the filter {twice[0]!r} is there twice: give one of them other `languages`")
        return self


def measures_of(filters: Iterable[Filter]) -> dict[str, Measure]:
    """What the filters are thresholds for, by name, each once."""
    measures = (one.measure for one in filters)
    return {measure.name: measure for measure in measures}


def measured(texts: Texts, measures: Mapping[str, Measure]) -> dict[str, Values]:
    """The texts' values, by the measures' names."""
    # Short n-grams come before longer ones of the same kind, which they make cheap, and first of all what wants to know
    # which words are nouns, so that texts are analyzed once.
    return {name: measures[name].of(texts) for name in sorted(measures, key=_short_first)}


def _short_first(name: str) -> tuple[bool, int, str]:
    number = name.rpartition("_")[2]
    return not name.startswith("noun_ratio"), (int(number) if number.isdecimal() else 0), name


def objections(filters: Sequence[Filter], values: Mapping[str, Values], languages: Sequence[str]) -> Mask:
    """Which filter rejects which document: a row a filter, a column a document."""
    if not filters:
        return np.zeros((0, len(languages)), np.bool_)
    return np.stack([one.excludes(values[one.measure.name]) & one.judges(languages) for one in filters])


def first(objecting: Mask) -> list[int | None]:
    """Index of the first filter that rejects each document; `None` if none does.

    >>> first(np.array([[False, False], [True, False], [True, False]]))
    [1, None]
    """
    if not len(objecting):
        return [None] * objecting.shape[1]
    indices = objecting.argmax(axis=0)
    return [
        int(index) if rejected else None for index, rejected in zip(indices, objecting.sum(axis=0) > 0, strict=True)
    ]
