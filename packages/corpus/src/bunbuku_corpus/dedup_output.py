"""Writing what stays and what goes, shard by shard, wherever there is a free worker.

Nothing is decided here: that is `settling`'s.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.dedup_steps import CLUSTER, CLUSTER_SIZE, COPIES
from bunbuku_corpus.settling import DUPLICATE_OF, EXACT, NEAR, REASON, SIMILARITY, Settle
from bunbuku_corpus.shards import NUMBER, RowGroup, kept, read_arrow
from bunbuku_corpus.writing import Shard

INDEX_COLUMNS = ("id", "digest", "chars", COPIES, CLUSTER, CLUSTER_SIZE, "keys")
_GLIMPSE_CHARS = 120


@dataclass(frozen=True)
class Sample:
    """A near-duplicate that went, and what it went for."""

    rank: bytes
    """Samples are those with the least, so that they are the same in any order and no better than the rest."""
    id: str
    of: str
    similarity: float
    text: str


@dataclass
class Tally:
    """What was written."""

    documents: Counter[str] = field(default_factory=Counter[str])
    """By reason; `kept` for those that stay."""
    characters: Counter[str] = field(default_factory=Counter[str])
    copies: Counter[int] = field(default_factory=Counter[int])
    """Documents that stay, by how many they stand for."""
    languages: set[str] = field(default_factory=set[str])
    samples: list[Sample] = field(default_factory=list[Sample])
    files: dict[str, int] = field(default_factory=dict[str, int])
    """Rows of the files that were written, by path inside the artifact."""

    def add(self, other: "Tally", *, samples: int) -> None:
        self.documents += other.documents
        self.characters += other.characters
        self.copies += other.copies
        self.languages |= other.languages
        self.files |= other.files
        self.samples = sorted([*self.samples, *other.samples], key=lambda one: (one.rank, one.id))[:samples]


@dataclass(frozen=True)
class WriteShards:
    """Settles the row groups of one shard and writes them."""

    settle: Settle
    out: Path
    samples: int
    signatures: Path | None = None
    """Where they are, if the documents that stay shall be in the index."""
    settings: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    """What the index says of itself."""

    def __call__(self, groups: tuple[RowGroup, ...]) -> Tally:
        tally = Tally()
        with Shard(self.out, groups[0].path.name, tally.files) as shard:
            for group in groups:
                self._one(group, shard, tally)
        return tally

    def _one(self, group: RowGroup, shard: Shard, tally: Tally) -> None:
        settled = self.settle(group.read())
        goes = settled[REASON].is_valid()
        stays = compute.invert(goes)
        dropped = settled.filter(goes).drop_columns([COPIES])
        fresh = settled.filter(stays).drop_columns([REASON, DUPLICATE_OF, SIMILARITY])
        shard.write(fresh)
        shard.write(dropped, "dropped")
        if self.signatures:
            shard.write(self._indexed(group, settled).filter(stays), "index", metadata=self.settings)
        self._count(settled, fresh, dropped, tally)

    def _indexed(self, group: RowGroup, settled: pa.RecordBatch) -> pa.RecordBatch:
        """The signatures of the row group's documents, with what is now known of their clusters."""
        assert self.signatures is not None
        for path in reversed(kept(self.signatures)):
            signed = read_arrow(path)
            if signed[NUMBER][0].as_py() == group.first:
                now = {name: settled[name] for name in (COPIES, CLUSTER, CLUSTER_SIZE)}
                return pa.record_batch({name: now.get(name, signed[name]) for name in INDEX_COLUMNS})
        raise AssertionError(f"no signatures of {group}")

    def _count(self, settled: pa.RecordBatch, fresh: pa.RecordBatch, dropped: pa.RecordBatch, tally: Tally) -> None:
        reasons = settled[REASON].fill_null("kept")
        lengths = compute.utf8_length(settled["text"])
        for reason in ("kept", EXACT, NEAR):
            chosen = compute.equal(reasons, reason)
            if count := compute.sum(chosen).as_py():
                tally.documents[reason] += count
                tally.characters[reason] += compute.sum(lengths.filter(chosen)).as_py()
        values, counts = np.unique(fresh[COPIES].to_numpy(), return_counts=True)
        tally.copies += Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        tally.languages |= set(fresh["language"].unique().to_pylist())
        near = dropped.filter(compute.equal(dropped[REASON], NEAR))
        ranks = [hashlib.blake2b(id.encode(), digest_size=8).digest() for id in near["id"].to_pylist()]
        for at in sorted(range(len(ranks)), key=ranks.__getitem__)[: self.samples]:
            row = near.slice(at, 1).to_pylist()[0]
            text = row["text"][:_GLIMPSE_CHARS]
            found = Sample(ranks[at], row["id"], row[DUPLICATE_OF], row[SIMILARITY], text)
            tally.add(Tally(samples=[found]), samples=self.samples)
