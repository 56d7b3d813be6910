"""Whether a run is one of GPUs, for those who have no torch to ask. Ranks ask their `Runtime`."""

from pathlib import Path

from bunbuku_pretrain.training import TrainRun

_DRIVER = Path("/proc/driver/nvidia")


def runs_on_gpu(settings: TrainRun) -> bool:
    """Whether ranks that are started here compute on GPUs."""
    return settings.device == "cuda" or (settings.device == "auto" and _DRIVER.exists())
