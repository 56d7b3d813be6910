"""The steps of finding duplicates, each a pure function from a record batch to a record batch.

documents ── Sign ──> signatures: number, id, digest, chars, rank, copies, cluster, keys of the bands
signatures ── ByDigest ──> rows that meet by digest ── ExactCopies ──> copies and what they are a copy of
signatures ── ByBand ──> rows that meet by band ── Pairs ──> pairs that meet again ── Distinct ──> candidates
documents ── Shingle ──> the sets of n-grams of the candidates
candidates ── Verify ──> their similarity
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.clusters import AnyRule
from bunbuku_corpus.comparison import Buffer
from bunbuku_corpus.engine import BUCKET
from bunbuku_corpus.minhash import NearDuplicates, band_keys, jaccard, shingles
from bunbuku_corpus.shards import NUMBER, Numbered

COPIES = "copies"
"""The column that says how many documents one stands for, itself included."""
CLUSTER = "cluster"
"""The column with the name of a document's cluster: the id of the best document in it."""
CLUSTER_SIZE = "cluster_size"
"""The column with the number of documents in that cluster."""
_TEXTS = 96
"""Texts signed at a time: few enough that what is computed of them stays in the processor's cache."""
_PIVOTS = 10
_FOLD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sign:
    """What is known of each document without its text. Without `near` there are no keys of bands."""

    near: NearDuplicates | None
    rule: AnyRule
    old: bool = False
    """Whether these documents stay, whatever others are like."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        digests: list[bytes] = []
        lengths: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        keys: list[NDArray[np.uint64]] = []
        for begin in range(0, batch.num_rows, _TEXTS):
            texts = Buffer.of(batch["text"].slice(begin, _TEXTS))
            digests += [hashlib.blake2b(text.tobytes(), digest_size=16).digest() for text in texts.texts()]
            lengths.append(texts.lengths())
            if self.near:
                keys.append(band_keys(texts, self.near))
        columns = {
            NUMBER: batch[NUMBER],
            "id": batch["id"],
            "digest": pa.array(digests, pa.binary(16)),
            "chars": pa.array(np.concatenate(lengths)),
            "rank": pa.array(np.full(batch.num_rows, np.inf) if self.old else self.rule.ranks(batch)),
            COPIES: _counted(batch, COPIES),
            CLUSTER: batch[CLUSTER] if CLUSTER in batch.schema.names else batch["id"],
            CLUSTER_SIZE: _counted(batch, CLUSTER_SIZE),
        }
        if self.near:
            flat = np.concatenate(keys) if keys else np.empty((0, self.near.bands), np.uint64)
            columns["keys"] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), self.near.bands)
        return pa.record_batch(columns)


def _counted(batch: pa.RecordBatch, column: str) -> pa.Array:
    """What an earlier deduplication says, else 1."""
    if column in batch.schema.names:
        return batch[column].cast(pa.int64())
    return pa.array(np.ones(batch.num_rows, np.int64))


@dataclass(frozen=True)
class Adopt:
    """Signatures that an earlier run kept in its index, of documents that stay."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ranks = pa.array(np.full(batch.num_rows, np.inf))
        return pa.record_batch({name: batch[name] for name in batch.schema.names} | {"rank": ranks})


@dataclass(frozen=True)
class ByDigest:
    """Sends equal texts to the same bucket."""

    buckets: int

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = (NUMBER, "id", "digest", "chars", "rank")
        return pa.record_batch(
            {name: batch[name] for name in names} | {BUCKET: _bucket(hash_of(batch["digest"]), self.buckets)}
        )


