"""A LoRA adapter on disk: `adapter_config.json` and `adapter_model.safetensors`, as PEFT reads them.

What is written depends on nothing but the weights and the settings: no path of the base model, no version, and lists in
a fixed order where PEFT has sets.

PEFT keeps the factors of a layer's experts in one matrix each, and calls them by how it nests its wrappers: those of
`gate_up_proj` are the `base_layer` of those of `down_proj`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bunbuku_contracts import ArtifactError
from safetensors.torch import load_file, save_file

from bunbuku_align.fused import Place, place

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
FUSED = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
ROUTER = "mlp.gate.weight"
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
}
"""Settings under which `W + alpha/rank · B·A` is the whole truth."""
_PARAMETERS = {*FUSED, ROUTER}


@dataclass(frozen=True)
class LoraWeights:
    """An adapter's low-rank factors by the parameter, in memory, that they change."""

    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    """`A` (rank x inputs) and `B` (outputs x rank); of experts, rank · experts instead of rank."""
    scale: float
    """alpha / rank."""
    rank: int

    def __contains__(self, name: object) -> bool:
        """Whether it changes the weight of this name on disk."""
        return isinstance(name, str) and place(name).parameter in self.factors

    def change(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The weight with its update folded in: summed in float64 and rounded once, to the weight's own type."""
        a, b = self._of(place(name))
        if weight.shape != (b.shape[0], a.shape[1]):
            raise ArtifactError(
                f"the adapter changes {name!r} of shape {(b.shape[0], a.shape[1])}, but it has {tuple(weight.shape)}",
                hint="give the checkpoint that the adapter was trained on",
            )
        return (weight.double() + self.scale * (b.double() @ a.double())).to(weight.dtype)

    def _of(self, where: Place) -> tuple[torch.Tensor, torch.Tensor]:
        """The factors of one weight: of experts, A's rows are expert by expert, B's columns rank by rank."""
        a, b = self.factors[where.parameter]
        if where.expert is None:
            return a, b
        experts = a.shape[0] // self.rank
        a = a.reshape(experts, self.rank, -1)[where.expert]
        b = b.reshape(b.shape[0], self.rank, experts)[:, :, where.expert]
        return a, b if where.half is None else b.chunk(2)[where.half]


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
            raise _unknown(folder, name, config[name])
    if not set(config.get("target_parameters") or ()) <= _PARAMETERS:
        raise _unknown(folder, "target_parameters", config["target_parameters"])
    names = [name for name in sorted(tensors) if name.endswith(".lora_A.weight")]
    others = {name: name.removesuffix("lora_A.weight") + "lora_B.weight" for name in names}
    if unknown := sorted(set(tensors) - set(names) - set(others.values())):
        raise ArtifactError(f"{folder / WEIGHTS} has tensors that are no low-rank factors, such as {unknown[0]!r}")
    factors = {_parameter(name): (tensors[name], tensors[others[name]]) for name in names}
    return LoraWeights(factors, config["lora_alpha"] / config["r"], config["r"])


def _unknown(folder: Path, name: str, value: object) -> ArtifactError:
    return ArtifactError(
        f"{folder / CONFIG} has `{name}` {value!r}, which merging does not know",
        hint="merge that adapter with PEFT's own `merge_and_unload`",
    )


def _parameter(factor: str) -> str:
    """The changed parameter: `base_model.model.x.q_proj.lora_A.weight` changes `x.q_proj.weight`."""
    name = factor.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
    if name.endswith(".mlp.experts.base_layer"):
        return name.removesuffix("base_layer") + "gate_up_proj"
    return f"{name}.down_proj" if name.endswith(".mlp.experts") else f"{name}.weight"


def _stable(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _stable(inner) for key, inner in value.items()}
    return value
