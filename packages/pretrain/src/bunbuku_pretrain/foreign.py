"""What a Hugging Face folder from elsewhere says of its model, and whether it is one that this project trains.

A `config.json` is read field by field: what would make another computation of the same weights is refused by name.
"""

import json
from pathlib import Path
from typing import Any

from bunbuku_contracts import Architecture, ArtifactError, Experts, RouterNormalization
from pydantic import ValidationError

KNOWN = ("llama", "mixtral", "bunbuku_moe")

# Fields that change what is computed, and what they must be if they are there.
_REQUIRED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "tie_word_embeddings": (False, None),
    "sliding_window": (None,),
    "rope_scaling": (None,),
    "quantization_config": (None,),
    "partial_rotary_factor": (1.0, None),
}


def read_architecture(folder: Path) -> Architecture:
    """The architecture that `folder/config.json` describes.

    Raises:
        ArtifactError: It is missing, or describes a model that is not Llama-shaped as this project's are.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ArtifactError(f"{folder} has no config.json", hint="give a folder that `save_pretrained` wrote")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kind = config.get("model_type")
    if kind not in KNOWN:
        raise ArtifactError(f"{path} says `model_type` {kind!r}", hint=f"only these are read: {', '.join(KNOWN)}")
    for field, allowed in _REQUIRED.items():
        if config.get(field, allowed[0]) not in allowed:
            raise _refused(path, field, config[field], f"must be {allowed[0]!r}")
    try:
        return Architecture(
            layers=config["num_hidden_layers"],
            hidden_size=config["hidden_size"],
            ffn_size=config["intermediate_size"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            vocab_size=config["vocab_size"],
            max_positions=config["max_position_embeddings"],
            rope_theta=_theta(path, config),
            norm_eps=config["rms_norm_eps"],
            experts=None if kind == "llama" else _experts(config, own=kind == "bunbuku_moe"),
        )
    except KeyError as error:
        raise ArtifactError(f"{path} lacks {error.args[0]!r}", hint="is it the configuration of a model?") from None
    except ValidationError as error:
        raise ArtifactError(f"{path} describes no model: {error.errors()[0]['msg']}", hint="see its numbers") from None


def _theta(path: Path, config: dict[str, Any]) -> float:
    """The base of the rotary angles, from where either generation of transformers writes it."""
    parameters: dict[str, Any] = config.get("rope_parameters") or {}
    if (kind := parameters.get("rope_type", "default")) != "default":
        raise _refused(path, "rope_parameters.rope_type", kind, "must be 'default'")
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if (size := config.get("head_dim")) not in (None, width // heads):
        raise _refused(path, "head_dim", size, f"must be `hidden_size` / `num_attention_heads`, {width // heads}")
    return parameters.get("rope_theta") or config.get("rope_theta") or 10_000.0


def _experts(config: dict[str, Any], *, own: bool) -> Experts:
    fields: dict[str, Any] = {
        "count": config["num_local_experts"],
        "active": config["num_experts_per_tok"],
        "aux_loss_coefficient": config.get("router_aux_loss_coef", 0.0),
    }
    if own:
        rule = config["router_normalization"]
        some = config.get("mixture_layers") is not None
        fields |= {
            "normalization": rule and RouterNormalization.model_validate(rule),
            "gate_order": config.get("gate_order", "choice_first"),
            "layers": tuple(config["mixture_layers"]) if some else None,
            "dense_ffn_size": config.get("dense_intermediate_size") if some else None,
            "shared_ffn_size": config.get("shared_intermediate_size"),
        }
    return Experts(**fields)


def _refused(path: Path, field: str, value: Any, wanted: str) -> ArtifactError:
    return ArtifactError(f"{path} says `{field}` {value!r}, which {wanted}", hint="such a model is not trained here")
