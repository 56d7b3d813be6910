"""Pictures of experts: PNG files whose bytes depend on the numbers alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

type Matrix = NDArray[np.float64]
type Line = Sequence[tuple[float, float]]

_MOST_ANNOTATED = 16
"""Cells of a larger map are too small to read a number in."""


def heat_maps(path: Path, title: str, rows: Mapping[str, Mapping[int, Matrix]], *, lowest: float) -> None:
    """Draw expert-by-expert maps, a row a measure and a column a layer, on one scale from `lowest` to 1."""
    with mpl.rc_context(_style()):
        columns = max(len(maps) for maps in rows.values())
        figure = Figure(figsize=(1.4 + 3.3 * columns, 0.5 + 3.4 * len(rows)), layout="constrained")
        scale = Normalize(lowest if lowest < 1 else 0.0, 1.0)
        image = None
        axes = figure.subplots(len(rows), columns, squeeze=False)
        for number, (measure, maps) in enumerate(rows.items()):
            for axis, (layer, cosines_EE) in zip(axes[number], maps.items(), strict=True):
                image = axis.imshow(cosines_EE, cmap="viridis", norm=scale)
                experts = np.arange(len(cosines_EE))
                axis.set(title=f"layer {layer}: {measure}", xticks=experts, yticks=experts)
                axis.set(xlabel="expert" if number == len(rows) - 1 else "", ylabel="expert")
                _annotate(axis, cosines_EE, scale, "{:.3f}")
        if image is not None:
            figure.colorbar(image, ax=axes.ravel().tolist(), label="1: the same", shrink=0.85)
        figure.suptitle(title)
        _save(figure, path)


def panels(path: Path, x_label: str, lines: Mapping[str, Mapping[str, Line]], *, whole: bool = False) -> None:
    """Draw panels side by side, named by their y axis, with the same named lines in each; `whole` where x counts."""
    with mpl.rc_context(_style()):
        names = list(dict.fromkeys(name for curves in lines.values() for name in curves))
        width = max(7.2, 1.0 + 4.0 * len(lines))
        columns = max(1, min(len(names), int(9.5 * width / (max(map(len, names)) + 8))))
        figure = Figure(figsize=(width, 3.7 + 0.24 * -(-len(names) // columns)), layout="constrained")
        axes: list[Axes] = list(figure.subplots(1, len(lines), squeeze=False)[0])
        for axis, (label, curves) in zip(axes, lines.items(), strict=True):
            for marker, (name, points) in zip(_markers(len(curves)), curves.items(), strict=True):
                axis.plot(*zip(*points, strict=True), marker=marker, markersize=4, label=name)
            axis.set(xlabel=x_label, ylabel=label)
            axis.margins(y=0.08)
            if whole:
                axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axis.ticklabel_format(axis="y", useOffset=False)
            axis.grid(alpha=0.3)
        shown = dict(pair for axis in axes for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=columns, frameon=False)
        _save(figure, path)


def share_maps(path: Path, title: str, maps: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Draw for each named map which group's tokens go to which expert: 1 is an even share, white."""
    with mpl.rc_context(_style()):
        groups = list(next(iter(maps.values())))
        experts = len(next(iter(next(iter(maps.values())).values())))
        figure = Figure(figsize=(1.8 + 0.5 * experts * len(maps) + 1.0, 1.6 + 0.42 * len(groups)), layout="constrained")
        axes: list[Axes] = list(figure.subplots(1, len(maps), squeeze=False, sharey=True)[0])
        largest = max(2.0, *(max(shares) for of in maps.values() for shares in of.values()))
        scale = TwoSlopeNorm(1.0, vmin=0.0, vmax=largest)
        image = None
        for axis, (name, of) in zip(axes, maps.items(), strict=True):
            shares_GE = np.array(list(of.values()))
            image = axis.imshow(shares_GE, cmap="RdBu_r", norm=scale, aspect="auto")
            axis.set(title=name, xlabel="expert", xticks=np.arange(experts))
            axis.yaxis.set_major_locator(FixedLocator(range(len(groups))))
            axis.set_yticklabels(groups)
            for (row, column), share in np.ndenumerate(shares_GE):
                if experts <= _MOST_ANNOTATED:
                    colour = "white" if abs(float(scale(share)) - 0.5) > 0.3 else "black"
                    axis.text(column, row, f"{share:.1f}", ha="center", va="center", fontsize=7, color=colour)
        if image is not None:
            figure.colorbar(image, ax=axes, label="share over an even one")
        figure.suptitle(title)
        _save(figure, path)


def _annotate(axis: Axes, values: Matrix, scale: Normalize, form: str) -> None:
    if len(values) > _MOST_ANNOTATED:
        return
    size = 7.0 if len(values) <= 8 else 4.0
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if scale(value) > 0.6 else "white"
        axis.text(column, row, form.format(value), ha="center", va="center", fontsize=size, color=colour)


def _markers(count: int) -> list[str]:
    return [list("osD^vPX*")[index % 8] for index in range(count)]


def _style() -> dict[Any, Any]:
    """Matplotlib's own defaults, whatever the user's settings say."""
    kept = ("backend", "backend_fallback", "date.epoch")
    return {key: value for key, value in mpl.rcParamsDefault.items() if key not in kept}


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=144, format="png", metadata={"Software": None})
