"""What cannot be upcycled or looked into is refused here, in a sentence, before anything is made."""

from collections.abc import Iterator, Mapping

from bunbuku_contracts import Architecture, Artifact, BunbukuError, Checkpoint, Experts

from bunbuku_moe_upcycle.layout import (
    DENSE_WEIGHT,
    LEFTOVER,
    OTHER_WEIGHT,
    WEIGHTS,
    Place,
    dense_name,
    kept_name,
    norm_name,
    open_weights,
)
from bunbuku_moe_upcycle.tensors import Stored


def check_dense(checkpoint: Artifact[Checkpoint]) -> Architecture:
    """The architecture of a checkpoint that can be upcycled.

    Raises:
        BunbukuError: It is in another format, or has experts already.
    """
    spec = checkpoint.manifest.spec
    if spec.format != "hf":
        raise BunbukuError(
            f"{checkpoint.dir} is a checkpoint in {spec.format!r} format, upcycling reads 'hf'",
            hint="bunbuku-pretrain export makes one of a Megatron checkpoint, bunbuku-align merge of an adapter",
        )
    if spec.architecture.experts is not None:
        raise BunbukuError(
            f"{checkpoint.dir} has {spec.architecture.experts.count} experts already, upcycling begins with a dense model",
            hint="give the dense checkpoint it was made from",
        )
    return spec.architecture


def check_mixture(name: str, checkpoint: Artifact[Checkpoint], *, stage: str = "similarity") -> Experts:
    """The experts of a checkpoint that can be looked into.

    Raises:
        BunbukuError: It is in another format, has no experts, or lacks some.
    """
    spec = checkpoint.manifest.spec
    if spec.format != "hf":
        raise BunbukuError(
            f"{name!r} ({checkpoint.dir}) is a checkpoint in {spec.format!r} format, {stage} reads 'hf'",
            hint="bunbuku-pretrain export makes one of a Megatron checkpoint",
        )
    if spec.architecture.experts is None:
        raise BunbukuError(
            f"{name!r} ({checkpoint.dir}) is dense: it has no experts to compare",
            hint="give checkpoints that bunbuku-moe-upcycle upcycle made, or that were trained from them",
        )
    stored = open_weights(checkpoint).stored
    for wanted in _networks(spec.architecture, spec.architecture.experts):
        if wanted not in stored:
            raise BunbukuError(
                f"{name!r} ({checkpoint.dir}) lacks {wanted!r}",
                hint="a layer has its experts in Mixtral's layout on disk: export the checkpoint again",
            )
    return spec.architecture.experts


def _networks(architecture: Architecture, experts: Experts) -> Iterator[str]:
    """Names of every feed-forward matrix of a mixture."""
    members = [*([None] if experts.shared_ffn_size else []), *range(experts.count)]
    for layer in range(architecture.layers):
        if layer not in architecture.mixture_layers:
            yield from (kept_name(layer, weight) for weight in WEIGHTS)
            continue
        yield from (Place(layer, member, weight).name for member in members for weight in WEIGHTS)


def check_tensors(checkpoint: Artifact[Checkpoint], stored: Mapping[str, Stored]) -> None:
    """Refuse tensors that a Llama does not have, and the absence or another shape of those that it must have."""
    for name in sorted(stored):
        if not (DENSE_WEIGHT.fullmatch(name) or OTHER_WEIGHT.fullmatch(name) or LEFTOVER.fullmatch(name)):
            raise BunbukuError(
                f"{checkpoint.dir} holds {name!r}, which a dense Llama does not have",
                hint="upcycling knows Llama's layout without biases and nothing else",
            )
    architecture = checkpoint.manifest.spec.architecture
    for name, shape in _shapes(architecture):
        found = stored[name].shape if name in stored else None
        if found != shape:
            raise BunbukuError(
                f"{checkpoint.dir}: {name!r} should be of shape {shape} and is {found or 'missing'}",
                hint="the checkpoint's files and its manifest disagree: export it again",
            )
    for layer in range(architecture.layers):
        kinds = {stored[dense_name(layer, weight)].dtype for weight in WEIGHTS}
        if len(kinds) > 1:
            raise BunbukuError(
                f"{checkpoint.dir}: the matrices of layer {layer} are stored as {', '.join(sorted(kinds))}",
                hint="convert the checkpoint to one number type first",
            )


def check_branches(checkpoint: Artifact[Checkpoint], branches: Mapping[str, Artifact[Checkpoint]]) -> None:
    """Refuse branches that are no networks of the same model.

    Raises:
        BunbukuError: One has another architecture or another tokenizer.
    """
    wanted = checkpoint.manifest.spec
    for name, branch in branches.items():
        check_dense(branch)
        found = branch.manifest.spec
        if found.architecture != wanted.architecture:
            differing = [
                f"`{field}` {getattr(wanted.architecture, field)!r} and {getattr(found.architecture, field)!r}"
                for field in Architecture.model_fields
                if getattr(found.architecture, field) != getattr(wanted.architecture, field)
            ]
            raise BunbukuError(
                f"branch {name!r} ({branch.dir}) is another model than {checkpoint.dir}: {', '.join(differing)}",
                hint="branches are trained from one checkpoint, each on its own text",
            )
        if found.tokenizer != wanted.tokenizer:
            raise BunbukuError(
                f"branch {name!r} ({branch.dir}) was trained with tokenizer {found.tokenizer[:12]}, "
                f"{checkpoint.dir} with {wanted.tokenizer[:12]}",
                hint="branches are trained from one checkpoint, each on its own text",
            )
        check_tensors(branch, open_weights(branch).stored)


def _shapes(architecture: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What a dense Llama must have."""
    hidden, keys = architecture.hidden_size, architecture.kv_heads * architecture.head_size
    yield "model.embed_tokens.weight", (architecture.vocab_size, hidden)
    for layer in range(architecture.layers):
        at = f"model.layers.{layer}"
        for weight in WEIGHTS:
            wide = (architecture.ffn_size, hidden)
            yield dense_name(layer, weight), wide[::-1] if weight == "down" else wide
        for letter, rows in {"q": hidden, "k": keys, "v": keys}.items():
            yield f"{at}.self_attn.{letter}_proj.weight", (rows, hidden)
        yield f"{at}.self_attn.o_proj.weight", (hidden, hidden)
        yield f"{at}.input_layernorm.weight", (hidden,)
        yield norm_name(layer), (hidden,)
    yield "model.norm.weight", (hidden,)
    if not architecture.tied_embeddings:
        yield "lm_head.weight", (architecture.vocab_size, hidden)
