"""A dense checkpoint into a mixture of experts, and pictures of how the experts drift apart.

`upcycle` and `similarity` are the stages. `bunbuku_moe_upcycle.hf` holds the model class that transformers opens a checkpoint
with a normalised router with; it needs the extra `hf` and is found by itself through the entry point `bunbuku.hf_models`.
"""

from bunbuku_moe_upcycle.routers import HiddenRouter, NormalRouter, UniformRouter
from bunbuku_moe_upcycle.stages import (
    AdviseConfig,
    RoutingConfig,
    ShipConfig,
    SimilarityConfig,
    UpcycleConfig,
    advise,
    routing,
    ship,
    similarity,
    upcycle,
)
from bunbuku_moe_upcycle.strategies import Branches, Copy, Drop, Granular, Noise

__all__ = [
    "AdviseConfig",
    "Branches",
    "Copy",
    "Drop",
    "Granular",
    "HiddenRouter",
    "Noise",
    "NormalRouter",
    "RoutingConfig",
    "ShipConfig",
    "SimilarityConfig",
    "UniformRouter",
    "UpcycleConfig",
    "advise",
    "routing",
    "ship",
    "similarity",
    "upcycle",
]
