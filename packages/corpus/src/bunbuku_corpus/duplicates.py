"""Finding the duplicates of a corpus: what is told to whom, in which order. The steps are in `dedup_steps`.

The corpus is read twice, and a third time to write it; what is known of a document in between lies on disk. In memory are
a few dozen bytes a document that has a duplicate, and none for any other.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bunbuku_corpus.clusters import AnyRule, Longest
from bunbuku_corpus.dedup_steps import ByBand, ByDigest, Distinct, ExactCopies, Pairs, Shingle, Verify
from bunbuku_corpus.engine import Engine, Step
from bunbuku_corpus.minhash import NearDuplicates
from bunbuku_corpus.settling import Edges, Repeats, settle
from bunbuku_corpus.shards import NUMBER, Keep, Kept, Numbered, RowGroup, kept, read_arrow, write_arrow

_ROWS_A_BUCKET = 400_000
_MOST_BUCKETS = 60_000
_PAIRS_A_TASK = 4000

type Track = Callable[[Iterator[int], str, int], Iterable[int]]
"""Goes through results with progress for people: what is being done, and how often."""


class Deduplication(NamedTuple):
    """What counts as a duplicate, and which of them stays."""

    near: NearDuplicates | None = NearDuplicates()
    """Without it, only equal texts are duplicates."""
    rule: AnyRule = Longest()


@dataclass(frozen=True)
class Sources:
    """Documents to look at: those of earlier corpora, which stay, and then the new ones."""

    signing: list[tuple[Step, list[RowGroup]]] = field(default_factory=list[tuple[Step, list[RowGroup]]])
    """What to read for the signatures, and what to do with it."""
    texts: list[RowGroup] = field(default_factory=list[RowGroup])
    old: int = 0
    """How many are not new: their numbers come first."""

    @property
    def documents(self) -> int:
        return sum(group.rows for group in self.texts)


class Found(NamedTuple):
    """What was found. The decisions lie in a folder; see `settling.Settle`."""

    decisions: Path
    candidates: int
    """Pairs that were compared."""
    near: int
    """Pairs that are near-duplicates indeed."""
    crowded: int
    """Pairs from bands so crowded that not all of their pairs were compared."""


@dataclass(frozen=True)
class Search:
    """A search for duplicates: what does the work, and where it keeps what it knows."""

    engine: Engine
    sources: Sources
    what: Deduplication
    scratch: Path
    track: Track

    def __call__(self) -> Found:
        for step, groups in self.sources.signing:
            self._keep(step, "signatures", groups)
        repeats = self._repeats()
        np.save(self._repeated, repeats.numbers)
        edges, candidates, crowded = self._near(self.what.near) if self.what.near else (Edges.none(), 0, 0)
        decisions = self.scratch / "decisions"
        settle(kept(self._signatures), repeats, edges, old=self.sources.old, folder=decisions)
        return Found(decisions, candidates, len(edges.left), crowded)

    @property
    def _signatures(self) -> Path:
        return self.scratch / "signatures"

    @property
    def _repeated(self) -> Path:
        return self.scratch / "repeated.npy"

    def _keep(self, step: Step, name: str, groups: Sequence[RowGroup]) -> None:
        for _ in self.track(self.engine.each(Keep(step, self.scratch / name), groups), name, len(groups)):
            pass

    def _repeats(self) -> Repeats:
        work = Kept(ByDigest(_buckets(self.sources.documents)))
        batches = list(self.engine.grouped(work, kept(self._signatures), ExactCopies()))
        numbers, of = (_joined(batches, name, np.uint64) for name in (NUMBER, "of"))
        order = np.argsort(numbers)
        return Repeats(numbers[order], of[order])

    def _near(self, near: NearDuplicates) -> tuple[Edges, int, int]:
        """Pairs that are near, how many were compared, and how many of those shared a crowded band."""
        candidates = self._candidates(near)
        chosen = np.union1d(candidates["left"].to_numpy(), candidates["right"].to_numpy())
        np.save(self.scratch / "chosen.npy", chosen)
        firsts = np.array([group.first for group in self.sources.texts], np.uint64)
        places = np.unique(np.searchsorted(firsts, chosen, side="right") - 1)
        groups = [self.sources.texts[place] for place in places.tolist()]
        self._keep(Shingle(near, self.scratch / "chosen.npy"), "sets", groups)
        write_arrow(self.scratch / "pairs.arrow", candidates)
        verify = _SomePairs(
            Verify(Numbered.of(self.scratch / "sets", groups), near.threshold), self.scratch / "pairs.arrow"
        )
        batches = list(self.engine.each(verify, range(0, candidates.num_rows, _PAIRS_A_TASK)))
        similarity = _joined(batches, "similarity", np.float64)
        left, right = (candidates[name].to_numpy().astype(np.int64) for name in ("left", "right"))
        is_near = similarity >= near.threshold
        crowded = int(np.count_nonzero(candidates["crowded"].to_numpy(zero_copy_only=False)))
        return Edges(left[is_near], right[is_near], similarity[is_near]), candidates.num_rows, crowded

    def _candidates(self, near: NearDuplicates) -> pa.RecordBatch:
        """Pairs that share a band, each once, sorted."""
        buckets = _buckets(self.sources.documents * near.bands)
        work, steps = Kept(ByBand(self._repeated, buckets)), (Pairs(near.max_bucket, buckets), Distinct())
        batches = list(self.engine.grouped(work, kept(self._signatures), *steps))
        left, right = (_joined(batches, name, np.uint64) for name in ("left", "right"))
        crowded = _joined(batches, "crowded", np.bool_)
        order = np.lexsort([right, left])
        columns = {"left": left[order], "right": right[order], "crowded": crowded[order]}
        return pa.record_batch({name: pa.array(column) for name, column in columns.items()})


@dataclass(frozen=True)
class _SomePairs:
    """A step on some of the pairs that lie in a file."""

    step: Step
    path: Path

    def __call__(self, begin: int) -> pa.RecordBatch:
        return self.step(read_arrow(self.path).slice(begin, _PAIRS_A_TASK))


def _buckets(rows: int) -> int:
    return max(1, min(_MOST_BUCKETS, rows // _ROWS_A_BUCKET))


def _joined[T: np.generic](batches: Sequence[pa.RecordBatch], column: str, dtype: type[T]) -> NDArray[T]:
    return np.concatenate([np.empty(0, dtype), *(batch[column].to_numpy(zero_copy_only=False) for batch in batches)])
