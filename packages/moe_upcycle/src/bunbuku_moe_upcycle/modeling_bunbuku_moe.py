"""Mixtral with a router of our own, for transformers 4 and 5. Needs torch and transformers, and nothing else.

The router may bring each token's logits to mean 0 and standard deviation `scale` over the experts, in float32; it takes the top
ones and weighs them with a softmax over those taken, or with their part of a softmax over all. Either mapping of a token's
logits is increasing, so the experts chosen are those of a plain Mixtral; only their weights differ. Layers may be dense, and
a network that all tokens meet may stand beside the experts. Attention, experts, cache and generation are transformers' own.

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
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, MixtralTopKRouter
except ImportError:  # transformers 4: names in memory are those on disk, and the gate is a plain matrix
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    MixtralTopKRouter = nn.Module
else:  # transformers 5 fuses the experts in memory, and reads files with the first names through a mapping
    register_checkpoint_conversion_mapping(
        MODEL_TYPE, get_checkpoint_conversion_mapping("mixtral") or [], overwrite=True
    )


class BunbukuMoeConfig(MixtralConfig):
    """Mixtral's config and what a router or a layer here has beyond it."""

    model_type = MODEL_TYPE

    router_normalization: dict[str, Any] | None = None
    """`scale`, `ddof` and `eps`: see `normalize_logits`. None leaves the logits as they are."""
    gate_order: str = "choice_first"
    """Whether the softmax is over the experts chosen (`choice_first`) or over all of them (`softmax_first`)."""
    mixture_layers: list[int] | None = None
    """Layers, from 0, that have experts; all of them if None."""
    dense_intermediate_size: int | None = None
    """Width of the layers without experts; that of an expert if None."""
    shared_intermediate_size: int | None = None
    """Width of the network beside the experts that all tokens meet; there is none if None."""


def rule_of(config: Any) -> dict[str, Any] | None:
    """The parameters of the normalisation if there is one, with the defaults for what the config leaves out."""
    given = config.router_normalization
    return None if given is None else {"scale": 1.0, "ddof": 1, "eps": 1e-6} | given


def has_experts(config: Any, layer: int) -> bool:
    """Whether this layer, from 0, is a mixture."""
    return config.mixture_layers is None or layer in config.mixture_layers


def normalize_logits(logits_TE: Tensor, *, scale: float, ddof: int, eps: float) -> Tensor:
    """Logits of each token with mean 0 and standard deviation `scale` over the experts; zeros where all are equal.

    Skywork-MoE (arXiv:2406.06563) eq. 6. Departs: `eps` is added to the deviation, and `ddof` is stated where the paper
    leaves it open (its published inference code divides by the unbiased deviation, 1).
    """
    deviation_T1 = logits_TE.std(dim=-1, keepdim=True, correction=ddof)
    return scale * (logits_TE - logits_TE.mean(dim=-1, keepdim=True)) / (deviation_T1 + eps)


