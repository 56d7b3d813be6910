"""Japanese tokenizers that respect morphemes and lose nothing."""

from bunbuku_tokenizer.encoder import Encoder
from bunbuku_tokenizer.stages import (
    CompareConfig,
    ExtendConfig,
    MeasureConfig,
    TrainConfig,
    TrainRun,
    compare,
    extend,
    measure,
    train,
)

__all__ = [
    "CompareConfig",
    "Encoder",
    "ExtendConfig",
    "MeasureConfig",
    "TrainConfig",
    "TrainRun",
    "compare",
    "extend",
    "measure",
    "train",
]
