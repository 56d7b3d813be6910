"""vLLM's plugin: its own Mixtral, fused experts and all, with a gate that normalises its logits.

vLLM calls `register` in every process it starts (entry point `vllm.general_plugins`); a `bunbuku_moe` checkpoint is then served
without a fork and without remote code.
"""

from typing import Any

import torch
from vllm import ModelRegistry  # pyright: ignore[reportMissingImports]  # only in vLLM's own environment
from vllm.model_executor.layers.fused_moe import GateLinear  # pyright: ignore[reportMissingImports]
from vllm.model_executor.models.mixtral import MixtralForCausalLM  # pyright: ignore[reportMissingImports]
from vllm.model_executor.models.utils import PPMissingLayer  # pyright: ignore[reportMissingImports]

from bunbuku_moe_upcycle import hf
from bunbuku_moe_upcycle.layout import ARCHITECTURE


class NormalizedGate(GateLinear):
    """Router logits with mean 0 and the stated deviation, in float32. vLLM's softmax and choice follow."""

    def __init__(self, config: hf.BunbukuMoeConfig, prefix: str) -> None:
        super().__init__(
            config.hidden_size,
            config.num_local_experts,
            params_dtype=torch.float32,
            out_dtype=torch.float32,
            prefix=prefix,
        )
        self.normalization = hf.rule_of(config)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Normalised logits of every token, and no bias."""
        logits_TE, bias = super().forward(x)
        return hf.normalize_logits(logits_TE, **self.normalization), bias


class ServedBunbukuMoe(MixtralForCausalLM):
    """vLLM's Mixtral with normalised gates."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        for layer in self.model.layers:
            if not isinstance(layer, PPMissingLayer):
                gate = layer.block_sparse_moe.gate
                layer.block_sparse_moe.gate = NormalizedGate(self.config, gate.prefix)


def register() -> None:
    """Make `bunbuku_moe` known to vLLM, and its config to transformers."""
    hf.register()
    ModelRegistry.register_model(ARCHITECTURE, ServedBunbukuMoe)
