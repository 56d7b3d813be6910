"""Supervised fine-tuning, preference optimisation and merging with TRL and PEFT."""

from bunbuku_align.methods import CombineConfig, Dare, Linear, ModelStock, Slerp, TaskArithmetic, Ties
from bunbuku_align.run import AlignRun, Copies, DeepSpeed, Fsdp
from bunbuku_align.stages import combine, dpo, merge, sft
from bunbuku_align.training import Cdpo, Ddpo, Dpo, DpoConfig, Full, Ipo, Kto, Lora, MergeConfig, Orpo, SftConfig, Simpo

__all__ = [
    "AlignRun",
    "Cdpo",
    "CombineConfig",
    "Copies",
    "Dare",
    "Ddpo",
    "DeepSpeed",
    "Dpo",
    "DpoConfig",
    "Fsdp",
    "Full",
    "Ipo",
    "Kto",
    "Linear",
    "Lora",
    "MergeConfig",
    "ModelStock",
    "Orpo",
    "SftConfig",
    "Simpo",
    "Slerp",
    "TaskArithmetic",
    "Ties",
    "combine",
    "dpo",
    "merge",
    "sft",
]
