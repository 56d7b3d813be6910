"""vLLM's plugin: its own Mixtral, fused experts and all, with a router and layers of ours.

vLLM calls `register` in every process it starts (entry point `vllm.general_plugins`); a `bunbuku_moe` checkpoint is then served
without a fork and without remote code.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from vllm import ModelRegistry  # pyright: ignore[reportMissingImports]  # only in vLLM's own environment
from vllm.config import get_current_vllm_config  # pyright: ignore[reportMissingImports]
from vllm.model_executor.layers.fused_moe import GateLinear  # pyright: ignore[reportMissingImports]
from vllm.model_executor.models import mixtral  # pyright: ignore[reportMissingImports]
from vllm.model_executor.models.llama import LlamaMLP  # pyright: ignore[reportMissingImports]
from vllm.model_executor.models.utils import (  # pyright: ignore[reportMissingImports]
    WeightsMapper,
    extract_layer_index,
)

from bunbuku_moe_upcycle import hf
from bunbuku_moe_upcycle.layout import ARCHITECTURE

NAMES = WeightsMapper(
    orig_to_new_stacked={
        ".q_proj": (".qkv_proj", "q"),
        ".k_proj": (".qkv_proj", "k"),
        ".v_proj": (".qkv_proj", "v"),
        ".gate_proj": (".gate_up_proj", 0),
        ".up_proj": (".gate_up_proj", 1),
    }
)
"""Where a weight on disk is in the engine. Mixtral's own table takes `gate_proj` for another name of an expert's `w1`."""


class Gate(GateLinear):
    """Router logits in float32, normalised if the config says so. vLLM's softmax and choice follow."""

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
        """Logits of every token, and no bias."""
        logits_TE, bias = super().forward(x)
        rule = self.normalization
        return (logits_TE if rule is None else hf.normalize_logits(logits_TE, **rule)), bias


class Mixture(mixtral.MixtralMoE):
    """vLLM's mixture with our gate, and the shared network if there is one; made for a dense layer it is a plain network."""

    def __new__(cls, *, prefix: str, **_: Any) -> Any:
        config = get_current_vllm_config().model_config.hf_config
        if hf.has_experts(config, extract_layer_index(prefix)):
            return super().__new__(cls)
        return _network(config, config.dense_intermediate_size or config.intermediate_size, prefix)

    def __init__(self, *, prefix: str, **given: Any) -> None:
        config = get_current_vllm_config().model_config.hf_config
        with _experts_that_renormalize(config.gate_order == "choice_first"):
            super().__init__(prefix=prefix, **given)
        self.gate = Gate(config, self.gate.prefix)
        self.shared_expert = None
        if config.shared_intermediate_size:
            self.shared_expert = _network(config, config.shared_intermediate_size, f"{prefix}.shared_expert")

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.shared_expert is None:
            return super().forward(hidden_states)
        # First, since the experts may write their answer where their input was.
        shared = self.shared_expert(hidden_states)
        return shared + super().forward(hidden_states)


class ServedBunbukuMoe(mixtral.MixtralForCausalLM):
    """vLLM's Mixtral with our feed-forward parts."""

    hf_to_vllm_mapper = NAMES

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        with _replaced("MixtralMoE", Mixture):
            super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.model.hf_to_vllm_mapper = NAMES


def register() -> None:
    """Make `bunbuku_moe` known to vLLM, and its config to transformers."""
    hf.register()
    ModelRegistry.register_model(ARCHITECTURE, ServedBunbukuMoe)


def _network(config: hf.BunbukuMoeConfig, width: int, prefix: str) -> LlamaMLP:
    quantized = get_current_vllm_config().quant_config
    return LlamaMLP(config.hidden_size, width, config.hidden_act, quant_config=quantized, prefix=prefix)


@contextmanager
def _experts_that_renormalize(renormalize: bool) -> Iterator[None]:
    """Mixtral's block makes experts whose gates sum to 1; it has no argument for others."""
    theirs = mixtral.FusedMoEFactory
    with _replaced("FusedMoEFactory", lambda **given: theirs(**given | {"renormalize": renormalize})):
        yield


@contextmanager
def _replaced(name: str, ours: Any) -> Iterator[None]:
    """Another class under this name in the engine's module while a model is built, so that nothing is made twice."""
    theirs = getattr(mixtral, name)
    setattr(mixtral, name, ours)
    try:
        yield
    finally:
        setattr(mixtral, name, theirs)
