"""NEFTune's noise on embeddings, Jain et al. 2023 (arXiv:2310.05914): while something is learnt, and at no other time.

transformers' own hook looks at `training` alone, so that a reference which is asked at every step, with its adapter switched
off but the model in training, gets noise, too, and the policy is held near something that nobody meant.
"""

# Shapes: B rows, S tokens, D model

import math
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


def add_noise(model: PreTrainedModel, alpha: float) -> None:
    """Put uniform noise up to `alpha / sqrt(S · D)` on what the embedding gives to a training step."""

    def noisy(module: nn.Module, _given: Any, embedded_BSD: torch.Tensor) -> torch.Tensor:
        if not (module.training and torch.is_grad_enabled()):
            return embedded_BSD
        most = alpha / math.sqrt(embedded_BSD.shape[1] * embedded_BSD.shape[2])
        return embedded_BSD + torch.empty_like(embedded_BSD).uniform_(-most, most)

    model.get_input_embeddings().register_forward_hook(noisy)
