"""A Megatron checkpoint as a folder that `from_pretrained` opens: weights, configuration and tokenizer.

Only the tokenizer's own ids are written: the rows that pad Megatron's vocabulary stay behind.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bunbuku_contracts import Architecture, Artifact, Tokenizer, complete_hf_folder
from safetensors.torch import save_file

from bunbuku_pretrain.layout import pieces
from bunbuku_pretrain.sources import INDEX, SINGLE
from bunbuku_pretrain.torch_dist import TorchDistFolder

GENERATION = "generation_config.json"


def write_folder(
    folder: Path, source: Path, *, architecture: Architecture, tokenizer: Artifact[Tokenizer], shard_bytes: int
) -> Architecture:
    """Write the model that lies at `source` in Megatron's format into `folder`.

    Returns:
        The architecture as it is there, with no padding in the vocabulary.
    """
    exported = architecture.model_copy(update={"vocab_size": tokenizer.spec.vocab_size})
    write_weights(folder, _tensors(source, architecture, exported.vocab_size), shard_bytes)
    dtype = str(TorchDistFolder(source).dtype("decoder.final_layernorm.weight")).removeprefix("torch.")
    _write_json(folder / "config.json", model_config(exported, tokenizer.spec, dtype=dtype))
    if (source / GENERATION).is_file():  # an imported model brings its own
        shutil.copyfile(source / GENERATION, folder / GENERATION)
    else:
        _write_json(folder / GENERATION, _generation(tokenizer.spec))
    for file in tokenizer.files():
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tokenizer.path(file), target)
    complete_hf_folder(folder)
    return exported


def model_config(architecture: Architecture, tokenizer: Tokenizer, *, dtype: str = "float32") -> dict[str, Any]:
    """The `config.json`: Llama, Mixtral, or a mixture of our own."""
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.bos_id,
        "dtype": dtype,
        "eos_token_id": tokenizer.eos_id,
        "head_dim": architecture.head_size,
        "hidden_act": "silu",
        "hidden_size": architecture.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": architecture.ffn_size,
        "max_position_embeddings": architecture.max_positions,
        "mlp_bias": False,
        "num_attention_heads": architecture.heads,
        "num_hidden_layers": architecture.layers,
        "num_key_value_heads": architecture.kv_heads,
        "pad_token_id": tokenizer.pad_id,
        "rms_norm_eps": architecture.norm_eps,
        "rope_parameters": {"rope_theta": architecture.rope_theta, "rope_type": "default"},
        "rope_theta": architecture.rope_theta,
        "tie_word_embeddings": architecture.tied_embeddings,
        "use_cache": True,
        "vocab_size": architecture.vocab_size,
    }
    return config | _mixture(architecture)


def _mixture(architecture: Architecture) -> dict[str, Any]:
    experts = architecture.experts
    if experts is None:
        return {}
    fields: dict[str, Any] = {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": experts.count,
        "num_experts_per_tok": experts.active,
        "output_router_logits": False,
        "router_aux_loss_coef": experts.aux_loss_coefficient,
        "router_jitter_noise": 0.0,
        "sliding_window": None,
    }
    if not experts.is_mixtral:
        fields |= {
            "architectures": ["BunbukuMoeForCausalLM"],
            "model_type": "bunbuku_moe",
            "router_normalization": experts.normalization and experts.normalization.model_dump(mode="json"),
            "gate_order": experts.gate_order,
            "mixture_layers": None if experts.layers is None else list(experts.layers),
            "dense_intermediate_size": architecture.dense_ffn_size,
            "shared_intermediate_size": experts.shared_ffn_size,
        }
    return fields


def _generation(tokenizer: Tokenizer) -> dict[str, Any]:
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    return {**ids, "do_sample": False}


def _tensors(source: Path, architecture: Architecture, vocabulary: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor under its Hugging Face name, read one at a time."""
    folder = TorchDistFolder(source)
    for piece in pieces(architecture):
        for place in piece.places(architecture):
            split = piece.split(architecture, folder.tensor(piece.key, place))
            for name, tensor in zip(piece.named(*place), split, strict=True):
                padded = name in ("model.embed_tokens.weight", "lm_head.weight")
                yield name, (tensor[:vocabulary] if padded else tensor).contiguous()


def write_weights(folder: Path, tensors: Iterator[tuple[str, torch.Tensor]], shard_bytes: int) -> None:
    """Write one file, or several of at most `shard_bytes` (more only where one tensor is longer) and their index."""
    shards: list[list[str]] = []
    held: dict[str, torch.Tensor] = {}
    total = size = 0
    for name, tensor in tensors:
        if held and size + tensor.nbytes > shard_bytes:
            shards.append(_flush(folder, held, len(shards)))
            held, size = {}, 0
        held[name] = tensor
        size += tensor.nbytes
        total += tensor.nbytes
    shards.append(_flush(folder, held, len(shards)))
    _name_shards(folder, shards, total)


def _flush(folder: Path, held: dict[str, torch.Tensor], number: int) -> list[str]:
    save_file(held, folder / f"shard-{number}", metadata={"format": "pt"})
    return list(held)


def _name_shards(folder: Path, shards: list[list[str]], total_bytes: int) -> None:
    """Give the files the names that readers look for, now that their number is known."""
    if len(shards) == 1:
        (folder / "shard-0").rename(folder / SINGLE)
        return
    where: dict[str, str] = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        (folder / f"shard-{number}").rename(folder / file)
        where |= dict.fromkeys(names, file)
    _write_json(folder / INDEX, {"metadata": {"total_size": total_bytes}, "weight_map": dict(sorted(where.items()))})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
