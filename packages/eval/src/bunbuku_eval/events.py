"""Curves out of TensorBoard's event files, the only place that knows their format."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

type Points = tuple[tuple[float, float], ...]


def read_scalars(folder: Path) -> Mapping[str, Points]:
    """Every scalar under `folder`: tag to (step, value), steps ascending, tags sorted.

    Where a step was written twice, as by a run that was cut off and went on, the later file and the later entry count.
    A file that ends in the middle of an entry gives what it has.
    """
    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        for event in _events(path):
            for value in event.summary.value:
                if (number := _number(value)) is not None:
                    found.setdefault(value.tag, {})[event.step] = number
    return {tag: tuple(sorted((float(step), value) for step, value in found[tag].items())) for tag in sorted(found)}


def _events(path: Path) -> Iterator[Any]:
    # A second's import, and only for who draws curves.
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    yield from LegacyEventFileLoader(str(path)).Load()


def _number(value: Any) -> float | None:
    from tensorboard.util.tensor_util import make_ndarray

    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.HasField("tensor") and value.metadata.plugin_data.plugin_name == "scalars":
        return float(make_ndarray(value.tensor).reshape(-1)[0])
    return None
