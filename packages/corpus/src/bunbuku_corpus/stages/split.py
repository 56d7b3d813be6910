"""Divide a corpus into the parts train, validation and test."""

from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft, stage
from pydantic import PositiveInt

from bunbuku_corpus.document import Document, ShardWriter, count_documents, read_documents
from bunbuku_corpus.partition import PARTS, Partition


class SplitConfig(Partition):
    """How documents are divided into train, validation and test."""

    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


@stage("corpus.split")
def split(draft: Draft, config: SplitConfig, corpus: Artifact[Corpus]) -> Corpus:
    """Divide a corpus into the parts train, validation and test by a hash of each document's id.

    A document stays in its part whatever is added to the corpus or taken from it. Later stages read a part by its
    name: `--corpus DIR#train`.
    """
    writers = {part: ShardWriter(draft, part, rows_per_shard=config.rows_per_shard) for part in PARTS}
    languages: set[str] = set()
    document: Document
    for document in draft.track(read_documents(corpus), unit="documents", total=count_documents(corpus)):
        writers[config.part_of(document.id)].add(document)
        languages.add(document.language)
    shares = {"train": 1 - config.validation - config.test, "validation": config.validation, "test": config.test}
    total = sum(writer.documents for writer in writers.values())
    for part, writer in writers.items():
        writer.close()
        if shares[part] and not writer.documents:
            hint = f"raise `{part}`, or change `salt`" if part != "train" else "lower `validation` and `test`"
            raise BunbukuError(
                f"not one of {total} documents falls into {part!r} at a share of {shares[part]:g}", hint=hint
            )
        draft.metrics |= {f"{part}.documents": writer.documents, f"{part}.characters": writer.chars}
    return Corpus(languages=tuple(sorted(languages)))
