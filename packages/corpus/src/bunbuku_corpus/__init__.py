"""Japanese text from anywhere to clean, deduplicated Parquet, with a reason for every dropped document."""

from bunbuku_corpus.document import Document, ShardWriter, read_documents
from bunbuku_corpus.stages import (
    CleanConfig,
    CleanRun,
    DedupConfig,
    GatherConfig,
    SplitConfig,
    clean,
    dedup,
    gather,
    split,
)

__all__ = [
    "CleanConfig",
    "CleanRun",
    "DedupConfig",
    "Document",
    "GatherConfig",
    "ShardWriter",
    "SplitConfig",
    "clean",
    "dedup",
    "gather",
    "read_documents",
    "split",
]
