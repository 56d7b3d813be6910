"""Pictures of expert similarity: PNG files whose bytes depend on the numbers alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bunbuku_moe_upcycle.similarity import Matrix

_MOST_ANNOTATED = 16
"""Cells of a larger map are too small to read a number in."""


def heat_maps(path: Path, title: str, maps: Mapping[int, Matrix], *, lowest: float) -> None:
    """Draw the expert-by-expert cosines of some layers side by side, on one scale from `lowest` to 1."""
    with mpl.rc_context(_style()):
        figure = Figure(figsize=(1.2 + 3.4 * len(maps), 3.9), layout="constrained")
        axes = figure.subplots(1, len(maps), squeeze=False)[0]
        scale = Normalize(lowest if lowest < 1 else 0.0, 1.0)
        image = None
        for axis, (layer, cosines_EE) in zip(axes, maps.items(), strict=True):
            image = axis.imshow(cosines_EE, cmap="viridis", norm=scale)
            experts = np.arange(len(cosines_EE))
            axis.set(title=f"layer {layer}", xlabel="expert", ylabel="expert", xticks=experts, yticks=experts)
            if len(cosines_EE) <= _MOST_ANNOTATED:
                _annotate(axis, cosines_EE, scale)
        if image is not None:
            figure.colorbar(image, ax=list(axes), label="cosine of the weights", shrink=0.85)
        figure.suptitle(title)
        _save(figure, path)


def layer_curves(path: Path, curves: Mapping[str, Sequence[float]]) -> None:
    """Draw the mean pairwise cosine over the layers, a line a checkpoint."""
    with mpl.rc_context(_style()):
        figure = Figure(figsize=(7.2, 3.9), layout="constrained")
        axis = figure.subplots()
        for marker, (name, values) in zip(_markers(len(curves)), curves.items(), strict=True):
            axis.plot(range(len(values)), values, marker=marker, label=name)
        lowest = min(min(values) for values in curves.values())
        margin = max(0.05 * (1 - lowest), 0.005)
        axis.set(xlabel="layer", ylabel="mean pairwise cosine", ylim=(lowest - margin, 1 + margin))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.ticklabel_format(axis="y", useOffset=False)
        axis.grid(alpha=0.3)
        axis.legend()
        _save(figure, path)


def _annotate(axis: Axes, cosines_EE: Matrix, scale: Normalize) -> None:
    size = 7.0 if len(cosines_EE) <= 8 else 4.0
    for (row, column), cosine in np.ndenumerate(cosines_EE):
        colour = "black" if scale(cosine) > 0.6 else "white"
        axis.text(column, row, f"{cosine:.3f}", ha="center", va="center", fontsize=size, color=colour)


def _markers(count: int) -> list[str]:
    return [list("osD^vPX*")[index % 8] for index in range(count)]


def _style() -> dict[Any, Any]:
    """Matplotlib's own defaults, whatever the user's settings say."""
    kept = ("backend", "backend_fallback", "date.epoch")
    return {key: value for key, value in mpl.rcParamsDefault.items() if key not in kept}


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=144, format="png", metadata={"Software": None})
