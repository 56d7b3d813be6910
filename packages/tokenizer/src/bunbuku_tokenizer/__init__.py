"""Japanese tokenizers that respect morphemes and lose nothing."""

from bunbuku_tokenizer.encoder import Encoder
from bunbuku_tokenizer.stages import CompareConfig, MeasureConfig, TrainConfig, TrainRun, compare, measure, train

__all__ = ["CompareConfig", "Encoder", "MeasureConfig", "TrainConfig", "TrainRun", "compare", "measure", "train"]
