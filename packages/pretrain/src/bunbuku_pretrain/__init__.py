"""Megatron-core training that runs the same loop on a laptop and on a cluster.

`tokenize` writes documents as Megatron's token files, `train` trains on them, `export` writes what was trained for
Hugging Face, and `import` the other way round. `plan` says beforehand what a training needs. Importing this package imports neither torch nor Megatron.
"""

from bunbuku_pretrain.launching import Elastic
from bunbuku_pretrain.phases import Phase, RampUp
from bunbuku_pretrain.planning import PlanConfig
from bunbuku_pretrain.schedule import Constant, Cosine, Linear, WarmupStableDecay
from bunbuku_pretrain.spikes import LowerRate, RollBack, Skip, Stop, Warn
from bunbuku_pretrain.stages.export import ExportConfig, export
from bunbuku_pretrain.stages.import_ import ImportConfig, import_
from bunbuku_pretrain.stages.plan import plan
from bunbuku_pretrain.stages.seen import SeenConfig, seen
from bunbuku_pretrain.stages.tokenize import TokenizeConfig, TokenizeRun, tokenize
from bunbuku_pretrain.stages.train import train
from bunbuku_pretrain.training import AdamW, ModelShape, TrainConfig, TrainRun

__all__ = [
    "AdamW",
    "Constant",
    "Cosine",
    "Elastic",
    "ExportConfig",
    "ImportConfig",
    "Linear",
    "LowerRate",
    "ModelShape",
    "Phase",
    "PlanConfig",
    "RampUp",
    "RollBack",
    "SeenConfig",
    "Skip",
    "Stop",
    "TokenizeConfig",
    "TokenizeRun",
    "TrainConfig",
    "TrainRun",
    "WarmupStableDecay",
    "Warn",
    "export",
    "import_",
    "plan",
    "seen",
    "tokenize",
    "train",
]
