"""Mixtral with normalised router logits, for transformers 4 and 5. Needs torch and transformers, and nothing else.

The router brings each token's logits to mean 0 and standard deviation `scale` over the experts, in float32, takes the top
ones and weighs them with a softmax over those taken. The mapping of a token's logits is increasing, so the experts chosen are
those of a plain Mixtral; only their weights differ. Attention, experts, cache and generation are transformers' own.

This file travels with the checkpoints of bunbuku (`trust_remote_code=True`); the package `bunbuku-moe-upcycle` offers the
same classes without that.
"""

# Shapes: T tokens, D model, E experts, K experts a token

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import MixtralConfig, MixtralForCausalLM, MixtralModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import MoeCausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

MODEL_TYPE = "bunbuku_moe"

try:
    from transformers.conversion_mapping import (
        get_checkpoint_conversion_mapping,
        register_checkpoint_conversion_mapping,
    )
    from transformers.models.mixtral.modeling_mixtral import MixtralTopKRouter
except ImportError:  # transformers 4: names in memory are those on disk, and the gate is a plain matrix
    MixtralTopKRouter = nn.Module
else:  # transformers 5 fuses the experts in memory, and reads files with the first names through a mapping
    register_checkpoint_conversion_mapping(
        MODEL_TYPE, get_checkpoint_conversion_mapping("mixtral") or [], overwrite=True
    )


class BunbukuMoeConfig(MixtralConfig):
    """Mixtral's config and the parameters of the router's normalisation."""

    model_type = MODEL_TYPE

    router_normalization: dict[str, Any] | None = None
    """`scale`, `ddof` and `eps`: see `normalize_logits`."""


def rule_of(config: Any) -> dict[str, Any]:
    """The parameters of the normalisation, with the defaults for what the config leaves out."""
    return {"scale": 1.0, "ddof": 1, "eps": 1e-6} | (config.router_normalization or {})


def normalize_logits(logits_TE: Tensor, *, scale: float, ddof: int, eps: float) -> Tensor:
    """Logits of each token with mean 0 and standard deviation `scale` over the experts; zeros where all are equal.

    Skywork-MoE (arXiv:2406.06563) eq. 6. Departs: `eps` is added to the deviation, and `ddof` is stated where the paper
    leaves it open (its published inference code divides by the unbiased deviation, 1).
    """
    deviation_T1 = logits_TE.std(dim=-1, keepdim=True, correction=ddof)
    return scale * (logits_TE - logits_TE.mean(dim=-1, keepdim=True)) / (deviation_T1 + eps)


def _normalized(hidden_TD: Tensor, weight_ED: Tensor, rule: dict[str, Any]) -> Tensor:
    # An autocast region would bring the product back to half precision.
    with torch.autocast(hidden_TD.device.type, enabled=False):
        return normalize_logits(functional.linear(hidden_TD.float(), weight_ED.float()), **rule)


class NormalizedTopKRouter(MixtralTopKRouter):  # pyright: ignore[reportGeneralTypeIssues]  # of one version or another
    """Scores of a token's experts from normalised logits, as transformers 5 asks for them."""

    def __init__(self, config: BunbukuMoeConfig) -> None:
        super().__init__(config)
        self.normalization = rule_of(config)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised logits, and the weights and indices of the experts chosen; all arithmetic in float32."""
        logits_TE = _normalized(hidden_states.reshape(-1, self.hidden_dim), self.weight, self.normalization)
        top_TK, chosen_TK = logits_TE.topk(self.top_k, dim=-1)
        return logits_TE, top_TK.softmax(dim=-1), chosen_TK


class NormalizedGate(nn.Linear):
    """Normalised logits of a token's experts, as transformers 4 asks for them: softmax and choice follow there."""

    def __init__(self, config: BunbukuMoeConfig) -> None:
        super().__init__(config.hidden_size, config.num_local_experts, bias=False)
        self.normalization = rule_of(config)

    def forward(self, input: Tensor) -> Tensor:
        return _normalized(input, self.weight, self.normalization)


