"""A LoRA adapter on disk: `adapter_config.json` and `adapter_model.safetensors`, as PEFT reads them.

What is written depends on nothing but the weights and the settings: no path of the base model, no version, and lists in
a fixed order where PEFT has sets.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bunbuku_contracts import ArtifactError
from safetensors.torch import load_file, save_file

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False, None),
    "use_rslora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "target_parameters": (None, []),
}
"""Settings under which `W + alpha/rank · B·A` is the whole truth."""


@dataclass(frozen=True)
class LoraWeights:
    """An adapter's low-rank factors by the name of the weight that they change."""

    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    """`A` (rank x inputs) and `B` (outputs x rank)."""
    scale: float
    """alpha / rank."""

    def change(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The weight with its update folded in: summed in float64 and rounded once, to the weight's own type."""
        a, b = self.factors[name]
        if weight.shape != (b.shape[0], a.shape[1]):
            raise ArtifactError(
                f"the adapter changes {name!r} of shape {(b.shape[0], a.shape[1])}, but it has {tuple(weight.shape)}",
                hint="give the checkpoint that the adapter was trained on",
            )
        return (weight.double() + self.scale * (b.double() @ a.double())).to(weight.dtype)


def write_adapter(folder: Path, state: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> None:
    """Write PEFT's own state and settings, without what tells where and when they were made."""
    tensors = {name: state[name].detach().float().cpu().contiguous() for name in sorted(state)}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    settings = {name: _stable(value) for name, value in config.items() if name != "peft_version"}
    settings |= {"base_model_name_or_path": None, "inference_mode": True, "revision": None}
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read_adapter(folder: Path) -> LoraWeights:
    """The factors of the adapter in `folder`.

    Raises:
        ArtifactError: It holds more than plain low-rank updates, or does not read as an adapter.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder} does not read as an adapter: {error}", hint="train it again") from error
    for name, plain in _PLAIN.items():
        if name in config and config[name] not in plain:
            raise ArtifactError(
                f"{folder / CONFIG} has `{name}` {config[name]!r}, which merging does not know",
                hint="merge that adapter with PEFT's own `merge_and_unload`",
            )
    factors = {_weight_name(name): tensors[name] for name in tensors if name.endswith(".lora_A.weight")}
    pairs = {name: (a, tensors[_factor_name(name, "lora_B")]) for name, a in sorted(factors.items())}
    if 2 * len(pairs) != len(tensors):
        unknown = sorted(
            set(tensors) - {_factor_name(name, factor) for name in pairs for factor in ("lora_A", "lora_B")}
        )
        raise ArtifactError(f"{folder / WEIGHTS} has tensors that are no low-rank factors, such as {unknown[0]!r}")
    return LoraWeights(pairs, config["lora_alpha"] / config["r"])


def _weight_name(factor: str) -> str:
    """The name of the changed weight: `base_model.model.x.q_proj.lora_A.weight` changes `x.q_proj.weight`."""
    return factor.removeprefix(_PREFIX).removesuffix(".lora_A.weight") + ".weight"


def _factor_name(weight: str, factor: str) -> str:
    return f"{_PREFIX}{weight.removesuffix('.weight')}.{factor}.weight"


def _stable(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _stable(inner) for key, inner in value.items()}
    return value
