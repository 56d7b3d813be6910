"""What becomes of each document: from copies and near pairs to the rows of the output.

`settle` looks at all documents that have a duplicate together and writes down what becomes of them. `Settle` is the step
that looks it up, batch by batch; a document of which nothing is written down stays, and is a cluster by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.clusters import Elected, Numbers, Values, components, elect
from bunbuku_corpus.dedup_steps import CLUSTER, CLUSTER_SIZE, COPIES, hash_of
from bunbuku_corpus.shards import NUMBER, read_arrow, write_arrow

REASON, DUPLICATE_OF, SIMILARITY = "reason", "duplicate_of", "similarity"
EXACT, NEAR = "exact_duplicate", "near_duplicate"
_ATTRIBUTES = [NUMBER, "id", "digest", "chars", "rank", COPIES, CLUSTER, CLUSTER_SIZE]
_DECISIONS, _RENAMED = "decisions.arrow", "renamed.arrow"
_BEFORE = "before"


class Repeats(NamedTuple):
    """Exact copies, by number, and what they are copies of."""

    numbers: NDArray[np.uint64]
    of: NDArray[np.uint64]


class Edges(NamedTuple):
    """Pairs of near-duplicates, by number."""

    left: Numbers
    right: Numbers
    similarity: Values

    @classmethod
    def none(cls) -> "Edges":
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def settle(signatures: Sequence[Path], repeats: Repeats, edges: Edges, *, old: int, folder: Path) -> None:
    """Write down what becomes of each document that has a duplicate. Those with numbers below `old` stay."""
    copies, of = (column.astype(np.int64) for column in repeats)
    numbers = np.unique(np.concatenate([copies, of, edges.left, edges.right]))
    known = _attributes(signatures, numbers)
    copies, of, left, right = (np.searchsorted(numbers, ends) for ends in (copies, of, edges.left, edges.right))
    # Of equally good documents the hash of the text decides, as in crowded bands; of equal texts, the id.
    hashed = known.append_column("text", pa.array(hash_of(known["digest"])))
    best_first = [("rank", "descending"), ("chars", "descending"), ("text", "ascending"), ("id", "ascending")]
    order = compute.sort_indices(hashed, sort_keys=best_first).to_numpy().astype(np.int64)
    elected = elect(left, right, edges.similarity, order=order, old=numbers < old)
    stands, similarity, exact = _with_copies(elected, copies, of)
    stands_for = np.zeros(len(numbers), np.int64)
    np.add.at(stands_for, stands, known[COPIES].to_numpy())
    clusters = _clusters(known, order, np.concatenate([left, copies]), np.concatenate([right, of]))
    rows = {
        NUMBER: pa.array(numbers.astype(np.uint64)),
        REASON: compute.if_else(
            pa.array(stands == np.arange(len(numbers))),
            pa.scalar(None, pa.string()),
            compute.if_else(pa.array(exact), EXACT, NEAR),
        ),
        DUPLICATE_OF: known["id"].take(pa.array(stands)),
        SIMILARITY: pa.array(similarity),
        COPIES: pa.array(stands_for),
    }
    called = compute.index_in(known[CLUSTER], value_set=clusters[_BEFORE])
    rows |= {name: clusters[name].take(called) for name in (CLUSTER, CLUSTER_SIZE)}
    write_arrow(folder / _DECISIONS, pa.record_batch(rows))
    write_arrow(folder / _RENAMED, clusters)


def _with_copies(elected: Elected, copies: Numbers, of: Numbers) -> tuple[Numbers, Values, NDArray[np.bool_]]:
    """What each stands behind, how near, and whether their texts are equal: a copy goes where its original goes."""
    stands, similarity = elected.stands_for_it.copy(), elected.similarity.copy()
    exact = np.zeros(len(stands), np.bool_)
    stands[copies], similarity[copies] = stands[of], similarity[of]
    exact[copies] = stands[copies] == of
    return stands, similarity, exact


def _clusters(known: pa.RecordBatch, order: Numbers, left: Numbers, right: Numbers) -> pa.RecordBatch:
    """What each cluster that anything was in before is called now, and how many documents it has.

    A document that never had a duplicate is a cluster of its own name. Documents that an earlier run put into one cluster
    stay together, whether or not they meet in this one: what is connected are the names.
    """
    encoded = known[CLUSTER].dictionary_encode()
    names, codes = encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)
    labels = components(len(names), codes[left], codes[right])
    sizes = np.zeros(len(names), np.int64)
    before = np.zeros(len(names), np.int64)
    before[codes] = known[CLUSTER_SIZE].to_numpy()
    np.add.at(sizes, labels, before)
    best = np.full(len(names), len(order))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    np.minimum.at(best, labels[codes], place)
    now = pa.array(codes[order[best[labels]]])
    return pa.record_batch({_BEFORE: names, CLUSTER: names.take(now), CLUSTER_SIZE: pa.array(sizes[labels])})


def _attributes(signatures: Sequence[Path], numbers: Numbers) -> pa.RecordBatch:
    """What must be known of these documents."""
    found: list[pa.RecordBatch] = []
    for path in signatures:
        batch = read_arrow(path).select(_ATTRIBUTES)
        first = batch[NUMBER][0].as_py()
        begin, end = np.searchsorted(numbers, [first, first + batch.num_rows])
        found.append(batch.take(pa.array(numbers[begin:end] - first, pa.int64())))
    return pa.Table.from_batches(found).combine_chunks().to_batches(max_chunksize=None)[0] if len(numbers) else found[0]


@lru_cache(2)
def _opened(path: Path) -> pa.RecordBatch:
    return read_arrow(path)


@dataclass(frozen=True)
class Settle:
    """Adds to each document what becomes of it: `reason` and `duplicate_of` if it goes, its cluster, and its copies."""

    folder: Path

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        decided = _opened(self.folder / _DECISIONS)
        numbers = decided[NUMBER].to_numpy()
        mine = batch[NUMBER].to_numpy()
        begin, end = np.searchsorted(numbers, [mine[0], mine[-1] + np.uint64(1)]) if len(mine) else (0, 0)
        decided = decided.slice(begin, end - begin)
        # Which row of the decisions is about each document: none for most.
        rows = compute.index_in(batch[NUMBER], value_set=decided[NUMBER])
        reasons = decided[REASON].take(rows)
        goes = compute.is_valid(reasons)
        names, sizes = self._clusters(batch)
        added = {
            REASON: reasons,
            DUPLICATE_OF: compute.if_else(goes, decided[DUPLICATE_OF].take(rows), pa.scalar(None, pa.string())),
            SIMILARITY: compute.if_else(goes, decided[SIMILARITY].take(rows), pa.scalar(None, pa.float64())),
            COPIES: compute.coalesce(decided[COPIES].take(rows), _before(batch, COPIES)),
            CLUSTER: compute.coalesce(decided[CLUSTER].take(rows), names),
            CLUSTER_SIZE: compute.coalesce(decided[CLUSTER_SIZE].take(rows), sizes),
        }
        columns = {name: batch[name] for name in batch.schema.names if name != NUMBER}
        return pa.record_batch(columns | added)

    def _clusters(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
        """Clusters of an earlier run: others of their documents may have met new ones in this run."""
        sizes = _before(batch, CLUSTER_SIZE)
        if CLUSTER not in batch.schema.names:
            return batch["id"], sizes
        renamed, names = _opened(self.folder / _RENAMED), batch[CLUSTER]
        shared = renamed.filter(compute.is_in(renamed[_BEFORE], value_set=names.unique()))
        rows = compute.index_in(names, value_set=shared[_BEFORE])
        return compute.coalesce(shared[CLUSTER].take(rows), names), compute.coalesce(
            shared[CLUSTER_SIZE].take(rows), sizes
        )


def _before(batch: pa.RecordBatch, column: str) -> pa.Array:
    if column in batch.schema.names:
        return batch[column].cast(pa.int64())
    return pa.array(np.ones(batch.num_rows, np.int64))
