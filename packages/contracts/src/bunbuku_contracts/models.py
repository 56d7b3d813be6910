"""Model classes that packages declare, offered to whoever loads a checkpoint, so that no `trust_remote_code` is needed.

And what goes into a folder for those that have not these packages, offered to whoever writes a checkpoint.
"""

from importlib.metadata import entry_points
from pathlib import Path

GROUP = "bunbuku.hf_models"
FOLDERS = "bunbuku.hf_folders"
_registered: set[str] = set()


def register_hf_models() -> tuple[str, ...]:
    """Call every function declared in the entry-point group `bunbuku.hf_models`, each once a process.

    Returns:
        Names of all that are registered, sorted.
    """
    for declared in entry_points(group=GROUP):
        if declared.name not in _registered:
            declared.load()()
            _registered.add(declared.name)
    return tuple(sorted(_registered))


def complete_hf_folder(folder: Path) -> None:
    """Let every function of the entry-point group `bunbuku.hf_folders` add what a model in this folder needs elsewhere.

    Each is given a folder with a `config.json`, and leaves one alone whose model it does not know.
    """
    for declared in sorted(entry_points(group=FOLDERS), key=lambda one: one.name):
        declared.load()(folder)
