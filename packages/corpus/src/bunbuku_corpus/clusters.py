"""From pairs of near-duplicates to clusters of documents, and who stays.

Near-duplicates are the edges of a graph. Its connected components are the *clusters*: no document outside of one is a
known near-duplicate of a document inside. A component may chain unlike documents, a copy of a copy of a copy, so not all
of it goes: documents stay in the order of a stated rule, the best first, unless they are near to one that stays already.

Both are the same whatever the order of the pairs.
"""

from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from bunbuku_contracts import BunbukuError, Config
from numpy.typing import NDArray
from pydantic import Field

from bunbuku_corpus.arrow import compute

type Numbers = NDArray[np.int64]
type Values = NDArray[np.float64]


class Rule(Protocol):
    """Which of several near-duplicates stays."""

    def ranks(self, batch: pa.RecordBatch) -> Values:
        """A number for each document, the highest for the best."""
        ...


class Longest(Config):
    """The longest text: more of it, and rarely less than the other says."""

    type: Literal["longest"] = "longest"

    def ranks(self, batch: pa.RecordBatch) -> Values:
        return np.zeros(batch.num_rows)


class First(Config):
    """The one that stands first in the corpus, whose order is then part of what is asked for."""

    type: Literal["first"] = "first"

    def ranks(self, batch: pa.RecordBatch) -> Values:
        return -batch["number"].to_numpy().astype(np.float64)


class FromSource(Config):
    """The one from the source that is named first; sources that are not named come last."""

    type: Literal["from_source"] = "from_source"
    sources: tuple[str, ...]

    def ranks(self, batch: pa.RecordBatch) -> Values:
        places = compute.index_in(batch["source"], value_set=pa.array(self.sources, pa.string()))
        return -compute.fill_null(places, len(self.sources)).to_numpy(zero_copy_only=False).astype(np.float64)


class Highest(Config):
    """The one with the highest number in a column, such as a quality score. No number is the lowest of all."""

    type: Literal["highest"] = "highest"
    column: str

    def ranks(self, batch: pa.RecordBatch) -> Values:
        if self.column not in batch.schema.names:
            raise BunbukuError(
                f"the corpus has no column {self.column!r}; it has {', '.join(batch.schema.names)}",
                hint="correct `representative.column`",
            )
        values = batch[self.column].cast(pa.float64())
        return compute.fill_null(values, float("-inf")).to_numpy(zero_copy_only=False)


AnyRule = Annotated[Longest | First | FromSource | Highest, Field(discriminator="type")]


def components(count: int, left: Numbers, right: Numbers) -> Numbers:
    """For each of `count` things, the least of those that it is connected with.

    Each takes the least label of its neighbours, and then the label of its label, until nothing changes (the labels of
    Shiloach and Vishkin 1982, "An O(log n) parallel connectivity algorithm", all edges at once).

    >>> components(5, np.array([3, 1]), np.array([4, 3])).tolist()
    [0, 1, 2, 1, 1]
    """
    labels = np.arange(count)
    while True:
        before = labels.copy()
        least = np.minimum(labels[left], labels[right])
        # The label's owner takes it too, so that whole trees move and not one leaf after the other.
        for ends in (left, right):
            np.minimum.at(labels, before[ends], least)
            np.minimum.at(labels, ends, least)
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels


class Elected(NamedTuple):
    """Of each thing: what it is near to that stays, itself if it stays, and how near."""

    stands_for_it: Numbers
    similarity: Values


def elect(left: Numbers, right: Numbers, similarity: Values, *, order: Numbers, old: NDArray[np.bool_]) -> Elected:
    """Who stays: the best first, each unless it is near to one that stays already.

    `order` has all of them, the best first. Those that are `old` stay whatever they are near to; they come before others.

    >>> chain = elect(np.array([0, 1]), np.array([1, 2]), np.ones(2), order=np.arange(3), old=np.zeros(3, bool))
    >>> chain.stands_for_it.tolist()
    [0, 0, 2]
    """
    count = len(order)
    ends, others = np.concatenate([left, right]), np.concatenate([right, left])
    near = np.concatenate([similarity, similarity])
    sorting = np.lexsort([others, ends])
    others, near = others[sorting], near[sorting]
    begins = np.searchsorted(ends[sorting], np.arange(count + 1)).tolist()
    stands, how_near = np.full(count, -1), np.ones(count)
    for one in order.tolist():
        if stands[one] >= 0 and not old[one]:
            continue
        stands[one] = one
        how_near[one] = 1.0
        for place in range(begins[one], begins[one + 1]):
            other = others[place]
            if stands[other] < 0 and not old[other]:
                stands[other], how_near[other] = one, near[place]
    return Elected(stands, how_near)
