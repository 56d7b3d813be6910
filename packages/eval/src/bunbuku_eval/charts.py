"""Charts as SVG text: lines over steps, and dots with their intervals.

Colours, fonts and line widths are classes that the page's style sheet gives meaning to, so that one drawing serves light
and dark. Nothing depends on the machine: equal values give equal text.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 40
COLOURS = 8
MAX_POINTS = 400


@dataclass(frozen=True)
class Series:
    """One line."""

    name: str
    points: tuple[tuple[float, float], ...]
    colour: int = 0
    """Which of the style sheet's colours, from 0."""


@dataclass(frozen=True)
class Dot:
    """One value with its interval."""

    name: str
    value: float
    low: float
    high: float
    colour: int = 0
    note: str = ""


class Axis(NamedTuple):
    """A linear scale from values to places."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, *, about: int = 6) -> list[float]:
    """Round numbers inside `low` and `high`, about so many.

    >>> ticks(0.0, 970.0)
    [0.0, 200.0, 400.0, 600.0, 800.0]
    >>> ticks(1.0, 400_002.0, about=3)
    [250000.0]
    """
    step = _step((high - low) / max(about - 1, 1))
    while (first := math.ceil(low / step - 1e-9)) > (last := math.floor(high / step + 1e-9)):
        step /= 2  # few ticks can be so far apart that none lies inside
    return [round(index * step, 12) for index in range(first, last + 1)]


def short(value: float) -> str:
    """A number as a label.

    >>> [short(value) for value in (0.0, 12.5, 1500.0, 2_000_000.0, 0.0003)]
    ['0', '12.5', '1.5k', '2M', '3e-04']
    """
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M" if size < 1e9 else f"{value / 1e9:g}G"
    if size >= 1e3:
        return f"{value / 1e3:g}k"
    return f"{value:.0e}" if 0 < size < 1e-3 else f"{value:g}"


def line_chart(series: Sequence[Series], *, title: str, x_label: str, y_label: str) -> str:
    """Lines over a common x. Infinite and undefined points are left out."""
    drawn = [_finite(one) for one in series]
    points = [point for one in drawn for point in one.points]
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_axis = Axis(*_room(min(xs), max(xs), 0.0), LEFT, WIDTH - RIGHT)
    y_axis = Axis(*_room(min(ys), max(ys), 0.06), HEIGHT - BOTTOM, TOP)
    body = "".join([*_grid(x_axis, y_axis, x_label, y_label), *(_line(one, x_axis, y_axis) for one in drawn)])
    return _svg(body, WIDTH, HEIGHT, title, kind="lines", axes=(x_axis, y_axis))


def dot_chart(dots: Sequence[Dot], *, title: str, x_label: str) -> str:
    """A dot and its interval a row, on one scale."""
    if not dots:
        return ""
    width, row, left = 760, 30, 190
    height = row * len(dots) + BOTTOM + 6
    low, high = min(dot.low for dot in dots), max(dot.high for dot in dots)
    axis = Axis(*_room(low, high, 0.06), left, width - 76)
    parts: list[str] = []
    for tick in ticks(axis.low, axis.high, about=8):
        x = _n(axis.at(tick))
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="4" y2="{height - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{height - BOTTOM + 16}" text-anchor="middle">{short(tick)}</text>')
    for index, dot in enumerate(dots):
        y = row * index + row / 2 + 4
        a, b, x = _n(axis.at(dot.low)), _n(axis.at(dot.high)), _n(axis.at(dot.value))
        parts.append(f'<text class="name" x="{left - 14}" y="{_n(y + 4)}" text-anchor="end">{escape(dot.name)}</text>')
        parts.append(f'<line class="whisker c{dot.colour % COLOURS}" x1="{a}" x2="{b}" y1="{_n(y)}" y2="{_n(y)}"/>')
        parts.append(
            f'<circle class="dot c{dot.colour % COLOURS}" cx="{x}" cy="{_n(y)}" r="5">'
            f"<title>{escape(dot.note or dot.name)}</title></circle>"
        )
        parts.append(f'<text class="value" x="{_n(axis.at(dot.high) + 9)}" y="{_n(y + 4)}">{dot.value:.3f}</text>')
    middle = (left + width - 76) / 2
    parts.append(f'<text class="axis" x="{_n(middle)}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>')
    return _svg("".join(parts), width, height, title, kind="dots")


def thinned(points: Sequence[tuple[float, float]], *, most: int = MAX_POINTS) -> list[tuple[float, float]]:
    """At most about `most` points: of each stretch its lowest and highest, so that no spike is lost."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(2 * len(points) / most)
    kept: list[tuple[float, float]] = []
    for at in range(0, len(points), size):
        stretch = points[at : at + size]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends)
    return kept


def _finite(series: Series) -> Series:
    points = tuple((x, y) for x, y in series.points if math.isfinite(x) and math.isfinite(y))
    return Series(series.name, points, series.colour)


def _room(low: float, high: float, share: float) -> tuple[float, float]:
    if low == high:
        low, high = (low - 1, high + 1) if low == 0 else (low - abs(low) * 0.5, high + abs(high) * 0.5)
    margin = (high - low) * share
    return (0.0 if 0 <= low < margin else low - margin), high + margin


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _grid(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> Iterable[str]:
    for tick in ticks(y_axis.low, y_axis.high):
        y = _n(y_axis.at(tick))
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text class="tick" x="{LEFT - 7}" y="{_n(y_axis.at(tick) + 4)}" text-anchor="end">{short(tick)}</text>'
    for tick in ticks(x_axis.low, x_axis.high):
        x = _n(x_axis.at(tick))
        yield f'<text class="tick" x="{x}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{short(tick)}</text>'
    middle_x, middle_y = _n((LEFT + WIDTH - RIGHT) / 2), _n((TOP + HEIGHT - BOTTOM) / 2)
    yield f'<text class="axis" x="{middle_x}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>'
    turned = f'transform="rotate(-90 13 {middle_y})"'
    yield f'<text class="axis" x="13" y="{middle_y}" text-anchor="middle" {turned}>{escape(y_label)}</text>'


def _line(series: Series, x_axis: Axis, y_axis: Axis) -> str:
    points = thinned(series.points)
    name = f"<title>{escape(series.name)}</title>"
    places = [(_n(x_axis.at(x)), _n(y_axis.at(y))) for x, y in points]
    if len(places) == 1:
        return f'<circle class="dot c{series.colour % COLOURS}" cx="{places[0][0]}" cy="{places[0][1]}" r="4">{name}</circle>'
    path = " ".join(f"{x},{y}" for x, y in places)
    shown = f'data-name="{escape(series.name)}"'
    return f'<polyline class="line c{series.colour % COLOURS}" {shown} points="{path}">{name}</polyline>'


def _svg(
    body: str, width: float, height: float, title: str, *, kind: str, axes: tuple[Axis, Axis] | None = None
) -> str:
    scale = ""
    if axes:
        x, y = axes
        scale = f' data-x="{x.low!r},{x.high!r},{x.start},{x.end}" data-y="{y.low!r},{y.high!r},{y.start},{y.end}"'
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {_n(width)} {_n(height)}" role="img" '
        f'aria-label="{escape(title)}"{scale}>{body}</svg>'
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
