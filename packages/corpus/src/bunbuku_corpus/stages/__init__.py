"""The stages, a module each: read, run the pure core, write. Nothing is decided here."""

from bunbuku_corpus.stages.clean import CleanConfig, CleanRun, clean
from bunbuku_corpus.stages.coverage import CoverageConfig, coverage
from bunbuku_corpus.stages.dedup import DedupConfig, dedup
from bunbuku_corpus.stages.gather import GatherConfig, gather
from bunbuku_corpus.stages.split import SplitConfig, split

__all__ = [
    "CleanConfig",
    "CleanRun",
    "CoverageConfig",
    "DedupConfig",
    "GatherConfig",
    "SplitConfig",
    "clean",
    "coverage",
    "dedup",
    "gather",
    "split",
]
