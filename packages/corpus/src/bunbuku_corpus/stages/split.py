"""Divide a corpus into the parts train, validation and test."""

from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft, stage

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.dedup_steps import CLUSTER, CLUSTER_SIZE
from bunbuku_corpus.partition import PARTS, Division, Part, Partition
from bunbuku_corpus.shards import NUMBER, row_groups
from bunbuku_corpus.writing import Shard, by_shard, count_rows

TIED = "tied_to_another_part"


class SplitConfig(Partition):
    """How documents are divided into train, validation and test."""


@stage("corpus.split", revision=2)
def split(
    draft: Draft, config: SplitConfig, corpus: Artifact[Corpus], previous: Artifact[Corpus] | None = None
) -> Corpus:
    """Divide a corpus into the parts train, validation and test by a hash of each document's id.

    A document stays in its part whatever is added to the corpus or taken from it. Near-duplicates that `dedup` put into one
    cluster share a part, and so do a text and its translation. Where new documents join a cluster, `--previous DIR`, an
    earlier split, sees to it that the old ones stay where they were. Later stages read a part by its name:
    `--corpus DIR#train`.
    """
    clustered = list(_clustered(corpus))
    division = Division(config, config.bundles(clustered), _earlier(previous, config))
    characters: Counter[str] = Counter()
    documents: Counter[str] = Counter()
    languages: set[str] = set()
    shards = by_shard(row_groups(corpus))
    for groups in draft.track(shards, unit="shards", total=len(shards)):
        with Shard(draft.dir, groups[0].path.name) as shard:
            for group in groups:
                batch = group.read().drop_columns([NUMBER])
                for part, some in _divided(batch, division):
                    shard.write(some, part)
                    documents[part] += some.num_rows
                    characters[part] += compute.sum(compute.utf8_length(some["text"])).as_py()
                    languages |= set(some["language"].unique().to_pylist())
        count_rows(draft, shard.rows)
    _insist(config, documents)
    for part in documents:
        draft.metrics |= {f"{part}.documents": documents[part], f"{part}.characters": characters[part]}
    draft.metrics["bundled.groups"] = float(len(division.decides))
    return Corpus(languages=tuple(sorted(languages)))


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
