"""The stages: read, run the core, write. Nothing is decided here."""

from bunbuku_tokenizer.stages.compare import CompareConfig, compare
from bunbuku_tokenizer.stages.extend import ExtendConfig, extend
from bunbuku_tokenizer.stages.measure import MeasureConfig, measure
from bunbuku_tokenizer.stages.train import TrainConfig, TrainRun, train

__all__ = [
    "CompareConfig",
    "ExtendConfig",
    "MeasureConfig",
    "TrainConfig",
    "TrainRun",
    "compare",
    "extend",
    "measure",
    "train",
]
