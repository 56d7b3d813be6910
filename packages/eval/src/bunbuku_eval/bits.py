"""Bits per byte: how many bits a model needs for each UTF-8 byte of a text it has not seen.

It is the one number that compares models with different tokenizers, and a model with a bigram table. A document's
log-probability is that of its tokens behind a begin-of-sequence token; whether the document ends there is not scored.
The bytes are those of the text itself, also where the tokenizer normalises it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from bunbuku_contracts.intervals import Interval
from numpy.typing import NDArray

from bunbuku_eval.documents import Document
from bunbuku_eval.intervals import bootstrap_ratio

Domain = Literal["language", "source"]

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("id", pa.string()),
        ("language", pa.string()),
        ("source", pa.string()),
        ("bytes", pa.int64()),
        ("tokens", pa.int64()),
        ("logprob", pa.float64()),
        ("failure", pa.string()),
    ]
)
"""One row a model and document; `logprob` in nats, or why there is none."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model thought of a document."""

    document: Document
    tokens: int
    logprob: float
    """Natural logarithm of the probability of all its tokens."""

    @property
    def bits(self) -> float:
        return -self.logprob / math.log(2)


@dataclass(frozen=True, slots=True)
class Failed:
    """A document that a model could not be measured on."""

    model: str
    document: Document
    reason: str

    @property
    def row(self) -> dict[str, object]:
        of = self.document
        facts = {"model": self.model, "id": of.id, "language": of.language, "source": of.source, "bytes": of.bytes}
        return {**facts, "tokens": None, "logprob": None, "failure": self.reason}


def bits_per_byte(scored: Iterable[Scored]) -> float:
    """Bits over bytes, summed over documents before dividing: a long document weighs more.

    >>> from bunbuku_eval.documents import Document
    >>> round(bits_per_byte([Scored(Document("1", "猫", "ja", "例"), 1, math.log(1 / 64))]), 9)
    2.0
    """
    scored = tuple(scored)
    return sum(one.bits for one in scored) / sum(one.document.bytes for one in scored)


def interval(scored: Sequence[Scored], *, seed: int) -> Interval:
    """95 % bootstrap interval of `bits_per_byte` over documents."""
    return bootstrap_ratio(_bits(scored), _bytes(scored), seed=seed)


def paired_interval(scored: Sequence[Scored], reference: Sequence[Scored], *, seed: int) -> Interval:
    """95 % bootstrap interval of how much lower or higher than `reference` the bits per byte are, same documents."""
    if [one.document.id for one in scored] != [one.document.id for one in reference]:
        raise ValueError("the two were not measured on the same documents in the same order")
    return bootstrap_ratio(_bits(scored) - _bits(reference), _bytes(scored), seed=seed)


def by_domain(scored: Sequence[Scored], domain: Domain) -> Mapping[str, tuple[Scored, ...]]:
    """The documents of each language or source, names ascending."""
    names = sorted({getattr(one.document, domain) for one in scored})
    return {name: tuple(one for one in scored if getattr(one.document, domain) == name) for name in names}


def rows(model: str, scored: Iterable[Scored]) -> list[dict[str, object]]:
    """Rows of `SCHEMA`."""
    return [
        {
            "model": model,
            "id": one.document.id,
            "language": one.document.language,
            "source": one.document.source,
            "bytes": one.document.bytes,
            "tokens": one.tokens,
            "logprob": one.logprob,
        }
        for one in scored
    ]


def _bits(scored: Sequence[Scored]) -> NDArray[np.float64]:
    return np.array([one.bits for one in scored])


def _bytes(scored: Sequence[Scored]) -> NDArray[np.float64]:
    return np.array([float(one.document.bytes) for one in scored])
