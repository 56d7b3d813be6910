"""Japanese text from anywhere to clean, deduplicated Parquet, with a reason for every dropped document."""

from bunbuku_corpus.document import Document, ShardWriter, read_documents
from bunbuku_corpus.stages import (
    CleanConfig,
    CleanRun,
    CoverageConfig,
    DedupConfig,
    GatherConfig,
    SplitConfig,
    clean,
    coverage,
    dedup,
    gather,
    split,
)

__all__ = [
    "CleanConfig",
    "CleanRun",
    "CoverageConfig",
    "DedupConfig",
    "Document",
    "GatherConfig",
    "ShardWriter",
    "SplitConfig",
    "clean",
    "coverage",
    "dedup",
    "gather",
    "read_documents",
    "split",
]
