"""Folding an adapter into a checkpoint, file by file."""

from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, Draft

from bunbuku_align.adapter import read_adapter
from bunbuku_align.fused import place
from bunbuku_align.weights import copied, rewrite


def fold_in(draft: Draft, checkpoint: Artifact[Checkpoint], adapter: Artifact[Checkpoint]) -> None:
    """Write the checkpoint into the draft with the adapter in its weights.

    Raises:
        ArtifactError: The adapter changes a weight that the checkpoint does not have.
    """
    lora = read_adapter(adapter.dir)
    changed: list[str] = []
    for file, target in copied(draft, checkpoint):
        changed += rewrite(checkpoint.path(file), target, lora, lora.change)
    if absent := sorted(set(lora.factors) - {place(name).parameter for name in changed}):
        raise ArtifactError(
            f"{adapter.dir} changes {absent[0]!r}, which {checkpoint.dir} does not have",
            hint="give the checkpoint that the adapter was trained on",
        )
    draft.metrics["weights.changed"] = float(len(changed))
