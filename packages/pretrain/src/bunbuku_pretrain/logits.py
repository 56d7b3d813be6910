"""The same ids through Megatron and through transformers, and how far the logits are apart.

Megatron computes in a rank of its own (`python -m bunbuku_pretrain.logits ASKED.json`), which ends before transformers
reads the model here, so that one model is in memory at a time. Both compute on the CPU, in fp32 whatever is stored.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bunbuku_contracts import Architecture, ArtifactError, Config, Draft, register_hf_models

SEQUENCES, LENGTH = 2, 64


class Asked(Config):
    """What a rank is asked for."""

    architecture: Architecture
    vocabulary: int
    folder: Path
    """A checkpoint in Megatron's format."""
    ids: Path
    logits: Path


class Difference(NamedTuple):
    """How far the logits of a batch are apart."""

    absolute: float
    """The largest difference."""
    largest: float
    """The largest logit; rounding grows with it."""


def difference(
    draft: Draft, *, megatron: Path, hugging_face: Path, architecture: Architecture, vocabulary: int
) -> Difference:
    """How far the logits are apart over a batch of ids.

    Args:
        draft: Whose scratch folder and lock are used.
        megatron: Checkpoint that Megatron reads.
        hugging_face: Folder that transformers reads.
        architecture: As Megatron has it, vocabulary padded.
        vocabulary: Ids in use.
    """
    draft.scratch.mkdir(parents=True, exist_ok=True)
    asked = Asked(
        architecture=architecture,
        vocabulary=vocabulary,
        folder=megatron.resolve(),
        ids=draft.scratch.resolve() / "ids.npy",
        logits=draft.scratch.resolve() / "logits.npy",
    )
    length = min(LENGTH, architecture.max_positions)
    np.save(asked.ids, np.random.default_rng(0).integers(0, vocabulary, (SEQUENCES, length)))
    request = draft.scratch / "asked.json"
    request.write_text(asked.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "bunbuku_pretrain.logits", str(request)]
    draft.launch(command, ranks=1, env={"TORCHDYNAMO_DISABLE": "1"})
    ours, theirs = np.load(asked.logits), _transformers(hugging_face, np.load(asked.ids))[..., :vocabulary]
    return Difference(float(np.abs(ours - theirs).max()), float(np.abs(theirs).max()))


def check(draft: Draft, found: Difference, tolerance: float) -> None:
    """Note the difference, and refuse one that is too large: of logits above 1, over the largest of them.

    Raises:
        ArtifactError: naming both numbers.
    """
    draft.metrics |= {"logits.largest_difference": found.absolute, "logits.largest": found.largest}
    if not found.absolute <= tolerance * max(1.0, found.largest):
        raise ArtifactError(
            f"Megatron's logits and transformers' differ by {found.absolute:.2e}, the largest is {found.largest:.2e}, "
            f"`logits_tolerance` is {tolerance:.2e}",
            hint="the two read another model",
        )


def _transformers(folder: Path, ids: np.ndarray) -> np.ndarray:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    register_hf_models()
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    except ValueError as error:
        hint = "install bunbuku-moe-upcycle, or leave `logits_tolerance` null"
        raise ArtifactError(f"transformers does not know the model of {folder}: {error}", hint=hint) from None
    finally:
        if shown:
            logging.enable_progress_bar()
    with torch.no_grad():
        return model(torch.from_numpy(ids)).logits.numpy()


def main() -> None:
    """Compute what is asked for, as the one rank of a launch."""
    from bunbuku_contracts.launch import follow_parent

    follow_parent()
    asked = Asked.model_validate_json(Path(sys.argv[1]).read_bytes())
    from bunbuku_pretrain.mcore import compiler

    compiler.leave_out()
    from bunbuku_pretrain.mcore.asking import logits

    np.save(asked.logits, logits(asked))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
