"""From Megatron to Hugging Face."""

from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, Config, Draft, Tokenizer, stage
from pydantic import PositiveFloat, PositiveInt


class ExportConfig(Config):
    """How the weights are written."""

    shard_bytes: PositiveInt = 5_000_000_000
    """Largest weight file; a model that needs more is written as several."""
    logits_tolerance: PositiveFloat | None = 1e-5
    """Largest difference between Megatron's logits and transformers' on a batch of ids, both in fp32, of logits above 1 over
    the largest; null looks at none."""


@stage("pretrain.export", revision=2)
def export(
    draft: Draft, config: ExportConfig, checkpoint: Artifact[Checkpoint], tokenizer: Artifact[Tokenizer]
) -> Checkpoint:
    """Write a trained checkpoint as a folder that `AutoModelForCausalLM.from_pretrained` opens, tokenizer included.

    A dense model becomes a `LlamaForCausalLM`, a mixture a `MixtralForCausalLM`, or where Mixtral has not its like a
    `BunbukuMoeForCausalLM`, which `bunbuku-moe-upcycle` gives to transformers; installed here, it also puts its modelling
    file beside the weights, for programs without it (`trust_remote_code`). Numbers are not changed. Then transformers
    opens what was written, and its logits are compared with Megatron's.
    """
    from bunbuku_pretrain.hugging_face import write_folder

    spec = checkpoint.spec
    if spec.format != "megatron":
        raise ArtifactError(
            f"{checkpoint.dir} has format {spec.format!r}, not 'megatron'",
            hint="give what `bunbuku-pretrain train` made",
        )
    check_tokenizer(checkpoint.dir.as_posix(), spec.tokenizer, tokenizer)
    exported = write_folder(
        draft.dir,
        checkpoint.dir,
        architecture=spec.architecture,
        tokenizer=tokenizer,
        shard_bytes=config.shard_bytes,
    )
    draft.metrics["parameters"] = float(exported.parameters)
    if config.logits_tolerance is not None:
        from bunbuku_pretrain import logits

        found = logits.difference(
            draft,
            megatron=checkpoint.dir,
            hugging_face=draft.dir,
            architecture=spec.architecture,
            vocabulary=exported.vocab_size,
        )
        logits.check(draft, found, config.logits_tolerance)
    return spec.model_copy(update={"format": "hf", "architecture": exported, "licences": ()})


def check_tokenizer(what: str, digest: str, tokenizer: Artifact[Tokenizer]) -> None:
    """Refuse a tokenizer that is not the one `what` was made with.

    Raises:
        ArtifactError: naming both digests.
    """
    if digest != tokenizer.content:
        raise ArtifactError(
            f"{what} was made with tokenizer {digest[:7]}, {tokenizer.dir} is {tokenizer.content[:7]}",
            hint="give the tokenizer that it was made with: `bunbuku tree` shows where it lay",
        )
