"""The stages: `upcycle` makes a mixture of experts, the others look into it, ship it, or say whether to make it."""

from bunbuku_moe_upcycle.stages.advise import AdviseConfig, advise
from bunbuku_moe_upcycle.stages.routing import RoutingConfig, routing
from bunbuku_moe_upcycle.stages.ship import ShipConfig, ship
from bunbuku_moe_upcycle.stages.similarity import SimilarityConfig, similarity
from bunbuku_moe_upcycle.stages.upcycle import UpcycleConfig, upcycle

__all__ = [
    "AdviseConfig",
    "RoutingConfig",
    "ShipConfig",
    "SimilarityConfig",
    "UpcycleConfig",
    "advise",
    "routing",
    "ship",
    "similarity",
    "upcycle",
]