@dataclass(frozen=True)
class ExactCopies:
    """Of documents with equal texts, all but the best, each with the best one's number."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # Equal texts are equally long, so after the rank it is the id that decides.
        order = [("digest", "ascending"), ("rank", "descending"), ("id", "ascending")]
        batch = batch.take(compute.sort_indices(batch, sort_keys=order))
        digests = _halves(batch["digest"])
        begins = np.ones(len(digests), np.bool_)
        begins[1:] = (digests[1:] != digests[:-1]).any(axis=1)
        numbers = batch[NUMBER].to_numpy()
        best = numbers[np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))] if len(begins) else numbers
        return pa.record_batch({NUMBER: pa.array(numbers[~begins]), "of": pa.array(best[~begins])})


@dataclass(frozen=True)
class ByBand:
    """Sends documents that agree in a band to the same bucket: a row a document and band."""

    repeats: Path
    """Numbers of the documents that are exact copies of others: those are not compared."""
    buckets: int

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        bands = batch["keys"].type.list_size
        keys = batch["keys"].flatten().to_numpy().reshape(-1, bands)
        fresh = ~_among(self.repeats, batch[NUMBER].to_numpy()) & keys.any(axis=1)
        keys = keys[fresh].ravel()
        known = {name: batch[name].to_numpy() for name in (NUMBER, "rank", "chars")}
        known["text"] = hash_of(batch["digest"])
        columns = {name: pa.array(np.repeat(values[fresh], bands)) for name, values in known.items()}
        return pa.record_batch({"key": pa.array(keys)} | columns | {BUCKET: _bucket(keys, self.buckets)})


@dataclass(frozen=True)
class Pairs:
    """Pairs of documents that share a band. In a crowded one, each is paired with the few best only, which are to stay."""

    max_bucket: int
    buckets: int

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        keys, numbers, rank, chars, text = (batch[name].to_numpy() for name in ("key", NUMBER, "rank", "chars", "text"))
        order = np.lexsort([text, -chars, -rank, keys])
        keys, numbers = keys[order], numbers[order]
        begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, np.int64)
        sizes = np.diff(np.append(begins, len(keys)))
        left, right, crowded = [], [], []
        for size in np.unique(sizes[sizes > 1]).tolist():
            one, other = np.triu_indices(size, 1) if size <= self.max_bucket else _with_pivots(size)
            starts = begins[sizes == size][:, None]
            left.append(numbers[starts + one].ravel())
            right.append(numbers[starts + other].ravel())
            crowded.append(np.full(left[-1].size, size > self.max_bucket))
        a, b, c = (np.concatenate(parts) if parts else np.empty(0, np.uint64) for parts in (left, right, crowded))
        return _pairs(np.minimum(a, b), np.maximum(a, b), c.astype(np.bool_), self.buckets)


@dataclass(frozen=True)
class Distinct:
    """Each pair once."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        left, right, crowded = (batch[name].to_numpy(zero_copy_only=False) for name in ("left", "right", "crowded"))
        return _pairs(left, right, crowded, 1)


@dataclass(frozen=True)
class Shingle:
    """The sets of n-grams of chosen documents."""

    near: NearDuplicates
    chosen: Path

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        batch = batch.filter(pa.array(_among(self.chosen, batch[NUMBER].to_numpy())))
        some = (Buffer.of(batch["text"].slice(begin, _TEXTS)) for begin in range(0, batch.num_rows, _TEXTS))
        sets = [one for texts in some for one in shingles(texts, self.near.ngram)]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(one) for one in sets], dtype=np.int64)])
        flat = np.concatenate(sets) if sets else np.empty(0, np.uint64)
        grams = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat))
        return pa.record_batch({NUMBER: batch[NUMBER], "grams": grams})


@dataclass(frozen=True)
class Verify:
    """The similarity of each pair; 0 for a pair whose sets' sizes alone keep it below the threshold."""

    sets: Numbered
    threshold: float

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        pairs = zip(batch["left"].to_pylist(), batch["right"].to_pylist(), strict=True)
        return batch.append_column("similarity", pa.array([self._similarity(*pair) for pair in pairs], pa.float64()))

    def _similarity(self, left: int, right: int) -> float:
        one, other = (self.sets.find(number, "grams").values.to_numpy() for number in (left, right))
        less, more = sorted((one.size, other.size))
        return jaccard(one, other) if less >= self.threshold * more else 0.0


def _with_pivots(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one, other = np.meshgrid(np.arange(_PIVOTS), np.arange(size), indexing="ij")
    return one[one < other], other[one < other]


def _pairs(
    left: NDArray[np.uint64], right: NDArray[np.uint64], crowded: NDArray[np.bool_], buckets: int
) -> pa.RecordBatch:
    order = np.lexsort([~crowded, right, left])
    left, right, crowded = left[order], right[order], crowded[order]
    first = np.ones(len(left), np.bool_)
    first[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    left, right, crowded = left[first], right[first], crowded[first]
    columns = {"left": pa.array(left), "right": pa.array(right), "crowded": pa.array(crowded)}
    return pa.record_batch(columns | {BUCKET: _bucket(left * _FOLD, buckets)})


def _bucket(hashes: NDArray[np.uint64], buckets: int) -> pa.Array:
    return pa.array(((hashes >> np.uint64(20)) % np.uint64(buckets)).astype(np.uint16))


def _halves(digests: pa.FixedSizeBinaryArray) -> NDArray[np.uint64]:
    _, data = digests.buffers()
    whole = np.frombuffer(data or b"", np.uint64).reshape(-1, 2)
    return whole[digests.offset : digests.offset + len(digests)]


def hash_of(digests: pa.FixedSizeBinaryArray) -> NDArray[np.uint64]:
    """Half of each digest: what decides between equally good documents, and in which bucket equal texts meet."""
    return np.ascontiguousarray(_halves(digests)[:, 0])


@lru_cache(4)
def _numbers(path: Path) -> NDArray[np.uint64]:
    return np.load(path, mmap_mode="r")


def _among(path: Path, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which numbers are in the sorted ones of a file."""
    known = _numbers(path)
    if not len(known):
        return np.zeros(len(numbers), np.bool_)
    places = np.searchsorted(known, numbers)
    return known[np.minimum(places, len(known) - 1)] == numbers
