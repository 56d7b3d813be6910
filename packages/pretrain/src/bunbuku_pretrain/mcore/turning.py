"""What changes in a model when a phase begins: rotary positions, bounds and moments of the optimizer."""

from typing import Any

import torch

from bunbuku_pretrain.mcore import shims
from bunbuku_pretrain.mcore.layers import Attention


def set_rope_theta(model: torch.nn.Module, theta: float) -> None:
    """Turn queries and keys by another base from now on. Weights stay as they are."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.rope_theta = theta
    shims.set_rotary_base(model, theta)


def set_bounds(optimizer: Any, *, eps: float, clip: float) -> None:
    """Divide by moments no smaller than `eps`, and scale gradients down to a norm of `clip`, from now on."""
    for group in optimizer.param_groups:
        group["eps"] = eps
    for part in shims.parts(optimizer):
        part.config.clip_grad = clip


def forget_moments(optimizer: Any) -> None:
    """Set the moments of AdamW to zero, and its count of steps; its copies of the weights stay."""
    for part in shims.parts(optimizer):
        for held in part.optimizer.state.values():
            for name, value in held.items():
                if name in ("step", "exp_avg", "exp_avg_sq") and isinstance(value, torch.Tensor):
                    value.zero_()
        for group in part.optimizer.param_groups:  # where a fused AdamW counts for all parameters together
            if "step" in group:
                group["step"] = torch.zeros_like(group["step"]) if torch.is_tensor(group["step"]) else 0