class BunbukuMoeModel(MixtralModel):
    """Mixtral's decoder with normalised routers."""

    config_class = BunbukuMoeConfig

    def __init__(self, config: BunbukuMoeConfig) -> None:
        super().__init__(config)
        _normalize_routers(self, config)
        self.post_init()  # gives the new routers their first weights, and touches no others

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        # transformers looks for a decorator in the source of the module that defines the class; Mixtral's experts have it.
        return True


class BunbukuMoeForCausalLM(MixtralForCausalLM):
    """A language model with experts behind a normalised router.

    While training, the load-balancing loss is returned as `aux_loss` and is part of `loss`, unless `output_router_logits=False`
    is given; in evaluation it is asked for with `output_router_logits=True`.
    """

    config_class = BunbukuMoeConfig

    def __init__(self, config: BunbukuMoeConfig) -> None:
        super().__init__(config)
        _normalize_routers(self.model, config)
        self.post_init()

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        return True

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_router_logits: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> MoeCausalLMOutputWithPast:
        """As Mixtral's, with another auxiliary loss: see `load_balancing_loss`."""
        if output_router_logits is None:
            output_router_logits = self.training or self.config.output_router_logits
        inside = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_router_logits=output_router_logits,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(inside.last_hidden_state[:, kept, :])
        loss = self.loss_function(logits, labels, self.vocab_size, **kwargs) if labels is not None else None
        aux_loss = None
        if output_router_logits:
            aux_loss = load_balancing_loss(inside.router_logits, self.num_experts_per_tok, attention_mask)
            loss = loss + self.config.router_aux_loss_coef * aux_loss.to(loss.device) if loss is not None else None
        return MoeCausalLMOutputWithPast(
            loss=loss,
            aux_loss=aux_loss,  # pyright: ignore[reportArgumentType]  # declared as torch's legacy FloatTensor
            logits=logits,
            past_key_values=inside.past_key_values,
            hidden_states=inside.hidden_states,
            attentions=inside.attentions,
            router_logits=inside.router_logits,
        )


def _normalize_routers(model: MixtralModel, config: BunbukuMoeConfig) -> None:
    for layer in cast(Any, model.layers):
        if hasattr(layer, "block_sparse_moe"):
            layer.block_sparse_moe.gate = NormalizedGate(config)
        else:
            layer.mlp.gate = NormalizedTopKRouter(config)


def load_balancing_loss(router_logits: tuple[Tensor, ...], active: int, attention_mask: Tensor | None = None) -> Tensor:
    """Load-balancing loss of the layers' logits, 1 a layer when the load is even; summed over layers.

    Fedus et al. 2021 (arXiv:2101.03961) eq. 4 on the normalised logits, with the share of choices over `active` experts, as
    Megatron-core has it, so that a coefficient means the same there and here. Departs from transformers' Mixtral, which
    pools all layers: there, layers that each overload another expert pass for balanced.
    """
    return torch.stack([_layer_loss(logits_TE, active, attention_mask) for logits_TE in router_logits]).sum()


def _layer_loss(logits_TE: Tensor, active: int, attention_mask: Tensor | None) -> Tensor:
    experts = logits_TE.shape[-1]
    scores_TE = logits_TE.float().softmax(dim=-1)
    choices_TE = functional.one_hot(logits_TE.topk(active, dim=-1).indices, experts).sum(dim=1).float()
    kept_T1 = torch.ones_like(scores_TE[:, :1])
    # A mask of another length covers a cache, one of another rank is no mask of padding: neither says what these tokens are.
    if attention_mask is not None and attention_mask.ndim == 2 and attention_mask.numel() == len(scores_TE):
        kept_T1 = attention_mask.reshape(-1, 1).to(scores_TE)
    tokens = kept_T1.sum().clamp(min=1)
    share_E = (choices_TE * kept_T1).sum(dim=0) / (tokens * active)
    score_E = (scores_TE * kept_T1).sum(dim=0) / tokens
    return experts * (share_E * score_E).sum()
