"""The same weights under two names: as Megatron stores them, and as Hugging Face does.

A `Piece` is one Megatron tensor of one layer (of one expert) and the Hugging Face tensors it is made of. Megatron's
checkpoints stack pieces of the same key over layers and experts. Joining and splitting move numbers and never change
one, so that going there and back gives the same bytes.

Dense models have the names of `LlamaForCausalLM`, mixtures the older names of `MixtralForCausalLM`
(`block_sparse_moe.experts.N.w1`), which every version of transformers and vLLM reads. In a mixture of our own a layer
without experts and the network beside experts are `block_sparse_moe.gate_proj` and `block_sparse_moe.shared_expert.gate_proj`.

Shapes: V vocabulary, M model width, F feed-forward width, H heads, G key-value heads, D head size, Q = H / G.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
from bunbuku_contracts import Architecture

Tensors = Sequence[torch.Tensor]


class Piece(NamedTuple):
    """One Megatron tensor and what it is made of."""

    key: str
    """Megatron's key; the stacked axes (layer, then expert) are those that `names` leaves open."""
    names: tuple[str, ...]
    """Hugging Face's names, with `{layer}` and `{expert}` open."""
    join: Callable[[Architecture, Tensors], torch.Tensor]
    split: Callable[[Architecture, torch.Tensor], Tensors]

    @property
    def axes(self) -> tuple[str, ...]:
        """What is stacked."""
        return tuple(axis for axis in ("layer", "expert") if f"{{{axis}}}" in self.names[0])

    def named(self, *stacked: int) -> tuple[str, ...]:
        """The names in this layer, of this expert."""
        return tuple(name.format(**dict(zip(self.axes, stacked, strict=True))) for name in self.names)

    def stack(self, architecture: Architecture) -> tuple[int, ...]:
        """Lengths of the stacked axes."""
        lengths = {"layer": architecture.layers, "expert": architecture.experts.count if architecture.experts else 1}
        return tuple(lengths[axis] for axis in self.axes)

    def places(self, architecture: Architecture) -> Iterator[tuple[int, ...]]:
        """Every place in the stack: `()` where nothing is stacked, else layers, experts, or layers and experts."""
        return product(*map(range, self.stack(architecture)))

    def of_layer(self, layer: int) -> "Piece":
        """The piece of one layer alone, as checkpoints have it whose layers differ."""
        key = self.key.replace("decoder.layers.", f"decoder.layers.{layer}.")
        return self._replace(key=key, names=tuple(name.replace("{layer}", str(layer)) for name in self.names))


def pieces(architecture: Architecture) -> tuple[Piece, ...]:
    """All pieces of a model, in the order of the Hugging Face file: embedding, layers, norm, head.

    Where some layers are dense and others mixtures, Megatron stacks no layers: each has keys of its own.
    """
    experts = architecture.experts
    if experts is None or experts.layers is None:
        layers = _layer(architecture, mixture=experts is not None)
    else:
        layers = tuple(
            piece.of_layer(layer)
            for layer in range(architecture.layers)
            for piece in _layer(architecture, mixture=layer in experts.layers)
        )
    return (
        Piece("embedding.word_embeddings.weight", ("model.embed_tokens.weight",), _pad, _whole),
        *layers,
        _alone("decoder.final_layernorm.weight", "model.norm.weight"),
        Piece("output_layer.weight", ("lm_head.weight",), _pad, _whole),
    )


def _layer(architecture: Architecture, *, mixture: bool) -> tuple[Piece, ...]:
    layer = "model.layers.{layer}."
    attention = (
        _alone("decoder.layers.self_attention.linear_qkv.layer_norm_weight", layer + "input_layernorm.weight"),
        Piece(
            "decoder.layers.self_attention.linear_qkv.weight",
            tuple(f"{layer}self_attn.{letter}_proj.weight" for letter in "qkv"),
            _join_qkv,
            _split_qkv,
        ),
        _alone("decoder.layers.self_attention.linear_proj.weight", layer + "self_attn.o_proj.weight"),
    )
    if mixture:
        shared = architecture.experts is not None and architecture.experts.shared_ffn_size is not None
        return (*attention, *_mixture(layer), *(_shared(layer) if shared else ()))
    return (*attention, *_dense(layer, "mlp" if architecture.experts is None else "block_sparse_moe"))


