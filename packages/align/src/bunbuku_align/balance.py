"""The load-balancing loss of a mixture of experts, as pre-training has it.

TRL 1.16 takes transformers' Mixtral loss for every mixture. That one pools the layers, so layers that each overload
another expert pass for balanced, and it grows with the experts a token is sent to; the coefficient that a checkpoint
states is for the loss of each layer. So TRL's number is replaced by this one, and its weight stays the checkpoint's.
"""

# Shapes: T tokens, E experts, K experts a token

from functools import wraps
from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel


def load_balancing_loss(
    router_logits: tuple[torch.Tensor, ...], active: int, attention_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Fedus et al. 2021 (arXiv:2101.03961) eq. 4, the sum over layers: 1 a layer when tokens are spread evenly.

    Departs for more than one expert a token as Megatron-core does: an expert's share is of all T·K choices. Padding
    counts nowhere.
    """
    return torch.stack([_layer(logits_TE, active, attention_mask) for logits_TE in router_logits]).sum()


def balance_as_pretrained(model: PreTrainedModel) -> None:
    """Make a mixture of experts, already prepared by a TRL trainer, return this loss as its `aux_loss`."""
    routed: list[tuple[torch.Tensor, ...]] = []
    theirs = model.forward

    def keep(_module: object, _given: object, output: Any) -> None:
        routed[:] = [output.router_logits] if getattr(output, "router_logits", None) else []

    @wraps(type(model).forward)  # generation reads the arguments it may give from the signature
    def forward(_self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        output = theirs(*args, **kwargs)
        if getattr(output, "aux_loss", None) is not None:
            active = model.config.get_text_config().num_experts_per_tok
            output.aux_loss = load_balancing_loss(routed.pop(), active, _read(model, kwargs))
        return output

    model.base_model.register_forward_hook(keep)
    model.forward = MethodType(forward, model)


def _read(model: PreTrainedModel, given: dict[str, Any]) -> torch.Tensor | None:
    """Which tokens are no padding; rows of several dialogues come without a mask, which would join them."""
    mask = given.get("attention_mask")
    if mask is None and "position_ids" in given:
        return given["input_ids"] != model.config.get_text_config().pad_token_id
    return mask


def _layer(logits_TE: torch.Tensor, active: int, attention_mask: torch.Tensor | None) -> torch.Tensor:
    probabilities_TE = logits_TE.float().softmax(-1)
    experts = probabilities_TE.shape[-1]
    chosen_TE = torch.zeros_like(probabilities_TE).scatter(1, logits_TE.topk(active, -1).indices, 1.0)
    weight_T = torch.ones_like(probabilities_TE[:, 0]) if attention_mask is None else attention_mask.flatten().float()
    share_E = weight_T @ chosen_TE / (weight_T.sum() * active)
    probability_E = weight_T @ probabilities_TE / weight_T.sum()
    return experts * (share_E * probability_E).sum()
