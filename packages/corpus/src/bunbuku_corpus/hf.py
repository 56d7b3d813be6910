"""Data sets of the Hugging Face hub or on the disk. The one module that knows `datasets` and the hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
from bunbuku_contracts import BunbukuError
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi
from huggingface_hub.utils import httpx  # whichever the hub's client is made with

# A refused connection is no OSError there.
_UNREACHED = (OSError, ValueError, httpx.HTTPError)
_NO_NETWORK = "a hub data set needs a network; `save_to_disk` makes a local copy, for --source DIR without `hub`"


def commit_of(name: str, revision: str) -> str:
    """The commit that a branch or a tag of a data set of the hub is at now.

    Raises:
        BunbukuError: The hub does not say.
    """
    try:
        commit = HfApi().dataset_info(name, revision=revision).sha
    except _UNREACHED as error:
        reason = str(error).split("\n")[0]
        hint = "a hub data set needs a network; a commit as `revision`, 40 hexadecimal digits, is asked nobody for"
        raise BunbukuError(
            f"at which commit {revision!r} of data set {name!r} is cannot be had: {reason}", hint=hint
        ) from error
    if commit is None:
        raise BunbukuError(f"the hub names no commit for {revision!r} of data set {name!r}", hint="name a commit")
    return commit


def read_hub(name: str, *, subset: str | None, revision: str, split: str) -> Iterator[dict[str, Any]]:
    """Rows of a data set of the hub at a commit, streamed: nothing is stored but the hub's own metadata.

    Raises:
        BunbukuError: It cannot be had.
    """
    try:
        rows = datasets.load_dataset(name, subset, split=split, revision=revision, streaming=True)
        yield from rows
    except (*_UNREACHED, DatasetsError) as error:
        reason = str(error).split("\n")[0]
        raise BunbukuError(f"data set {name!r} at {revision} cannot be read: {reason}", hint=_NO_NETWORK) from error


def read_disk(path: Path, *, subset: str | None, split: str, cache: Path) -> Iterator[dict[str, Any]]:
    """Rows of a local data set: what `save_to_disk` made, or a folder that `load_dataset` understands.

    Raises:
        BunbukuError: It is neither, or has no such split.
    """
    try:
        if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
            saved = datasets.load_from_disk(str(path))
            rows = saved[split] if isinstance(saved, datasets.DatasetDict) else saved
        else:
            # Resolved, since a bare name such as `csv` would be that of a reader of its own.
            rows = datasets.load_dataset(str(path.resolve()), subset, split=split, cache_dir=str(cache))
    except (OSError, ValueError, KeyError, DatasetsError) as error:
        reason = str(error).split("\n")[0]
        hint = f"is it what `save_to_disk` made, and is there a split {split!r}?"
        raise BunbukuError(f"{path} does not open as a data set: {reason}", hint=hint) from error
    for row in rows:
        yield dict(row)
