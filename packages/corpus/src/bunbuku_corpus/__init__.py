"""Japanese text from anywhere to clean, deduplicated Parquet, with a reason for every dropped document."""

from bunbuku_corpus.document import Document, ShardWriter, read_documents
from bunbuku_corpus.stages import (
    AnnotateConfig,
    AnnotateRun,
    CleanConfig,
    CleanRun,
    CoverageConfig,
    DecideConfig,
    DedupConfig,
    GatherConfig,
    SplitConfig,
    annotate,
    clean,
    coverage,
    decide,
    dedup,
    gather,
    split,
)

__all__ = [
    "AnnotateConfig",
    "AnnotateRun",
    "CleanConfig",
    "CleanRun",
    "CoverageConfig",
    "DecideConfig",
    "DedupConfig",
    "Document",
    "GatherConfig",
    "ShardWriter",
    "SplitConfig",
    "annotate",
    "clean",
    "coverage",
    "decide",
    "dedup",
    "gather",
    "read_documents",
    "split",
]
