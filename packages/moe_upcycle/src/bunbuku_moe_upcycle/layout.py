"""The Hugging Face layout, dense and with experts: what the tensors are called and what `config.json` says.

A dense layer's `mlp.{gate,up,down}_proj` become `block_sparse_moe.experts.N.{w1,w3,w2}` with a router
`block_sparse_moe.gate` beside them; everything else keeps its name. These are Mixtral's first names, which transformers 4 and 5
and vLLM all read. What is no Mixtral (see `Experts.is_mixtral`) is a `bunbuku_moe`: there `block_sparse_moe` is a layer's
feed-forward part whatever it is, of `{gate,up,down}_proj` in a layer without experts, with a `shared_expert` of these if there is one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bunbuku_contracts import Architecture, Artifact, ArtifactError, BunbukuError, Checkpoint

from bunbuku_moe_upcycle.tensors import Stored, TensorFolder

type Weight = Literal["gate", "up", "down"]

WEIGHTS: tuple[Weight, ...] = ("gate", "up", "down")
MODEL_TYPE = "bunbuku_moe"
ARCHITECTURE = "BunbukuMoeForCausalLM"
MODELING = "modeling_bunbuku_moe"
"""The module that is shipped with a checkpoint, for programs without this package (`trust_remote_code`)."""
AUTO_MAP = {
    "AutoConfig": f"{MODELING}.BunbukuMoeConfig",
    "AutoModel": f"{MODELING}.BunbukuMoeModel",
    "AutoModelForCausalLM": f"{MODELING}.{ARCHITECTURE}",
}

_MOE_NAMES = {"gate": "w1", "up": "w3", "down": "w2"}
DENSE_WEIGHT = re.compile(r"model\.layers\.(?P<layer>\d+)\.mlp\.(?P<weight>gate|up|down)_proj\.weight")
OTHER_WEIGHT = re.compile(
    r"model\.embed_tokens\.weight|model\.norm\.weight|lm_head\.weight"
    r"|model\.layers\.\d+\.(self_attn\.[qkvo]_proj|input_layernorm|post_attention_layernorm)\.weight"
)
LEFTOVER = re.compile(r".*rotary_emb\.inv_freq")
_COPIED = re.compile(
    r"tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab\.json|merges\.txt|chat_template.*|generation_config\.json"
)
_CARRIED = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "use_cache": True,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
    "attention_dropout": 0.0,
}
"""What both configs call the same, with Llama's defaults: Mixtral has others for what a file leaves out."""
_OPTIONAL = ("dtype", "torch_dtype", "rope_parameters")


class Place(NamedTuple):
    """One weight matrix of one expert, or of the network that all tokens meet beside them."""

    layer: int
    expert: int | None
    """`None` for the shared network."""
    weight: Weight

    @property
    def name(self) -> str:
        """What the tensor is called on disk."""
        if self.expert is None:
            return f"model.layers.{self.layer}.block_sparse_moe.shared_expert.{self.weight}_proj.weight"
        return f"model.layers.{self.layer}.block_sparse_moe.experts.{self.expert}.{_MOE_NAMES[self.weight]}.weight"


def router_name(layer: int) -> str:
    """What a layer's router is called on disk."""
    return f"model.layers.{layer}.block_sparse_moe.gate.weight"


def norm_name(layer: int) -> str:
    """What the norm before a layer's feed-forward network is called on disk."""
    return f"model.layers.{layer}.post_attention_layernorm.weight"


def dense_name(layer: int, weight: Weight) -> str:
    """What a dense layer's matrix is called on disk."""
    return f"model.layers.{layer}.mlp.{weight}_proj.weight"


def kept_name(layer: int, weight: Weight) -> str:
    """What a matrix is called in a layer that stays dense among mixtures."""
    return f"model.layers.{layer}.block_sparse_moe.{weight}_proj.weight"


