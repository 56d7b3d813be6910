"""Where files of questions are: in a folder, or on the Hugging Face hub, fetched when a stage asks and at no other time."""

import os
from pathlib import Path

from bunbuku_contracts import BunbukuError

from bunbuku_eval.tasks.task import Hub


def fetched(hub: Hub) -> Path:
    """The file on this machine, from the hub's cache if it is there.

    Raises:
        BunbukuError: It cannot be had.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(hub.repository, hub.file, repo_type="dataset", revision=hub.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        said = str(error).strip().split("\n")[0]
        raise BunbukuError(
            f"{hub.file!r} of {hub.repository!r} at {hub.revision[:7]} cannot be fetched: {said}",
            hint="check the names, and the way to the network; or put the file into the folder given as --data",
        ) from error


def inside(folder: Path, file: str) -> Path:
    """A file of the folder that was given as `--data`; a link there may lead elsewhere, as in the hub's cache.

    Raises:
        BunbukuError: Its name leads out of the folder.
    """
    # By name: what `..` would mean behind a link is not asked.
    path = Path(os.path.normpath(folder / file))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise BunbukuError(f"{file!r} is outside the folder {folder}", hint="name a file that lies inside it")
    return path
