"""The stages, a module each: read, run the pure core, write. Nothing is decided here."""

from bunbuku_corpus.stages.annotate import AnnotateConfig, AnnotateRun, annotate
from bunbuku_corpus.stages.balance import BalanceConfig, balance
from bunbuku_corpus.stages.classify import ClassifyConfig, ClassifyRun, classify
from bunbuku_corpus.stages.clean import CleanConfig, CleanRun, clean
from bunbuku_corpus.stages.contamination import ContaminationConfig, contamination
from bunbuku_corpus.stages.coverage import CoverageConfig, coverage
from bunbuku_corpus.stages.decide import DecideConfig, decide
from bunbuku_corpus.stages.decontaminate import DecontaminateConfig, decontaminate
from bunbuku_corpus.stages.dedup import DedupConfig, dedup
from bunbuku_corpus.stages.explain import ExplainConfig, explain
from bunbuku_corpus.stages.extract import ExtractConfig, ExtractRun, extract
from bunbuku_corpus.stages.gather import GatherConfig, GatherRun, gather
from bunbuku_corpus.stages.label import LabelConfig, LabelRun, label
from bunbuku_corpus.stages.learn import LearnConfig, learn
from bunbuku_corpus.stages.map import MapConfig, draw_map
from bunbuku_corpus.stages.mix import BlendConfig, MixConfig, blend, mix
from bunbuku_corpus.stages.perplexity import PerplexityConfig, PerplexityRun, perplexity
from bunbuku_corpus.stages.split import SplitConfig, split
from bunbuku_corpus.stages.thin import ThinConfig, thin
from bunbuku_corpus.stages.topics import TopicsConfig, topics

__all__ = [
    "AnnotateConfig",
    "AnnotateRun",
    "BalanceConfig",
    "BlendConfig",
    "ClassifyConfig",
    "ClassifyRun",
    "CleanConfig",
    "CleanRun",
    "ContaminationConfig",
    "CoverageConfig",
    "DecideConfig",
    "DecontaminateConfig",
    "DedupConfig",
    "ExplainConfig",
    "ExtractConfig",
    "ExtractRun",
    "GatherConfig",
    "GatherRun",
    "LabelConfig",
    "LabelRun",
    "LearnConfig",
    "MapConfig",
    "MixConfig",
    "PerplexityConfig",
    "PerplexityRun",
    "SplitConfig",
    "ThinConfig",
    "TopicsConfig",
    "annotate",
    "balance",
    "blend",
    "classify",
    "clean",
    "contamination",
    "coverage",
    "decide",
    "decontaminate",
    "dedup",
    "draw_map",
    "explain",
    "extract",
    "gather",
    "label",
    "learn",
    "mix",
    "perplexity",
    "split",
    "thin",
    "topics",
]
