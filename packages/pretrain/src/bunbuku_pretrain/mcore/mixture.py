"""What the routers of a mixture measured in a step, over all ranks.

Shapes: L layers, E experts, N numbers that a router sums up.
"""

from dataclasses import dataclass
from typing import Self

import torch
from bunbuku_contracts import Architecture

from bunbuku_pretrain.job import LayerMixture, Mixture
from bunbuku_pretrain.mcore.router import Router, RouterMeter
from bunbuku_pretrain.mcore.runtime import Runtime

DEAD = 0.01
"""An expert with less than this share of an even load is called dead."""


@dataclass(frozen=True)
class MixtureMeter:
    """The routers of a mixture, and where their layers stand."""

    routers: tuple[Router, ...]
    layers: int
    experts: int
    runtime: Runtime

    @classmethod
    def of(cls, model: torch.nn.Module, architecture: Architecture, runtime: Runtime) -> Self | None:
        """The meter of a mixture, `None` for a dense model."""
        if architecture.experts is None:
            return None
        routers = tuple(module for module in model.modules() if isinstance(module, Router))
        return cls(routers, architecture.layers, architecture.experts.count, runtime)

    def read(self) -> Mixture:
        """What was measured since the last reading. Every rank must ask."""
        sums_LN = torch.zeros(self.layers, self.experts + 5, dtype=torch.float64, device=self.runtime.device)
        for router in self.routers:
            meter = router.meter or RouterMeter.zero(self.experts, self.runtime.device)
            assert router.layer_number is not None
            sums_LN[router.layer_number - 1] = meter.sums
            router.meter = None
        sums_LN = self.runtime.total(sums_LN)
        tokens_LE = sums_LN[:, : self.experts]
        load_LE = tokens_LE / tokens_LE.mean(dim=1, keepdim=True)
        balance_L, z_loss_L, entropy_L, lead_L = (sums_LN[:, self.experts : -1] / sums_LN[:, -1:]).T
        layers = zip(load_LE.tolist(), entropy_L.tolist(), lead_L.exp().tolist(), strict=True)
        return Mixture(
            balance=balance_L.mean().item(),
            z_loss=z_loss_L.mean().item(),
            least_load=load_LE.min().item(),
            most_load=load_LE.max().item(),
            entropy=entropy_L.mean().item(),
            max1_max2=lead_L.exp().mean().item(),
            dead=(load_LE < DEAD).sum().item(),
            layers=tuple(
                LayerMixture(
                    load=tuple(round(one, 4) for one in load), entropy=round(entropy, 4), max1_max2=round(ratio, 4)
                )
                for load, entropy, ratio in layers
            ),
        )
