"""Folding an adapter into a checkpoint, file by file."""

import shutil

from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, Draft

from bunbuku_align.adapter import read_adapter
from bunbuku_align.weights import rewrite

_WEIGHTS = ".safetensors"


def fold_in(draft: Draft, checkpoint: Artifact[Checkpoint], adapter: Artifact[Checkpoint]) -> None:
    """Write the checkpoint into the draft with the adapter in its weights.

    Raises:
        ArtifactError: The adapter changes a weight that the checkpoint does not have.
    """
    lora = read_adapter(adapter.dir)
    changed: list[str] = []
    for file in draft.track(checkpoint.files(), unit="files"):
        target = draft.dir / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.path.endswith(_WEIGHTS):
            changed += rewrite(checkpoint.path(file), target, lora.factors, lora.change)
        else:
            shutil.copyfile(checkpoint.path(file), target)
    if absent := sorted(set(lora.factors) - set(changed)):
        raise ArtifactError(
            f"{adapter.dir} changes {absent[0]!r}, which {checkpoint.dir} does not have",
            hint="give the checkpoint that the adapter was trained on",
        )
    draft.metrics["weights.changed"] = float(len(changed))
