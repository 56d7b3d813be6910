"""What a layer is made of: Megatron's matrices with our arithmetic between them, or Transformer Engine's modules.

Both give the same tensors the same names in a checkpoint, those of `layout`.

Shapes: S sequence, B batch, H heads, G key-value heads, D head size, M model width, F feed-forward width.
"""

from functools import partial
from typing import Any

import torch
from bunbuku_contracts import Architecture
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import ModuleSpec, TransformerConfig
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from megatron.core.transformer.transformer_layer import get_transformer_layer_offset
from torch.nn.functional import scaled_dot_product_attention

from bunbuku_pretrain.arithmetic import rms_norm, rotate, rotation, swiglu
from bunbuku_pretrain.mcore.router import router_for


class Norm(torch.nn.Module):
    """RMSNorm that sequence parallelism is allowed on.

    Megatron's own wrapper refuses it (transformer/torch_norm.py:50). `finalize_model_grads` sums over the tensor
    parallel ranks the gradients of weights that are marked so.
    """

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__()
        self.eps = eps
        self.weight = torch.nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]

    def forward(self, x_SBM: torch.Tensor) -> torch.Tensor:
        return rms_norm(x_SBM, self.weight, self.eps)


class Attention(torch.nn.Module):
    """Rotary positions, then causal attention by torch's fused kernel, which never writes out the S x S scores.

    Megatron's DotProductAttention does (transformer/dot_product_attention.py:189). The attention mask is Megatron's
    kind: boolean, broadcastable to B, 1, S, S, true where nothing is to be looked at; it must hide the future too. A
    query that hides documents from each other needs no other positions, since rotary ones are relative.
    """

    def __init__(self, config: TransformerConfig, *, rope_theta: float, **_: Any) -> None:
        super().__init__()
        assert config.kv_channels is not None
        self.rope_theta = rope_theta
        self._head_size = config.kv_channels
        self._rotation: dict[tuple[int, torch.device, float], tuple[torch.Tensor, torch.Tensor]] = {}

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, /, **_: Any
    ) -> torch.Tensor:
        cosine, sine = self._angles(query.shape[0], query.device)
        q_BHSD, k_BGSD = rotate(query, cosine, sine), rotate(key, cosine, sine)
        v_BGSD = value.permute(1, 2, 0, 3)
        allowed = None if attention_mask is None else ~attention_mask
        mixed_BHSD = scaled_dot_product_attention(
            q_BHSD,
            k_BGSD,
            v_BGSD,
            attn_mask=allowed,
            is_causal=allowed is None,
            enable_gqa=q_BHSD.shape[1] != k_BGSD.shape[1],
        )
        return mixed_BHSD.permute(2, 0, 1, 3).flatten(2)

    def sharded_state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def _angles(self, length: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = (length, device, self.rope_theta)
        if wanted not in self._rotation:
            self._rotation = {wanted: rotation(length, self._head_size, self.rope_theta, device)}
        return self._rotation[wanted]


class SwiGLU(torch.nn.Module):
    """The gate between the two matrices of a feed-forward network."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        del config

    def forward(self, x__2F: torch.Tensor) -> torch.Tensor:
        return swiglu(x__2F)


def block(config: TransformerConfig, architecture: Architecture, *, transformer_engine: bool, packed: bool) -> Any:
    """The layers of this pipeline stage."""
    norm: Any = Norm
    if transformer_engine:
        from megatron.core.extensions.transformer_engine import TENorm

        norm = TENorm
        made = partial(transformer_engine_layer, architecture, packed=packed)
    else:
        made = partial(local_layer, architecture)
    first = get_transformer_layer_offset(config)
    here = range(first, first + get_num_layers_to_build(config))
    kinds = {mixture: made(mixture=mixture) for mixture in {layer in architecture.mixture_layers for layer in here}}
    return TransformerBlockSubmodules(
        layer_specs=[kinds[layer in architecture.mixture_layers] for layer in here], layer_norm=norm
    )


def local_layer(architecture: Architecture, *, mixture: bool) -> ModuleSpec:
    """A layer that runs anywhere."""
    experts = architecture.experts if mixture else None
    layer: ModuleSpec = get_gpt_layer_local_spec(
        num_experts=experts and experts.count, moe_grouped_gemm=False, normalization="RMSNorm"
    )
    parts: Any = layer.submodules
    parts.input_layernorm = parts.pre_mlp_layernorm = Norm
    parts.self_attention.submodules.core_attention = partial(Attention, rope_theta=architecture.rope_theta)
    if experts is None:
        parts.mlp.keywords["submodules"].activation_func = SwiGLU
        return layer
    made_of = parts.mlp.keywords["submodules"]
    made_of.router = router_for(experts.normalization)
    made_of.experts.keywords["submodules"].activation_func = SwiGLU
    made_of.shared_experts.keywords["submodules"].activation_func = SwiGLU
    # models/gpt/gpt_layer_specs.py:459-462 files the norm of a mixture under the name of a dense layer's.
    parts.sharded_state_dict_keys_map = {"input_layernorm.": "self_attention.linear_qkv.layer_norm_"}
    return layer


def transformer_engine_layer(architecture: Architecture, *, mixture: bool, packed: bool) -> ModuleSpec:
    """A layer of Transformer Engine's modules; for packed documents with our attention, as theirs takes no such mask."""
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_with_transformer_engine_spec

    experts = architecture.experts if mixture else None
    layer: ModuleSpec = get_gpt_layer_with_transformer_engine_spec(
        num_experts=experts and experts.count, moe_grouped_gemm=False
    )
    parts: Any = layer.submodules
    if packed:
        parts.self_attention.submodules.core_attention = partial(Attention, rope_theta=architecture.rope_theta)
    if experts is not None:
        parts.mlp.keywords["submodules"].router = router_for(experts.normalization)
    return layer
