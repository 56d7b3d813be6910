"""What the routers of a mixture measured in a step, over all ranks.

Shapes: L layers with experts, E experts, N numbers that a router sums up.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Self

import torch
from bunbuku_contracts import Architecture

from bunbuku_pretrain.balancing import AdaptiveBalance
from bunbuku_pretrain.job import DEAD, LayerMixture, Mixture, read_history
from bunbuku_pretrain.mcore.router import Router, RouterMeter
from bunbuku_pretrain.mcore.runtime import Runtime


@dataclass
class MixtureMeter:
    """The routers of a mixture, where their layers stand, and how hard each is pressed to share the load."""

    routers: tuple[Router, ...]
    architecture: Architecture
    runtime: Runtime
    adaptive: AdaptiveBalance | None
    coefficients: list[float]
    """Of every layer in the step to come, where they are adaptive."""
    steered: int = -1
    """The step that they are for."""

    @classmethod
    def of(
        cls,
        model: torch.nn.Module,
        architecture: Architecture,
        runtime: Runtime,
        adaptive: AdaptiveBalance | None = None,
    ) -> Self | None:
        """The meter of a mixture, `None` for a dense model."""
        if architecture.experts is None:
            return None
        routers = tuple(module for module in model.modules() if isinstance(module, Router))
        first = architecture.experts.aux_loss_coefficient
        return cls(routers, architecture, runtime, adaptive, [first] * len(architecture.mixture_layers))

    def steer(self, step: int, scratch: Path) -> None:
        """Give every router its coefficient for this step; a run that went on or turned back finds it in the history."""
        if self.adaptive is None:
            return
        if self.steered != step:
            self._recall(step, scratch)
        for router in self.routers:
            router.coefficient = self.coefficients[self._row(router)]
        self.steered = step + 1

    def _row(self, router: Router) -> int:
        """Its place among the layers with experts."""
        assert router.layer_number is not None
        return self.architecture.mixture_layers.index(router.layer_number - 1)

    def _recall(self, step: int, scratch: Path) -> None:
        assert self.architecture.experts is not None
        self.coefficients = [self.architecture.experts.aux_loss_coefficient] * len(self.coefficients)
        for record in reversed(read_history(scratch)):
            if record.step < step and record.mixture is not None:
                kept = [layer.coefficient for layer in record.mixture.layers]
                self.coefficients = [one for one in kept if one is not None]
                return

    def forget(self) -> None:
        """Drop what was measured since the last reading."""
        for router in self.routers:
            router.meter = None

    def read(self) -> Mixture:
        """What was measured since the last reading. Every rank must ask."""
        assert self.architecture.experts is not None
        experts = self.architecture.experts.count
        sums_LN = torch.zeros(len(self.coefficients), experts + 5, dtype=torch.float64, device=self.runtime.device)
        for router in self.routers:
            meter = router.meter or RouterMeter.zero(experts, self.runtime.device)
            sums_LN[self._row(router)] = meter.sums
        self.forget()
        sums_LN = self.runtime.total(sums_LN)
        tokens_LE = sums_LN[:, :experts]
        load_LE = tokens_LE / tokens_LE.mean(dim=1, keepdim=True)
        balance_L, z_loss_L, entropy_L, lead_L = (sums_LN[:, experts:-1] / sums_LN[:, -1:]).T
        if self.adaptive is not None:
            pairs = zip(self.coefficients, load_LE.tolist(), strict=True)
            self.coefficients = [self.adaptive.after(coefficient, load) for coefficient, load in pairs]
        following = self.coefficients if self.adaptive is not None else [None] * len(load_LE)
        dropped = [(self.adaptive or AdaptiveBalance()).dropped(load) for load in load_LE.tolist()]
        layers = zip(load_LE.tolist(), entropy_L.tolist(), lead_L.exp().tolist(), dropped, following, strict=True)
        return Mixture(
            balance=balance_L.mean().item(),
            z_loss=z_loss_L.mean().item(),
            least_load=load_LE.min().item(),
            most_load=load_LE.max().item(),
            entropy=entropy_L.mean().item(),
            max1_max2=lead_L.exp().mean().item(),
            dead=int((load_LE < DEAD).sum()),
            dropped=fmean(dropped),
            layers=tuple(
                LayerMixture(
                    load=tuple(round(one, 4) for one in load),
                    entropy=round(entropy, 4),
                    max1_max2=round(ratio, 4),
                    dropped=round(lost, 4),
                    coefficient=coefficient,
                )
                for load, entropy, ratio, lost, coefficient in layers
            ),
        )
