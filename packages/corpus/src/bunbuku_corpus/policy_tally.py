"""What a policy does to a corpus, counted from annotations alone: each filter by itself and in turn, together, and moved.

Everything is a sum over batches, so that memory does not grow with the corpus and no order changes a number.
"""

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bunbuku_corpus.annotations import values_of
from bunbuku_corpus.filters import AnyFilter, Bounds, Filter, Values
from bunbuku_corpus.policy import objections

FACTORS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
"""Where else thresholds are tried, by what they are multiplied with."""
_LINEAR = np.linspace(0.0, 1.0, 201)
_STEPS = np.concatenate(([0.0], 10.0 ** (np.arange(0, 113) / 16)))
"""Edges of bins of what is no ratio: sixteen to a power of ten, up to ten million."""


class Moved(NamedTuple):
    """What a policy would do with one threshold elsewhere."""

    bound: str
    """`min` or `max`."""
    value: float
    present: bool
    """Whether this is where it is."""
    alone: int
    """Documents that the filter would reject."""
    kept: int
    """Documents that the policy would keep, its other filters as they are."""


def moves(bounds: Bounds) -> list[tuple[str, float, Bounds]]:
    """Other places for the thresholds, the present ones among them.

    >>> [value for _, value, _ in moves(Bounds(high=0.5))]
    [0.125, 0.25, 0.375, 0.45, 0.5, 0.55, 0.625, 0.75, 1.0, 2.0]
    """
    found: list[tuple[str, float, Bounds]] = []
    for name, value in (("min", bounds.low), ("max", bounds.high)):
        if value is None:
            continue
        for factor in FACTORS if value else (1.0,):
            moved = value * factor
            changed = bounds._replace(low=moved) if name == "min" else bounds._replace(high=moved)
            found.append((name, moved, changed))
    return found


@dataclass
class Sampled:
    """The few ids of lowest rank among many: the same whatever the order."""

    size: int
    _heap: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def add(self, id: str) -> None:
        """Take an id into account."""
        rank = int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest())
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (-rank, id))
        elif self.size and -rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-rank, id))

    @property
    def ids(self) -> list[str]:
        """Those taken, in the order of their ranks."""
        return [id for _, id in sorted(self._heap, reverse=True)]


class FilterTally:
    """One filter's counts."""

    def __init__(self, judge: Filter, samples: int) -> None:
        self.judge = judge
        self.alone = self.alone_chars = self.in_sequence = self.in_sequence_chars = 0
        self.only = 0
        """Documents that no other filter rejects."""
        self.reached = 0
        """Documents that came past the filters before it."""
        self.moved = [[0, 0] for _ in moves(judge.bounds)]
        self.words: dict[str, list[int]] = {}
        """Of a filter that decides by words: how many documents have each, and how many of those it rejects."""
        ratio = pa.types.is_floating(judge.measure.column) and all(one is None or one <= 1 for one in judge.bounds)
        self.edges: NDArray[np.float64] = _LINEAR if ratio else _STEPS
        self.bins = np.zeros(len(self.edges), np.int64)
        """The last one is for what lies above all edges."""
        self.absent = 0
        """Documents without such a value."""
        self.dropped = Sampled(samples)

    def add_values(self, values: Values, rejected: NDArray[np.bool_]) -> None:
        """Count values for the picture of them."""
        if values.dtype == object:
            for value, bad in zip(values, rejected.tolist(), strict=True):
                counts = self.words.setdefault(str(value), [0, 0])
                counts[0] += 1
                counts[1] += bad
            return
        there = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        self.absent += len(values) - len(there)
        places = np.clip(np.searchsorted(self.edges, there, "right") - 1, 0, len(self.bins) - 1)
        self.bins += np.bincount(places, minlength=len(self.bins))

    def what_if(self, documents: int) -> list[Moved]:
        """Other thresholds, where they would make a difference, and what the policy would then keep."""
        bounds = self.judge.bounds
        found = [
            Moved(name, value, value in (bounds.low if name == "min" else bounds.high,), alone, kept)
            for (name, value, _), (alone, kept) in zip(moves(bounds), self.moved, strict=True)
        ]
        return [one for one in found if one.value <= 1 or self.edges is _STEPS or one.alone not in (0, documents)]


class PolicyTally:
    """All counts of a policy."""

    def __init__(self, filters: Sequence[AnyFilter], samples: int) -> None:
        self.filters = [FilterTally(one, samples) for one in filters]
        self.documents = self.characters = self.kept_documents = self.kept_characters = 0
        self.together = np.zeros((len(filters), len(filters)), np.int64)
        """How many documents two filters both reject."""
        self.kept = Sampled(samples)
        self._judges = filters

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch's documents."""
        values = values_of(batch, self._judges)
        ids: list[str] = batch.column("id").to_pylist()
        languages: list[str] = batch.column("language").to_pylist()
        chars = np.asarray(_field(batch, "characters"), np.int64)
        rejected = objections(self._judges, values, languages)
        self.documents += len(ids)
        self.characters += int(chars.sum())
        kept = ~rejected.any(axis=0)
        self.kept_documents += int(kept.sum())
        self.kept_characters += int(chars[kept].sum())
        whole = rejected.astype(np.int64)
        self.together += whole @ whole.T
        for row in np.flatnonzero(kept):
            self.kept.add(ids[row])
        past = np.ones(len(ids), np.bool_)
        times = whole.sum(axis=0)
        for tally, own in zip(self.filters, rejected, strict=True):
            here = own & past
            tally.reached += int(past.sum())
            tally.alone += int(own.sum())
            tally.alone_chars += int(chars[own].sum())
            tally.in_sequence += int(here.sum())
            tally.in_sequence_chars += int(chars[here].sum())
            past &= ~own
            for row in np.flatnonzero(own):
                tally.dropped.add(ids[row])
            measured = values[tally.judge.measure.name]
            judged = tally.judge.judges(languages)
            tally.add_values(measured[judged], own[judged])
            others = times - own == 0
            tally.only += int((own & others).sum())
            for count, (_, _, bounds) in zip(tally.moved, moves(tally.judge.bounds), strict=True):
                outside = bounds.outside(measured) & judged
                count[0] += int(outside.sum())
                count[1] += int((others & ~outside).sum())

    def warnings(self, share: float) -> list[str]:
        """A sentence for every filter that drops more than `share` of the documents."""
        said: list[str] = []
        for one in self.filters:
            whole, rest = _share(one.alone, self.documents), _share(one.in_sequence, one.reached)
            if max(whole, rest) > share:
                said.append(
                    f"{one.judge.name} rejects {whole:.1%} of all documents, and {rest:.1%} of those that reach it: "
                    f"more than {share:.0%}."
                )
        return said


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _field(batch: pa.RecordBatch, name: str) -> Any:
    return batch.column("annotations").field(name).to_numpy(zero_copy_only=False)


def metrics_of(tally: PolicyTally) -> Mapping[str, float]:
    """The counts under dotted names."""
    metrics: dict[str, float] = {
        "seen.documents": tally.documents,
        "seen.characters": tally.characters,
        "kept.documents": tally.kept_documents,
        "kept.characters": tally.kept_characters,
    }
    for one in tally.filters:
        metrics[f"alone.{one.judge.name}.documents"] = one.alone
        metrics[f"in_sequence.{one.judge.name}.documents"] = one.in_sequence
    return metrics