def route(hidden_TD: Tensor, weight_ED: Tensor, config: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of every token, normalised if the config says so, and gates and indices of the experts chosen; in float32."""
    rule = rule_of(config)
    # An autocast region would bring the product back to half precision.
    with torch.autocast(hidden_TD.device.type, enabled=False):
        logits_TE = functional.linear(hidden_TD.float(), weight_ED.float())
        if rule is not None:
            logits_TE = normalize_logits(logits_TE, **rule)
        top_TK, chosen_TK = logits_TE.topk(config.num_experts_per_tok, dim=-1)
        if config.gate_order == "softmax_first":
            return logits_TE, logits_TE.softmax(dim=-1).gather(1, chosen_TK), chosen_TK
        return logits_TE, top_TK.softmax(dim=-1), chosen_TK


class Router(MixtralTopKRouter):  # pyright: ignore[reportGeneralTypeIssues]  # of one version or another
    """Scores of a token's experts, as transformers 5 asks for them."""

    def __init__(self, config: BunbukuMoeConfig) -> None:
        super().__init__(config)
        self.config = config

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, and the gates and indices of the experts chosen."""
        return route(hidden_states.reshape(-1, self.hidden_dim), self.weight, self.config)


class FeedForward(nn.Module):
    """A gated network without experts."""

    def __init__(self, config: BunbukuMoeConfig, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.down_proj = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class DenseLayer(FeedForward):
    """The same in the place of a mixture, as transformers 4 calls it."""

    def forward(self, hidden: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(hidden), None


class Mixture(MixtralSparseMoeBlock):
    """The experts of a Mixtral's block behind our router, with the shared network if there is one, for transformers 5."""

    def __init__(self, config: BunbukuMoeConfig, block: MixtralSparseMoeBlock) -> None:
        nn.Module.__init__(self)  # the block has experts already: they are not made twice
        self.top_k, self.jitter_noise = config.num_experts_per_tok, config.router_jitter_noise
        self.gate = Router(config)
        self.experts = block.experts
        if config.shared_intermediate_size:
            self.shared_expert = FeedForward(config, config.shared_intermediate_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        answer = super().forward(hidden_states)
        return answer + self.shared_expert(hidden_states) if hasattr(self, "shared_expert") else answer


class Mixture4(MixtralSparseMoeBlock):
    """The same for transformers 4, whose block also gives its logits."""

    def __init__(self, config: BunbukuMoeConfig, block: MixtralSparseMoeBlock) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.gate, self.experts = block.gate, block.experts
        if config.shared_intermediate_size:
            self.shared_expert = FeedForward(config, config.shared_intermediate_size)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden_TD = hidden_states.reshape(-1, hidden_states.shape[-1])
        logits_TE, gates_TK, chosen_TK = route(hidden_TD, self.gate.weight, self.config)
        answer_TD = torch.zeros_like(hidden_TD) if not hasattr(self, "shared_expert") else self.shared_expert(hidden_TD)
        for index, expert in enumerate(cast(Any, self.experts)):
            tokens, places = torch.where(chosen_TK == index)
            part = expert(hidden_TD[tokens]) * gates_TK[tokens, places, None].to(hidden_TD.dtype)
            answer_TD = answer_TD.index_add(0, tokens, part.to(hidden_TD.dtype))
        return answer_TD.view_as(hidden_states), logits_TE


class BunbukuMoeModel(MixtralModel):
    """Mixtral's decoder with our feed-forward parts."""

    config_class = BunbukuMoeConfig

    def __init__(self, config: BunbukuMoeConfig) -> None:
        super().__init__(config)
        _replace(self, config)
        self.post_init()  # gives the new parts their first weights, and touches no others

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        # transformers looks for a decorator in the source of the module that defines the class; Mixtral's experts have it.
        return True


class BunbukuMoeForCausalLM(MixtralForCausalLM):
    """A language model with experts behind a router of our own.

    While training, the load-balancing loss is returned as `aux_loss` and is part of `loss`, unless `output_router_logits=False`
    is given; in evaluation it is asked for with `output_router_logits=True`.
    """

    config_class = BunbukuMoeConfig

    def __init__(self, config: BunbukuMoeConfig) -> None:
        super().__init__(config)
        _replace(self.model, config)
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


def _replace(model: MixtralModel, config: BunbukuMoeConfig) -> None:
    """Put our feed-forward parts where Mixtral has its own; the experts stay the same modules wherever a layer has them."""
    width = config.dense_intermediate_size or config.intermediate_size
    for number, layer in enumerate(cast(Any, model.layers)):
        if hasattr(layer, "block_sparse_moe"):
            block = layer.block_sparse_moe
            layer.block_sparse_moe = (
                Mixture4(config, block) if has_experts(config, number) else DenseLayer(config, width)
            )
        else:
            layer.mlp = Mixture(config, layer.mlp) if has_experts(config, number) else FeedForward(config, width)


def load_balancing_loss(router_logits: tuple[Tensor, ...], active: int, attention_mask: Tensor | None = None) -> Tensor:
    """Load-balancing loss of the layers' logits, 1 a layer when the load is even; summed over layers.

    Fedus et al. 2021 (arXiv:2101.03961) eq. 4 on the logits that the gates come from, with the share of choices over `active` experts, as
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
