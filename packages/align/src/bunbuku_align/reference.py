"""The reference's log-probabilities, computed once and kept in a file named by everything that they depend on.

The key is the content of the checkpoint, of its tokenizer, the ids of every answer, and the arithmetic. Whatever changes, the name
changes, and a file whose header does not say the same is refused.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from bunbuku_contracts import ArtifactError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bunbuku_align.held_out import Labelled
from bunbuku_align.ranks import agreed, first


@dataclass(frozen=True)
class ReferenceKey:
    """What the numbers are of."""

    model: str
    """Content digest of the checkpoint."""
    tokenizer: str
    """Digest of the tokenizer as it was read, template included."""
    data: str
    """Digest of the ids and labels, in their order."""
    arithmetic: str

    @cached_property
    def digest(self) -> str:
        """The name of the file."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def digest_of(answers: Sequence[Labelled]) -> str:
    """Of ids and labels: another template, another cut, another order or another text give another."""
    found = hashlib.sha256()
    for ids, labels in answers:
        found.update(json.dumps([ids, labels]).encode() + b"\n")
    return found.hexdigest()


def cached(folder: Path, key: ReferenceKey, count: int, compute: Callable[[], list[float]]) -> list[float]:
    """The log-probabilities of this key: read if they are there, else computed, by all ranks, and kept.

    Raises:
        ArtifactError: A file of that name says that it is of something else, or does not read.
    """
    path = folder / f"reference-{key.digest[:24]}.safetensors"
    if agreed(path.exists()):
        return _read(path, key, count)
    found = compute()
    if not first():
        return found
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    save_file({"logprobs": torch.tensor(found, dtype=torch.float64)}, unfinished, metadata=asdict(key))
    unfinished.replace(path)
    return found


def _read(path: Path, key: ReferenceKey, count: int) -> list[float]:
    try:
        with safe_open(path, "pt") as file:
            metadata, found = file.metadata(), file.get_tensor("logprobs")
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} does not read: {error}", hint="delete it, and it is computed again") from error
    if metadata != asdict(key) or len(found) != count:
        told = [name for name, value in asdict(key).items() if (metadata or {}).get(name) != value] or ["length"]
        raise ArtifactError(
            f"{path} holds log-probabilities of another {told[0]}", hint="delete it, and they are computed again"
        )
    return found.tolist()
