"""Supervised fine-tuning, preference optimisation and merging with TRL and PEFT."""

from bunbuku_align.run import AlignRun
from bunbuku_align.stages import dpo, merge, sft
from bunbuku_align.training import Cdpo, Ddpo, Dpo, DpoConfig, Full, Ipo, Kto, Lora, MergeConfig, Orpo, SftConfig, Simpo

__all__ = [
    "AlignRun",
    "Cdpo",
    "Ddpo",
    "Dpo",
    "DpoConfig",
    "Full",
    "Ipo",
    "Kto",
    "Lora",
    "MergeConfig",
    "Orpo",
    "SftConfig",
    "Simpo",
    "dpo",
    "merge",
    "sft",
]