class Output(NamedTuple):
    """A tensor to be written: a copy of `source`, an expert made of it, or a router, which has none."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: str | None = None
    place: Place | None = None
    layer: int | None = None
    """Of a router or an expert."""


def outputs(stored: Mapping[str, Stored], made: Architecture) -> Iterator[Output]:
    """Every tensor of the model with experts, in an order that depends on names alone.

    The experts made of one dense matrix follow each other, so that it is read once: gate, then up, then down.
    """
    assert made.experts is not None
    experts = made.experts
    members = [*([None] if experts.shared_ffn_size else []), *range(experts.count)]
    for name in sorted(stored, key=_natural):
        tensor = stored[name]
        if LEFTOVER.fullmatch(name):
            continue
        match = DENSE_WEIGHT.fullmatch(name)
        if match is None:
            yield Output(name, tensor.dtype, tensor.shape, source=name)
            continue
        layer, weight = int(match["layer"]), _weight(match["weight"])
        if layer not in made.mixture_layers:
            yield Output(kept_name(layer, weight), tensor.dtype, tensor.shape, source=name)
            continue
        if weight == "gate":
            yield Output(router_name(layer), tensor.dtype, (experts.count, made.hidden_size), layer=layer)
        for expert in members:
            place = Place(layer, expert, weight)
            wide = (made.ffn_size if expert is not None else experts.shared_ffn_size or 0, made.hidden_size)
            shape = wide[::-1] if weight == "down" else wide
            yield Output(place.name, tensor.dtype, shape, source=name, place=place, layer=layer)


def open_weights(checkpoint: Artifact[Checkpoint]) -> TensorFolder:
    """The weights of a checkpoint in Hugging Face layout.

    Raises:
        ArtifactError: It has none, or a file that its index speaks of is missing.
    """
    files = sorted(file.path for file in checkpoint.files() if re.fullmatch(r"model.*\.safetensors", file.path))
    if not files:
        raise ArtifactError(f"{checkpoint.dir} holds no model*.safetensors", hint="save it with save_pretrained first")
    folder = TensorFolder(checkpoint.dir / path for path in files)
    index = checkpoint.dir / "model.safetensors.index.json"
    if index.exists():
        for name, path in json.loads(index.read_bytes())["weight_map"].items():
            if name not in folder.stored:
                raise ArtifactError(
                    f"{checkpoint.dir}: {name!r} should be in {path!r} and is not",
                    hint="a part of the checkpoint is missing: copy or export it again",
                )
    return folder


def copied_files(checkpoint: Artifact[Checkpoint]) -> Iterator[Path]:
    """The tokenizer's files and the defaults for generation, which serve the model with experts as they are."""
    for file in checkpoint.files():
        if _COPIED.fullmatch(Path(file.path).name) and Path(file.path).parent == Path():
            yield checkpoint.dir / file.path


def moe_config(path: Path, made: Architecture) -> dict[str, Any]:
    """`config.json` of the model with experts `made`, of the dense one at `path`.

    Raises:
        BunbukuError: The dense model is something else than a Llama without biases.
    """
    dense: dict[str, Any] = json.loads(path.read_bytes())
    for field, wanted in {
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }.items():
        if dense.get(field, wanted) != wanted:
            raise BunbukuError(
                f"{path}: {field!r} is {dense[field]!r}, upcycling knows {wanted!r} only",
                hint="upcycling reads Llama's layout: SwiGLU feed-forward networks without biases",
            )
    rotary: dict[str, Any] = dense.get("rope_scaling") or dense.get("rope_parameters") or {}
    if (kind := rotary.get("rope_type", rotary.get("type", "default"))) != "default":
        raise BunbukuError(
            f"{path}: the rotary positions are of type {kind!r}, upcycling knows 'default' only",
            hint="an architecture here states `rope_theta` alone: training would forget the scaling",
        )
    experts = made.experts
    assert experts is not None
    config = {field: dense.get(field, default) for field, default in _CARRIED.items()}
    config |= {field: dense[field] for field in _OPTIONAL if dense.get(field) is not None}
    config["rope_theta"] = (dense.get("rope_parameters") or {}).get("rope_theta", dense.get("rope_theta", 10_000.0))
    config |= {
        "intermediate_size": made.ffn_size,
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": experts.count,
        "num_experts_per_tok": experts.active,
        "router_aux_loss_coef": experts.aux_loss_coefficient,
        "router_jitter_noise": 0.0,
        "output_router_logits": False,
        "sliding_window": None,
    }
    return config if experts.is_mixtral else config | own_fields(made)


def own_fields(made: Architecture) -> dict[str, Any]:
    """What `config.json` of a `bunbuku_moe` says besides what a Mixtral's does."""
    experts = made.experts
    assert experts is not None
    return {
        "model_type": MODEL_TYPE,
        "architectures": [ARCHITECTURE],
        "auto_map": AUTO_MAP,
        "router_normalization": experts.normalization and experts.normalization.model_dump(mode="json"),
        "gate_order": experts.gate_order,
        "mixture_layers": None if experts.layers is None else list(experts.layers),
        "dense_intermediate_size": made.dense_ffn_size,
        "shared_intermediate_size": experts.shared_ffn_size,
    }


def _weight(name: str) -> Weight:
    return next(weight for weight in WEIGHTS if weight == name)


def _natural(name: str) -> tuple[str | int, ...]:
    """Numbers compare as numbers: layer 2 comes before layer 10. `down` comes after `gate` and `up`."""
    name = name.replace(".mlp.down_proj.weight", ".mlp.up_proj.weight.then")
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))
