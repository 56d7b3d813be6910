"""Japanese tokenizers that respect morphemes and lose nothing."""

from bunbuku_tokenizer.encoder import Encoder
from bunbuku_tokenizer.stages import MeasureConfig, TrainConfig, TrainRun, measure, train

__all__ = ["Encoder", "MeasureConfig", "TrainConfig", "TrainRun", "measure", "train"]
