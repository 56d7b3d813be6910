"""Divide a corpus into the parts train, validation and test."""

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft, stage

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.dedup_steps import CLUSTER, CLUSTER_SIZE
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.partition import PARTS, Division, Part, Partition
from bunbuku_corpus.shards import NUMBER, RowGroup, row_groups
from bunbuku_corpus.writing import Shard, by_shard, count_rows

TIED = "tied_to_another_part"


class SplitConfig(Partition):
    """How documents are divided into train, validation and test."""


_HERE = EngineRun()


@stage("corpus.split", revision=2)
def split(
    draft: Draft,
    config: SplitConfig,
    corpus: Artifact[Corpus],
    previous: Artifact[Corpus] | None = None,
    *,
    run: EngineRun = _HERE,
) -> Corpus:
    """Divide a corpus into the parts train, validation and test by a hash of each document's id.

    A document stays in its part whatever is added to the corpus or taken from it. Near-duplicates that `dedup` put into one
    cluster share a part, and so do a text and its translation. Where new documents join a cluster, `--previous DIR`, an
    earlier split, sees to it that the old ones stay where they were. Later stages read a part by its name:
    `--corpus DIR#train`.
    """
    clustered = list(_clustered(corpus))
    division = Division(config, config.bundles(clustered), _earlier(previous, config))
    draft.scratch.mkdir(parents=True, exist_ok=True)
    known = draft.scratch / "division.pickle"
    known.write_bytes(pickle.dumps(division))
    shards = by_shard(row_groups(corpus))
    seen = _Tally()
    with open_engine(run, draft.scratch) as engine:
        work = engine.each(_WriteParts(known, draft.dir), shards)
        for tally in draft.track(work, unit="shards", total=len(shards)):
            seen.documents += tally.documents
            seen.characters += tally.characters
            seen.languages |= tally.languages
            count_rows(draft, tally.files)
    documents = seen.documents
    _insist(config, documents)
    for part in documents:
        draft.metrics |= {f"{part}.documents": documents[part], f"{part}.characters": seen.characters[part]}
    draft.metrics["bundled.groups"] = float(len(division.decides))
    return Corpus(languages=tuple(sorted(seen.languages)))


@dataclass
class _Tally:
    """What was written."""

    documents: Counter[str] = field(default_factory=Counter[str])
    characters: Counter[str] = field(default_factory=Counter[str])
    languages: set[str] = field(default_factory=set[str])
    files: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class _WriteParts:
    """Divides the documents of one shard and writes them."""

    division: Path
    """Where it lies: it may be large, and is the same for all."""
    out: Path

    def __call__(self, groups: tuple[RowGroup, ...]) -> _Tally:
        tally = _Tally()
        with Shard(self.out, groups[0].path.name, tally.files) as shard:
            for group in groups:
                batch = group.read().drop_columns([NUMBER])
                for part, some in _divided(batch, _read_once(self.division)):
                    shard.write(some, part)
                    tally.documents[part] += some.num_rows
                    tally.characters[part] += compute.sum(compute.utf8_length(some["text"])).as_py()
                    tally.languages |= set(some["language"].unique().to_pylist())
        return tally


@lru_cache(1)
def _read_once(path: Path) -> Division:
    return pickle.loads(path.read_bytes())


def _divided(batch: pa.RecordBatch, division: Division) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The batch's documents, part by part."""
    parts = pa.array([division.place(id) for id in batch["id"].to_pylist()], pa.string())
    for part in PARTS:
        some = batch.filter(compute.equal(parts, part))
        if some.num_rows:
            yield part, some
    lost = batch.filter(parts.is_null())
    if lost.num_rows:
        there = [name for name in lost.schema.names if name != "reason"]
        reasons = {"reason": pa.array([TIED] * lost.num_rows)}
        yield "dropped", pa.record_batch({name: lost[name] for name in there} | reasons)


def _clustered(corpus: Artifact[Corpus]) -> Iterator[tuple[str, str]]:
    """Documents that are not alone in their cluster, with its name."""
    for group in row_groups(corpus, columns=("id", CLUSTER, CLUSTER_SIZE)):
        batch = group.read()
        if CLUSTER in batch.schema.names and CLUSTER_SIZE in batch.schema.names:
            several = batch.filter(compute.greater(batch[CLUSTER_SIZE], 1))
            yield from zip(several["id"].to_pylist(), several[CLUSTER].to_pylist(), strict=True)


def _earlier(previous: Artifact[Corpus] | None, partition: Partition) -> dict[str, Part]:
    """Where each group of an earlier division fell."""
    if previous is None:
        return {}
    earlier: dict[str, Part] = {}
    for part in PARTS:
        if part in previous.manifest.parts:
            earlier |= {partition.group_of(id): part for id in _ids(previous, part)}
    if not earlier:
        raise BunbukuError(f"{previous.dir} has no part train, validation or test", hint="--previous takes a split")
    return earlier


def _ids(corpus: Artifact[Corpus], part: str) -> Iterable[str]:
    for group in row_groups(corpus, part, columns=("id",)):
        yield from group.read()["id"].to_pylist()


def _insist(config: SplitConfig, documents: Counter[str]) -> None:
    shares = {"train": 1 - config.validation - config.test, "validation": config.validation, "test": config.test}
    for part, share in shares.items():
        if share and not documents[part]:
            hint = f"raise `{part}`, or change `salt`" if part != "train" else "lower `validation` and `test`"
            raise BunbukuError(
                f"not one of {documents.total()} documents falls into {part!r} at a share of {share:g}", hint=hint
            )
