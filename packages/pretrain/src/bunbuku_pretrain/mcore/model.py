"""A Llama-shaped GPT of Megatron, dense or mixture of experts, from an `Architecture`.

This is the only place where a model is built, of the layers in `layers`. Megatron announces that `GPTModel` gets critical
fixes alone and that `HybridModel` follows it; docs/pretrain-model.md says what moving there takes.

Shapes: S sequence, B batch, V vocabulary (of this tensor parallel rank).
"""

from typing import Any

import torch
from bunbuku_contracts import Architecture
from megatron.core.models.gpt import GPTModel
from megatron.core.transformer import TransformerConfig
from torch.nn.functional import silu

from bunbuku_pretrain.arithmetic import cross_entropy
from bunbuku_pretrain.mcore import shims
from bunbuku_pretrain.mcore.layers import block
from bunbuku_pretrain.mcore.runtime import Runtime, token_dispatcher
from bunbuku_pretrain.precision import Precision
from bunbuku_pretrain.training import TrainRun

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.bfloat16}


class LanguageModel(GPTModel):
    """A GPT whose loss gives no probability to the rows which only pad the vocabulary."""

    vocabulary: int
    """Ids that the tokenizer has."""
    z_loss: float
    """Coefficient of a term that is in the gradient, and in no loss that is reported; see `cross_entropy`."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        with shims.plain_torch():
            return super().forward(*inputs, **named)

    def compute_language_model_loss(self, labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Cross entropy of every token, B, S; `logits` are S, B, V."""
        losses_SB = cross_entropy(
            logits, labels.transpose(0, 1), vocabulary=self.vocabulary, z_loss=self.z_loss, group=self.tp_group
        )
        return losses_SB.transpose(0, 1)


def build(
    architecture: Architecture,
    *,
    sequence_length: int,
    vocabulary: int,
    settings: TrainRun,
    runtime: Runtime,
    precision: Precision = "fp32",
    z_loss: float = 0.0,
    packed: bool = False,
) -> LanguageModel:
    """The part of the model that this rank holds, its weights not yet set; `packed` if it gets masks of documents."""
    config = transformer_config(architecture, settings, runtime, precision)
    model = LanguageModel(
        config=config,
        transformer_layer_spec=block(
            config, architecture, transformer_engine=runtime.transformer_engine, packed=packed
        ),
        vocab_size=architecture.vocab_size,
        max_sequence_length=sequence_length,
        pre_process=runtime.first_stage,
        post_process=runtime.last_stage,
        # Our own attention turns queries and keys itself.
        position_embedding_type="rope" if runtime.transformer_engine and not packed else "none",
        rotary_base=architecture.rope_theta,  # type: ignore[arg-type]
        share_embeddings_and_output_weights=False,
    )
    model.vocabulary, model.z_loss = vocabulary, z_loss
    for name, parameter in model.named_parameters():
        if ".experts." in name:
            # Megatron puts experts under an optimizer of their own only if `expert_parallel` is more than 1, and then
            # cannot read the moments of a run that had it otherwise (optimizer/optimizer.py:1579).
            parameter.allreduce = False  # type: ignore[attr-defined]
    return model.to(runtime.device, _DTYPES[precision])


def transformer_config(
    architecture: Architecture, settings: TrainRun, runtime: Runtime, precision: Precision
) -> TransformerConfig:
    """Megatron's description of the model; fusions that go through torch.compile or CUDA kernels stay off."""
    flags: dict[str, Any] = {
        "num_layers": architecture.layers,
        "hidden_size": architecture.hidden_size,
        "ffn_hidden_size": architecture.dense_ffn_size,
        "num_attention_heads": architecture.heads,
        "num_query_groups": architecture.kv_heads,
        "layernorm_epsilon": architecture.norm_eps,
        "normalization": "RMSNorm",
        "gated_linear_unit": True,
        "activation_func": silu,
        # In Megatron's words this says that the layers bring a module for the gate: here it is `layers.SwiGLU`.
        "use_te_activation_func": not runtime.transformer_engine,
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
        "tensor_model_parallel_size": settings.tensor_parallel,
        "calculate_per_token_loss": True,
        "pipeline_model_parallel_size": settings.pipeline_parallel,
        "expert_model_parallel_size": settings.expert_parallel,
        "context_parallel_size": settings.context_parallel,
        "sequence_parallel": settings.tensor_parallel > 1 and settings.sequence_parallel,
    }
    return TransformerConfig(**flags, **_numbers(precision), **_recompute(settings), **_experts(architecture, settings))


def _numbers(precision: Precision) -> dict[str, Any]:
    dtype = _DTYPES[precision]
    flags: dict[str, Any] = {"params_dtype": dtype, "pipeline_dtype": dtype, "bf16": dtype == torch.bfloat16}
    if precision == "fp8":
        # Scaled by each tensor's present size: unlike delayed scaling that keeps no state which a resumed run would miss.
        flags |= {"fp8": "hybrid", "fp8_recipe": "tensorwise"}
    return flags


def _recompute(settings: TrainRun) -> dict[str, Any]:
    if settings.recompute == "full":
        return {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1}
    if settings.recompute == "selective":
        # What is large and cheap to make again: scores and turned heads, and what lies between the two matrices.
        return {"recompute_granularity": "selective", "recompute_modules": ["core_attn"]}
    return {}


def _experts(architecture: Architecture, settings: TrainRun) -> dict[str, Any]:
    experts = architecture.experts
    if experts is None:
        return {}
    return {
        "num_moe_experts": experts.count,
        "moe_router_topk": experts.active,
        "moe_ffn_hidden_size": architecture.ffn_size,
        "moe_grouped_gemm": False,
        "moe_token_dispatcher_type": token_dispatcher(settings),
        "moe_router_load_balancing_type": "aux_loss",
        "moe_aux_loss_coeff": experts.aux_loss_coefficient,
        "moe_router_dtype": "fp32",
        "moe_router_pre_softmax": experts.gate_order == "softmax_first",
        "moe_shared_expert_intermediate_size": experts.shared_ffn_size,
        **_frequency(architecture),
    }


def _frequency(architecture: Architecture) -> dict[str, Any]:
    """Which layers are mixtures, if not all: Megatron then gives every layer keys of its own in a checkpoint."""
    if architecture.experts is None or architecture.experts.layers is None:
        return {}
    return {"moe_layer_freq": [int(layer in architecture.mixture_layers) for layer in range(architecture.layers)]}
