"""Model classes that packages declare, offered to whoever loads a checkpoint, so that no `trust_remote_code` is needed."""

from importlib.metadata import entry_points

GROUP = "bunbuku.hf_models"
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
