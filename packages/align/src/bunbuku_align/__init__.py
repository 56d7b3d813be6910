"""Supervised fine-tuning, preference optimisation and merging with TRL and PEFT."""

from bunbuku_align.run import AlignRun
from bunbuku_align.stages import dpo, merge, sft
from bunbuku_align.training import Dpo, DpoConfig, Lora, MergeConfig, SftConfig

__all__ = ["AlignRun", "Dpo", "DpoConfig", "Lora", "MergeConfig", "SftConfig", "dpo", "merge", "sft"]
