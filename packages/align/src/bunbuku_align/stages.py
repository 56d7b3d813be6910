"""The stages: read, train or merge, write. What is decided is decided in the modules beside."""

import json

from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, ConfigError, Dialogues, Draft, Preferences, stage
from bunbuku_contracts.digest import hash_file

from bunbuku_align.examples import prepare_dialogues, prepare_preferences
from bunbuku_align.methods import CombineConfig
from bunbuku_align.parquet import read_dialogues, read_preferences
from bunbuku_align.reporting import report
from bunbuku_align.run import ANYWHERE, AlignRun
from bunbuku_align.training import DpoConfig, Lora, MergeConfig, SftConfig, TrainingConfig

_TOKENIZER = ("tokenizer.json", "tokenizer.model")
"""Files of a tokenizer that say which ids a text has."""


@stage("align.sft", revision=4, resumable=True, bitwise=False)
def sft(
    draft: Draft,
    config: SftConfig,
    checkpoint: Artifact[Checkpoint],
    dialogues: Artifact[Dialogues],
    *,
    run: AlignRun = ANYWHERE,
) -> Checkpoint:
    """Teach a model to answer: supervised fine-tuning of a LoRA adapter on dialogues, or of all weights.

    The checkpoint is one in Hugging Face format, dense or with experts. The chat template of its tokenizer says what of
    a dialogue is the assistant's, and only that is trained. An adapter comes out, which `merge` folds into the weights;
    or, with `adapter.type = "full"`, a whole checkpoint.
    """
    from bunbuku_align.launching import train
    from bunbuku_align.loading import check_adapter
    from bunbuku_align.template import ChatTokenizer
    from bunbuku_align.trl import Place

    _check(checkpoint, config, run)
    check_adapter(checkpoint, config)
    chat = ChatTokenizer(checkpoint.dir)
    _check_tokenizer(checkpoint, len(chat.tokenizer))
    rows = draft.track(read_dialogues(dialogues), unit="dialogues", label="align.sft: tokenising")
    prepared = prepare_dialogues(
        rows, chat.render, chat.encode, max_tokens=config.max_tokens, held_out_share=config.held_out_share
    )
    tokens = {
        "train": sum(len(row.input_ids) for row in prepared.train),
        "answers": sum(row.trained for row in prepared.train),
    }
    training = train(Place(draft, checkpoint, chat, run), config, prepared)
    report(draft, training, prepared.counts, tokens, mix=prepared.mix, title="Supervised fine-tuning")
    return _trained(checkpoint, config)


@stage("align.dpo", revision=4, resumable=True, bitwise=False)
def dpo(
    draft: Draft,
    config: DpoConfig,
    checkpoint: Artifact[Checkpoint],
    preferences: Artifact[Preferences],
    *,
    run: AlignRun = ANYWHERE,
) -> Checkpoint:
    """Teach a model to prefer: preference optimisation of a LoRA adapter, or of all weights, on pairs of answers.

    The checkpoint, in Hugging Face format, is where training starts and what it is held near; usually it has been
    through `sft` and `merge`. The objective is one of dpo, cdpo, ddpo, ipo, kto, simpo and orpo. An adapter comes out,
    which `merge` folds into the weights; or, with `adapter.type = "full"`, a whole checkpoint.
    """
    from bunbuku_align.launching import train
    from bunbuku_align.loading import check_adapter
    from bunbuku_align.template import ChatTokenizer
    from bunbuku_align.trl import Place

    _check(checkpoint, config, run)
    check_adapter(checkpoint, config)
    chat = ChatTokenizer(checkpoint.dir)
    _check_tokenizer(checkpoint, len(chat.tokenizer))
    rows = draft.track(read_preferences(preferences), unit="pairs", label="align.dpo: tokenising")
    prepared = prepare_preferences(
        rows, chat.render, chat.encode, max_tokens=config.max_tokens, held_out_share=config.held_out_share
    )
    tokens = {
        "chosen": sum(len(row.chosen_ids) for row in prepared.train),
        "rejected": sum(len(row.rejected_ids) for row in prepared.train),
    }
    training = train(Place(draft, checkpoint, chat, run), config, prepared)
    report(draft, training, prepared.counts, tokens, mix=prepared.mix, title="Preference optimisation")
    return _trained(checkpoint, config)


@stage("align.merge", revision=1, bitwise=False)
def merge(
    draft: Draft, config: MergeConfig, checkpoint: Artifact[Checkpoint], adapter: Artifact[Checkpoint]
) -> Checkpoint:
    """Fold an adapter into the weights it was trained on.

    Every changed weight becomes W + alpha/rank · B·A; all other tensors, their names and the tokenizer stay as they are,
    byte for byte. Memory holds one tensor at a time.
    """
    from bunbuku_align.merging import fold_in

    _check_hf(checkpoint)
    _check_base(checkpoint, adapter)
    fold_in(draft, checkpoint, adapter)
    return checkpoint.spec.model_copy(update={"chat": checkpoint.spec.chat or adapter.spec.chat})