def names(architecture: Architecture) -> list[str]:
    """Every Hugging Face name of a model."""
    return [
        name for piece in pieces(architecture) for place in piece.places(architecture) for name in piece.named(*place)
    ]


def _dense(layer: str, called: str) -> tuple[Piece, ...]:
    return (
        _alone("decoder.layers.mlp.linear_fc1.layer_norm_weight", layer + "post_attention_layernorm.weight"),
        *_gated("decoder.layers.mlp", layer + called),
    )


def _shared(layer: str) -> tuple[Piece, ...]:
    return _gated("decoder.layers.mlp.shared_experts", layer + "block_sparse_moe.shared_expert")


def _gated(key: str, name: str) -> tuple[Piece, ...]:
    return (
        Piece(
            f"{key}.linear_fc1.weight",
            (f"{name}.gate_proj.weight", f"{name}.up_proj.weight"),
            _join_gate_up,
            _split_gate_up,
        ),
        _alone(f"{key}.linear_fc2.weight", f"{name}.down_proj.weight"),
    )


def _mixture(layer: str) -> tuple[Piece, ...]:
    expert = layer + "block_sparse_moe.experts.{expert}."
    return (
        _alone("decoder.layers.pre_mlp_layernorm.weight", layer + "post_attention_layernorm.weight"),
        _alone("decoder.layers.mlp.router.weight", layer + "block_sparse_moe.gate.weight"),
        Piece(
            "decoder.layers.mlp.experts.experts.linear_fc1.weight",
            (f"{expert}w1.weight", f"{expert}w3.weight"),
            _join_gate_up,
            _split_gate_up,
        ),
        _alone("decoder.layers.mlp.experts.experts.linear_fc2.weight", expert + "w2.weight"),
    )


def _alone(key: str, name: str) -> Piece:
    return Piece(key, (name,), lambda _, tensors: tensors[0], _whole)


def _whole(_: Architecture, tensor: torch.Tensor) -> Tensors:
    return (tensor,)


def _pad(architecture: Architecture, tensors: Tensors) -> torch.Tensor:
    """Rows of zeros up to the vocabulary of the architecture. The loss never looks at them."""
    (rows_VM,) = tensors
    missing = architecture.vocab_size - rows_VM.shape[0]
    return torch.cat([rows_VM, rows_VM.new_zeros(missing, rows_VM.shape[1])]) if missing else rows_VM


def _join_qkv(architecture: Architecture, tensors: Tensors) -> torch.Tensor:
    """[G (Q + 2) D, M]: for each key-value head its queries, its key, its value."""
    groups, width = architecture.kv_heads, architecture.hidden_size
    grouped = [tensor.reshape(groups, -1, width) for tensor in tensors]
    return torch.cat(grouped, dim=1).reshape(-1, width)


def _split_qkv(architecture: Architecture, tensor: torch.Tensor) -> Tensors:
    groups, head, width = architecture.kv_heads, architecture.head_size, architecture.hidden_size
    queries = architecture.heads // groups
    grouped = tensor.reshape(groups, (queries + 2) * head, width)
    return tuple(part.reshape(-1, width) for part in grouped.split([queries * head, head, head], dim=1))


def _join_gate_up(_: Architecture, tensors: Tensors) -> torch.Tensor:
    return torch.cat(list(tensors))


def _split_gate_up(_: Architecture, tensor: torch.Tensor) -> Tensors:
    return tensor.chunk(2)
