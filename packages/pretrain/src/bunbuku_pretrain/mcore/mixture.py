"""What the routers of a mixture measured in a step, over all ranks.

Shapes: L layers, E experts.
"""

from dataclasses import dataclass
from typing import Self

import torch
from bunbuku_contracts import Architecture

from bunbuku_pretrain.job import Mixture
from bunbuku_pretrain.mcore.router import Router, RouterMeter
from bunbuku_pretrain.mcore.runtime import Runtime


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
        sums_LE = torch.zeros(self.layers, self.experts + 3, dtype=torch.float64, device=self.runtime.device)
        for router in self.routers:
            meter = router.meter or RouterMeter.zero(self.experts, self.runtime.device)
            rest = torch.stack([meter.balance, meter.z_loss, torch.full_like(meter.balance, meter.micro_batches)])
            assert router.layer_number is not None
            sums_LE[router.layer_number - 1] = torch.cat([meter.tokens_E, rest])
            router.meter = None
        sums_LE = self.runtime.total(sums_LE)
        tokens_LE, (balance_L, z_loss_L, times_L) = sums_LE[:, : self.experts], sums_LE[:, self.experts :].T
        load_LE = tokens_LE / tokens_LE.mean(dim=1, keepdim=True)
        return Mixture(
            balance=(balance_L / times_L).mean().item(),
            z_loss=(z_loss_L / times_L).mean().item(),
            least_load=load_LE.min().item(),
            most_load=load_LE.max().item(),
        )
