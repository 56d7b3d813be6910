"""A Llama-shaped GPT of Megatron, dense or mixture of experts, from an `Architecture`.

This is the only place where a model is built. Megatron announces that `GPTModel` gets critical fixes alone and that
`HybridModel` follows it; moving there is a matter of this file and of the names in `layout`.

Shapes: S sequence, B batch, H heads, G key-value heads, D head size, V vocabulary.
"""

from typing import Any

import torch
from bunbuku_contracts import Architecture
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import ModuleSpec, TransformerConfig
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from torch.nn.functional import scaled_dot_product_attention, silu

from bunbuku_pretrain.mcore.router import router_for
from bunbuku_pretrain.mcore.runtime import Runtime, token_dispatcher
from bunbuku_pretrain.training import TrainRun


class Norm(torch.nn.RMSNorm):
    """Torch's RMSNorm under sequence parallelism.

    Megatron's own wrapper refuses it (transformer/torch_norm.py:50). `finalize_model_grads` sums over the tensor
    parallel ranks the gradients of weights that are marked so.
    """

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__(hidden_size, eps=eps)
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]


class Attention(torch.nn.Module):
    """Causal attention by torch's fused kernel, which never writes out the S x S scores.

    Megatron's DotProductAttention does (transformer/dot_product_attention.py:189).
    """

    def __init__(self, config: TransformerConfig, **_: Any) -> None:
        super().__init__()
        del config

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, /, **_: Any
    ) -> torch.Tensor:
        q_BHSD, k_BGSD, v_BGSD = (tensor.permute(1, 2, 0, 3) for tensor in (query, key, value))
        grouped = q_BHSD.shape[1] != k_BGSD.shape[1]
        mixed_BHSD = scaled_dot_product_attention(q_BHSD, k_BGSD, v_BGSD, is_causal=True, enable_gqa=grouped)
        return mixed_BHSD.permute(2, 0, 1, 3).flatten(2)

    def sharded_state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}


class LanguageModel(GPTModel):
    """A GPT that gives no probability to the rows which only pad the vocabulary."""

    vocabulary: int
    """Ids that the tokenizer has."""

    def compute_language_model_loss(self, labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Cross entropy of every token; `logits` are S, B, V of this tensor parallel rank."""
        shard = logits.shape[-1]
        tensor_parallel: Any = self.tp_group
        real = self.vocabulary - shard * tensor_parallel.rank()
        if real < shard:
            logits[..., max(real, 0) :] = torch.finfo(logits.dtype).min
        return super().compute_language_model_loss(labels, logits)


def build(
    architecture: Architecture, *, sequence_length: int, vocabulary: int, settings: TrainRun, runtime: Runtime
) -> LanguageModel:
    """The part of the model that this rank holds, its weights not yet set."""
    config = transformer_config(architecture, settings)
    model = LanguageModel(
        config=config,
        transformer_layer_spec=_block(config, architecture),
        vocab_size=architecture.vocab_size,
        max_sequence_length=sequence_length,
        pre_process=runtime.first_stage,
        post_process=runtime.last_stage,
        position_embedding_type="rope",
        rotary_base=architecture.rope_theta,  # type: ignore[arg-type]
        share_embeddings_and_output_weights=False,
    )
    model.vocabulary = vocabulary
    return model.to(runtime.device)


def transformer_config(architecture: Architecture, settings: TrainRun) -> TransformerConfig:
    """Megatron's description of the model; fusions that go through torch.compile or CUDA kernels stay off."""
    flags: dict[str, Any] = {
        "num_layers": architecture.layers,
        "hidden_size": architecture.hidden_size,
        "ffn_hidden_size": architecture.ffn_size,
        "num_attention_heads": architecture.heads,
        "num_query_groups": architecture.kv_heads,
        "layernorm_epsilon": architecture.norm_eps,
        "normalization": "RMSNorm",
        "gated_linear_unit": True,
        "activation_func": silu,
        "add_bias_linear": False,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "perform_initialization": False,
        "use_cpu_initialization": True,
        "bias_activation_fusion": False,
        "bias_dropout_fusion": False,
        "masked_softmax_fusion": False,
        "apply_rope_fusion": False,
        "gradient_accumulation_fusion": False,
        "persist_layer_norm": False,
        "pipeline_dtype": torch.float32,
        "tensor_model_parallel_size": settings.tensor_parallel,
        "pipeline_model_parallel_size": settings.pipeline_parallel,
        "expert_model_parallel_size": settings.expert_parallel,
        # A mixture under tensor parallelism needs it (transformer/moe/moe_layer.py:630); the dense model gains memory.
        "sequence_parallel": settings.tensor_parallel > 1,
    }
    return TransformerConfig(**flags, **_experts(architecture, settings))


def _experts(architecture: Architecture, settings: TrainRun) -> dict[str, Any]:
    experts = architecture.experts
    if experts is None:
        return {}
    balanced = experts.aux_loss_coefficient > 0
    return {
        "num_moe_experts": experts.count,
        "moe_router_topk": experts.active,
        "moe_ffn_hidden_size": architecture.ffn_size,
        "moe_grouped_gemm": False,
        "moe_token_dispatcher_type": token_dispatcher(settings),
        "moe_router_load_balancing_type": "aux_loss" if balanced else "none",
        "moe_aux_loss_coeff": experts.aux_loss_coefficient,
        "moe_router_dtype": "fp32",
    }


def _block(config: TransformerConfig, architecture: Architecture) -> Any:
    experts = architecture.experts
    layer: ModuleSpec = get_gpt_layer_local_spec(
        num_experts=config.num_moe_experts, moe_grouped_gemm=False, normalization="RMSNorm"
    )
    parts: Any = layer.submodules
    parts.input_layernorm = parts.pre_mlp_layernorm = Norm
    parts.self_attention.submodules.core_attention = Attention
    if experts is not None:
        parts.mlp.keywords["submodules"].router = router_for(experts.normalization)
        # models/gpt/gpt_layer_specs.py:459-462 files the norm of a mixture under the name of a dense layer's.
        parts.sharded_state_dict_keys_map = {"input_layernorm.": "self_attention.linear_qkv.layer_norm_"}
    here = get_num_layers_to_build(config)  # of this pipeline stage
    return TransformerBlockSubmodules(layer_specs=[layer] * here, layer_norm=Norm)
