"""The gate of a mixture of experts: normalised if asked, and measured while training.

Shapes: T tokens, D model, E experts.
"""

from dataclasses import dataclass
from typing import Any

import torch
from bunbuku_contracts import RouterNormalization
from megatron.core.transformer.moe.router import TopKRouter


def normalize(logits_TE: torch.Tensor, normalization: RouterNormalization) -> torch.Tensor:
    """Logits with mean 0 and standard deviation `scale` over the experts, in fp32.

    Skywork-MoE (arXiv:2406.06563) eq. 6. Departs: `eps` is added to the deviation, as equal logits would give 0 / 0.
    """
    logits_TE = logits_TE.float()
    deviation = logits_TE.std(dim=-1, keepdim=True, correction=normalization.ddof)
    return normalization.scale * (logits_TE - logits_TE.mean(dim=-1, keepdim=True)) / (deviation + normalization.eps)


@dataclass
class RouterMeter:
    """Sums over the micro-batches of a step, on this rank."""

    tokens_E: torch.Tensor
    balance: torch.Tensor
    z_loss: torch.Tensor
    entropy: torch.Tensor
    """Of the gates over all experts, a mean over tokens."""
    lead: torch.Tensor
    """Logarithm of the largest gate over the next one, a mean over tokens."""
    micro_batches: int = 0

    @classmethod
    def zero(cls, experts: int, device: torch.device) -> "RouterMeter":
        balance, z_loss, entropy, lead = torch.zeros(4, device=device).unbind()
        return cls(torch.zeros(experts, device=device), balance, z_loss, entropy, lead)

    @property
    def sums(self) -> torch.Tensor:
        """All in a row: tokens of each expert, then balance, z-loss, entropy, lead, and the number of micro-batches."""
        count = torch.full_like(self.balance, self.micro_batches)
        return torch.cat([self.tokens_E, torch.stack([self.balance, self.z_loss, self.entropy, self.lead, count])])


class Router(TopKRouter):
    """Megatron's top-k router behind an optional normalisation of its logits.

    The load-balancing loss sees the normalised logits. The z-loss (Zoph et al. 2022, arXiv:2202.08906, eq. 5) is
    measured on the raw ones, since the normalised ones have a fixed variance, and is not part of the objective.
    """

    normalization: RouterNormalization | None = None
    coefficient: float | None = None
    """Of this layer's load-balancing loss, where it is adaptive."""

    def __init__(self, config: Any, pg_collection: Any = None, is_mtp_layer: bool = False) -> None:
        super().__init__(config=config, pg_collection=pg_collection, is_mtp_layer=is_mtp_layer)
        self.meter: RouterMeter | None = None

    def get_aux_loss_coeff(self, aux_loss_type: str) -> float:
        if aux_loss_type != self.routing_type:
            return 0.0
        # Megatron passes over a loss of coefficient 0; here it is taken all the same, to be measured, and not attached.
        return self._pressure or 1.0

    @property
    def _pressure(self) -> float:
        """Coefficient of the loss that is added."""
        return self.config.moe_aux_loss_coeff if self.coefficient is None else self.coefficient  # type: ignore[return-value]

    def gating(self, input: torch.Tensor) -> torch.Tensor:
        raw_TE = super().gating(input)
        logits_TE = raw_TE if self.normalization is None else normalize(raw_TE, self.normalization)
        if self._measuring:
            with torch.no_grad():
                meter = self._meter(raw_TE.device)
                meter.z_loss += torch.logsumexp(raw_TE.float(), dim=-1).square().mean()
                shares_TE = torch.log_softmax(logits_TE.float(), dim=-1)
                meter.entropy -= (shares_TE.exp() * shares_TE).sum(dim=-1).mean()
                first_T, second_T = shares_TE.flatten(0, -2).topk(2, dim=-1).values.T
                meter.lead += (first_T - second_T).mean()
                meter.micro_batches += 1
        return logits_TE

    def routing(self, logits: torch.Tensor, padding_mask: torch.Tensor | None = None) -> Any:
        weights_TE, chosen_TE = super().routing(logits, padding_mask)
        if self._measuring:
            self._meter(logits.device).tokens_E += chosen_TE.detach().sum(dim=0)
        return weights_TE, chosen_TE

    def attach_and_log_load_balancing_loss(
        self,
        activation: torch.Tensor,
        aux_loss_coeff: float,
        aux_loss: torch.Tensor,
        aux_loss_name: str,
        reduce_group: Any,
        *rest: Any,
        **named: Any,
    ) -> torch.Tensor:
        if self._measuring:
            # Ranks that share a sequence have a part of its loss each; what is averaged over all ranks must be the whole.
            share = aux_loss.detach() / aux_loss_coeff
            self._meter(aux_loss.device).balance += share * reduce_group.size()
        if not self._pressure:
            return activation
        return super().attach_and_log_load_balancing_loss(
            activation, aux_loss_coeff, aux_loss, aux_loss_name, reduce_group, *rest, **named
        )

    @property
    def _measuring(self) -> bool:
        return self.training and torch.is_grad_enabled()

    def _meter(self, device: torch.device) -> RouterMeter:
        if self.meter is None:
            assert self.config.num_moe_experts is not None
            self.meter = RouterMeter.zero(self.config.num_moe_experts, device)
        return self.meter


def router_for(normalization: RouterNormalization | None) -> type[Router]:
    """The router class that normalises so: Megatron builds routers from a class and its own config alone."""
    return type("Router", (Router,), {"normalization": normalization})