@stage("align.combine", revision=1)
def combine(
    draft: Draft,
    config: CombineConfig,
    models: dict[str, Artifact[Checkpoint]],
    base: Artifact[Checkpoint] | None = None,
) -> Checkpoint:
    """Make one checkpoint of several: linear, slerp, task_arithmetic, ties, dare or model_stock.

    The models, `--models NAME=DIR` each, are checkpoints in Hugging Face format of one architecture, dense or with
    experts; methods that speak of differences take the `--base` that all were trained from. Tensor by tensor: memory holds
    one of each model at a time. Names, layout and tokenizer are the base's, or else the first model's by name.
    """
    from bunbuku_align.combining import check_models, combine_into

    for model in [*models.values(), *([base] if base else [])]:
        _check_hf(model)
    check_models(config, models, base)
    combine_into(draft, config, models, base)
    spec = models[min(models)].spec
    every = [model.spec for model in models.values()]
    return spec.model_copy(
        update={
            "chat": all(one.chat for one in every),
            "step": max(one.step for one in every),
            "tokens_seen": max(one.tokens_seen for one in every),
        }
    )


def _trained(checkpoint: Artifact[Checkpoint], config: TrainingConfig) -> Checkpoint:
    """What comes of a training: an adapter, or a checkpoint like the one it started from."""
    made = "peft" if isinstance(config.adapter, Lora) else "hf"
    return checkpoint.spec.model_copy(update={"format": made, "chat": True})


def _check(checkpoint: Artifact[Checkpoint], config: TrainingConfig, run: AlignRun) -> None:
    """Raise if the checkpoint cannot be trained as asked, before anything is loaded."""
    _check_hf(checkpoint)
    run.accumulation(config.batch_examples)
    positions = checkpoint.spec.architecture.max_positions
    if config.max_tokens > positions:
        raise ConfigError(
            f"`max_tokens` {config.max_tokens} is more than the {positions} positions of {checkpoint.dir}",
            hint=f"take at most {positions}",
        )


def _check_tokenizer(checkpoint: Artifact[Checkpoint], tokens: int) -> None:
    """Raise if the tokenizer beside the weights is not theirs: by its size, and by the digests that manifests state.

    The checkpoint's own manifest has its files; that of the tokenizer it was trained with may be in its lineage.
    """
    known, hint = checkpoint.spec.architecture.vocab_size, "put the tokenizer there that the model was trained with"
    if tokens > known:
        raise ArtifactError(
            f"the tokenizer in {checkpoint.dir} has {tokens} tokens, but the model has {known}", hint=hint
        )
    own = {file.path: file.sha256 for file in checkpoint.manifest.files}
    trained_with = checkpoint.dir / "lineage" / f"{checkpoint.spec.tokenizer}.json"
    if trained_with.exists():
        files = json.loads(trained_with.read_text(encoding="utf-8"))["files"]
        own |= {file["path"]: file["sha256"] for file in files if file["path"] in _TOKENIZER}
    for name in _TOKENIZER:
        path = checkpoint.dir / name
        if name in own and path.exists() and hash_file(path) != own[name]:
            raise ArtifactError(
                f"{path} is not of the tokenizer {checkpoint.spec.tokenizer[:12]} that the model was trained with",
                hint=hint,
            )


def _check_hf(checkpoint: Artifact[Checkpoint]) -> None:
    if checkpoint.spec.format != "hf":
        raise ArtifactError(
            f"{checkpoint.dir} is a checkpoint of format {checkpoint.spec.format!r}, not 'hf'",
            hint="`bunbuku-pretrain export` makes one from 'megatron', `bunbuku-align merge` from 'peft'",
        )


def _check_base(checkpoint: Artifact[Checkpoint], adapter: Artifact[Checkpoint]) -> None:
    """Raise unless the adapter was trained on this very checkpoint."""
    if adapter.spec.format != "peft":
        raise ArtifactError(
            f"{adapter.dir} is a checkpoint of format {adapter.spec.format!r}, not 'peft'",
            hint="give what `bunbuku-align sft` or `bunbuku-align dpo` made",
        )
    base = adapter.manifest.recipe.inputs.get("checkpoint", "none").partition("#")[0]
    if base != checkpoint.content:
        raise ArtifactError(
            f"{adapter.dir} is an adapter for checkpoint {base[:12]}, but {checkpoint.dir} is {checkpoint.content[:12]}",
            hint=f"`bunbuku tree {adapter.dir}` shows the checkpoint it was trained on",
        )
