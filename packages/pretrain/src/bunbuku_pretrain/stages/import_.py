"""From Hugging Face to Megatron."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bunbuku_contracts import (
    Architecture,
    Artifact,
    ArtifactError,
    Checkpoint,
    Config,
    ConfigError,
    Draft,
    Tokenizer,
    stage,
)
from pydantic import NonNegativeInt, PositiveFloat

from bunbuku_pretrain.foreign import read_architecture
from bunbuku_pretrain.stages.export import check_tokenizer
from bunbuku_pretrain.training import padded

if TYPE_CHECKING:
    import torch

    from bunbuku_pretrain.layout import Piece
    from bunbuku_pretrain.sources import HuggingFaceFolder
    from bunbuku_pretrain.torch_dist import Slice

GENERATION = "generation_config.json"


class ImportConfig(Config):
    """What a folder from elsewhere does not say of its model. A checkpoint of the pipeline says it itself."""

    licence: str | None = None
    """SPDX name of the model's licence; a model from elsewhere must have one."""
    step: NonNegativeInt = 0
    """Optimizer steps behind it."""
    tokens_seen: NonNegativeInt = 0
    """Tokens of pre-training behind it."""
    chat: bool = False
    """Whether it was taught the tokenizer's chat template."""
    logits_tolerance: PositiveFloat | None = 1e-5
    """Largest difference between Megatron's logits and transformers' on a batch of ids, both in fp32, of logits above 1 over
    the largest; null looks at none."""


@stage("pretrain.import", revision=1)
def import_(
    draft: Draft,
    config: ImportConfig,
    tokenizer: Artifact[Tokenizer],
    checkpoint: Artifact[Checkpoint] | None = None,
    model: Path | None = None,
) -> Checkpoint:
    """Write a Llama or a Mixtral of Hugging Face, sharded or not, as a Megatron checkpoint that training starts from.

    It is a checkpoint of this pipeline (`--checkpoint`) or a folder from elsewhere with `config.json`, safetensors and
    tokenizer (`--model`). Mixtures have the older names (`block_sparse_moe.experts.0.w1`), their routers may be
    normalised. Numbers keep their format and are only moved: `export` of the result has the same bytes. Then Megatron
    opens what was written, and its logits are compared with those of transformers.
    """
    folder, spec = _source(config, tokenizer, checkpoint, model)
    from bunbuku_pretrain.sources import HuggingFaceFolder
    from bunbuku_pretrain.torch_dist import write

    source = HuggingFaceFolder(folder)
    source.check(spec.architecture)
    rows = padded(spec.architecture.vocab_size)
    architecture = spec.architecture.model_copy(update={"vocab_size": rows})
    write(draft.dir, slices(source, architecture))
    if (folder / GENERATION).is_file():
        (draft.dir / GENERATION).write_bytes((folder / GENERATION).read_bytes())
    draft.metrics["parameters"] = float(spec.architecture.parameters)
    draft.metrics["rows_without_id"] = float(spec.architecture.vocab_size - tokenizer.spec.vocab_size)
    if config.logits_tolerance is not None:
        from bunbuku_pretrain import logits

        found = logits.difference(
            draft,
            megatron=draft.dir,
            hugging_face=folder,
            architecture=architecture,
            vocabulary=tokenizer.spec.vocab_size,
        )
        logits.check(draft, found, config.logits_tolerance)
    return spec.model_copy(update={"architecture": architecture})


def slices(source: "HuggingFaceFolder", architecture: Architecture) -> "Iterator[Slice]":
    """Megatron's tensors, each to be joined from Hugging Face's when it is written."""
    import torch

    from bunbuku_pretrain.layout import pieces
    from bunbuku_pretrain.torch_dist import Slice

    for piece in pieces(architecture):
        for place in piece.places(architecture):
            names = piece.named(*place)
            described = [source.described(name) for name in names]
            shape = piece.join(architecture, [torch.empty(shape, device="meta") for shape, _ in described]).shape
            yield Slice(
                key=piece.key,
                whole=(*piece.stack(architecture), *shape),
                offset=(*place, *(0 for _ in shape)),
                shape=(*(1 for _ in place), *shape),
                dtype=described[0][1],
                read=partial(_joined, piece, architecture, source, names),
            )


def _joined(
    piece: "Piece", architecture: Architecture, source: "HuggingFaceFolder", names: tuple[str, ...]
) -> "torch.Tensor":
    return piece.join(architecture, [source.tensor(name) for name in names])


def _source(
    config: ImportConfig,
    tokenizer: Artifact[Tokenizer],
    checkpoint: Artifact[Checkpoint] | None,
    model: Path | None,
) -> tuple[Path, Checkpoint]:
    """Where the weights lie, and what the result is."""
    if (checkpoint is None) == (model is None):
        raise ConfigError(
            "neither a checkpoint nor a model is given" if model is None else "a checkpoint and a model are given",
            hint="give --checkpoint for one of this pipeline, or --model for a folder from elsewhere",
        )
    if checkpoint is not None:
        if checkpoint.spec.format != "hf":
            raise ArtifactError(
                f"{checkpoint.dir} has format {checkpoint.spec.format!r}, not 'hf'",
                hint="training starts from it as it is" if checkpoint.spec.format == "megatron" else "merge it first",
            )
        check_tokenizer(str(checkpoint.dir), checkpoint.spec.tokenizer, tokenizer)
        return checkpoint.dir, checkpoint.spec.model_copy(update={"format": "megatron", "licences": ()})
    assert model is not None
    if config.licence is None:
        raise ConfigError("`licence` is missing", hint="a model from elsewhere has one: name it, as SPDX does")
    architecture = read_architecture(model)
    _check_ids(model, architecture, tokenizer)
    spec = Checkpoint(
        architecture=architecture,
        format="megatron",
        step=config.step,
        tokens_seen=config.tokens_seen,
        tokenizer=tokenizer.content,
        chat=config.chat,
        licences=(config.licence,),
    )
    return model, spec


def _check_ids(model: Path, architecture: Architecture, tokenizer: Artifact[Tokenizer]) -> None:
    """Refuse a tokenizer that gives other ids than the model's own."""
    if architecture.vocab_size < tokenizer.spec.vocab_size:
        raise ArtifactError(
            f"{model} has {architecture.vocab_size} rows, {tokenizer.dir} has {tokenizer.spec.vocab_size} ids",
            hint="give the tokenizer that the model was made with",
        )
    own, given = (folder / "tokenizer.json" for folder in (model, tokenizer.dir))
    if not own.is_file():
        raise ArtifactError(f"{model} has no tokenizer.json", hint="without it nothing says that the ids are the same")
    for field in ("model", "added_tokens"):
        texts = [json.loads(path.read_text(encoding="utf-8")).get(field) for path in (own, given)]
        if texts[0] != texts[1]:
            raise ArtifactError(
                f"{own} and {given} differ in {field!r}", hint="give the tokenizer that the model was made with"
            )
