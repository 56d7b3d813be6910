"""What transformers opens a `bunbuku_moe` checkpoint with: Mixtral with a router of our own.

The classes are those of `modeling_bunbuku_moe`, the file that also travels with the checkpoints. `register` makes them known
to transformers' Auto classes; it is declared as the entry point `bunbuku.hf_models`, so
`bunbuku_contracts.register_hf_models()` is all that a program needs before `from_pretrained`.
"""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from bunbuku_moe_upcycle.modeling_bunbuku_moe import (
    MODEL_TYPE,
    BunbukuMoeConfig,
    BunbukuMoeForCausalLM,
    BunbukuMoeModel,
    FeedForward,
    Router,
    has_experts,
    load_balancing_loss,
    normalize_logits,
    route,
    rule_of,
)

__all__ = [
    "BunbukuMoeConfig",
    "BunbukuMoeForCausalLM",
    "BunbukuMoeModel",
    "FeedForward",
    "Router",
    "has_experts",
    "load_balancing_loss",
    "normalize_logits",
    "register",
    "route",
    "rule_of",
]


def register() -> None:
    """Make `bunbuku_moe` known to transformers' Auto classes, and let `save_pretrained` ship the modelling file."""
    AutoConfig.register(MODEL_TYPE, BunbukuMoeConfig, exist_ok=True)
    AutoModel.register(BunbukuMoeConfig, BunbukuMoeModel, exist_ok=True)
    AutoModelForCausalLM.register(BunbukuMoeConfig, BunbukuMoeForCausalLM, exist_ok=True)
    BunbukuMoeConfig.register_for_auto_class("AutoConfig")
    BunbukuMoeModel.register_for_auto_class("AutoModel")
    BunbukuMoeForCausalLM.register_for_auto_class("AutoModelForCausalLM")
