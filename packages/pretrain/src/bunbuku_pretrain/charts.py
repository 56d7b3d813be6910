"""Charts as SVG text: lines with marks of events, and maps of rows by colour. Both over tokens.

Colours, fonts and widths are classes that the page's style sheet gives meaning to, so that one drawing serves light and
dark. What the page's script needs to read values off a drawing is in `data-` attributes. Equal values give equal text.
"""

import base64
import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import NamedTuple, Self

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 36
COLOURS = 8
MOST_POINTS = 800
MOST_COLUMNS = 160
_PALETTE = 64
_STOPS = ((26, 20, 60), (96, 42, 128), (178, 62, 104), (233, 112, 62), (250, 214, 110))
"""From little to much: told apart in grey and by colour-blind eyes, since each is lighter than the one before."""

TOKENS = "tokens"

type Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line of a chart. What is not a finite number is left out."""

    name: str
    points: Points
    colour: int = 0
    """Which of the style sheet's colours, from 0."""


class Mark(NamedTuple):
    """Something that happened, at so many tokens."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True)
class Axis:
    """A scale from values to places, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, share: float = 0.0, log: bool = False) -> Self:
        """The scale that has room for all `values` and a share more."""
        if log and min(values) > 0:
            low, high = math.log10(min(values)), math.log10(max(values))
            low, high = (low - 0.3, high + 0.3) if high - low < 0.3 else (low, high)
            room = (high - low) * share
            return cls(10 ** (low - room), 10 ** (high + room), start, end, log=True)
        low, high = min(values), max(values)
        size = max(abs(low), abs(high))
        if high - low <= size * 1e-9 or size < 1e-300:  # as good as equal
            low, high = (low - 1, high + 1) if size < 1e-300 else (low - size * 0.5, high + size * 0.5)
        room = (high - low) * share
        return cls(0.0 if 0 <= low < room else low - room, high + room, start, end)

    def at(self, value: float) -> float:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        place = math.log10(value) if self.log else value
        return self.start + (place - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        if self.log and self.high / self.low > 5:
            return _decades(self.low, self.high)
        return ticks(self.low, self.high)

    @property
    def data(self) -> str:
        """For the page's script: low, high, start, end, and whether it is logarithmic."""
        return f"{self.low!r},{self.high!r},{self.start},{self.end},{int(self.log)}"


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Round numbers inside `low` and `high`, about so many.

    >>> ticks(0.0, 970.0)
    [0.0, 200.0, 400.0, 600.0, 800.0]
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [
        float(f"{index * step:.12g}")
        for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1,) if last - first > 3 else (1, 2, 5)
    every = max(1, (last - first) // 6)
    found = [float(f"{factor}e{power}") for power in range(first, last + 1, every) for factor in factors]
    return [value for value in found if low <= value <= high]


def short(value: float) -> str:
    """A number as a label.

    >>> [short(value) for value in (0.0, 12.5, 1500.0, 2_000_000.0, 3.2e9, 0.0003)]
    ['0', '12.5', '1.5k', '2M', '3.2G', '3e-4']
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    if 0 < abs(value) < 1e-3:
        digits, power = f"{value:.2g}".partition("e")[::2] if "e" in f"{value:.2g}" else f"{value:.1e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.4g}"


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    y_label: str,
    marks: Sequence[Mark] = (),
    log: bool = False,
    over: str = TOKENS,
    until: float = 0.0,
) -> str:
    """Lines over tokens from 0, as far as `until` at least, with a mark for each event; empty if there are none.

    Over anything else the scale is logarithmic, from the lowest value on.
    """
    lines = [_finite(line, positive=log) for line in lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    ys = [y for line in lines for _, y in line.points]
    xs = [x for line in lines for x, _ in line.points]
    x_axis = Axis.over([0.0, until, *xs] if over == TOKENS else xs, LEFT, WIDTH - RIGHT, log=over != TOKENS)
    y_axis = Axis.over(ys, HEIGHT - BOTTOM, TOP, share=0.06, log=log)
    body = [*_grid(x_axis, y_axis, y_label, over), *_marks(marks, x_axis)]
    body += [_line(line, x_axis, y_axis) for line in lines]
    told = "; ".join(f"{line.name}: last {short(line.points[-1][1])}" for line in lines)
    attributes = f'data-x="{x_axis.data}" data-y="{y_axis.data}"'
    return _svg("".join(body), title=f"{title}. {told}", kind="lines", height=HEIGHT, attributes=attributes)


def standing_alone(charts: Sequence[str]) -> str:
    """Charts below one another as one SVG file, which brings its own style."""
    style = files("bunbuku_pretrain").joinpath("page/style.css").read_text(encoding="utf-8")
    placed = "".join(
        chart.replace("<svg ", f'<svg y="{number * HEIGHT}" width="{WIDTH}" height="{HEIGHT}" ', 1)
        for number, chart in enumerate(charts)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * len(charts)}">'
        f"<style>{style}</style>{placed}</svg>\n"
    )


def heat_map(
    rows: Sequence[str],
    columns: Sequence[tuple[float, Sequence[float]]],
    *,
    title: str,
    marks: Sequence[Mark] = (),
    until: float = 0.0,
) -> str:
    """Rows by colour over tokens, the first row at the bottom; light is much, on a logarithmic scale.

    Args:
        rows: Their names.
        columns: Tokens and a value for each row, in their order.
        title: What is drawn, for those who do not see it.
        marks: What happened.
        until: As far as the tokens go at least.
    """
    values = [value for _, column in columns for value in column if math.isfinite(value) and value > 0]
    if not values:
        return ""
    x_axis = Axis.over([0.0, max(until, columns[-1][0])], LEFT, WIDTH - RIGHT)
    grid = _resampled(columns, x_axis.high)
    colours = Axis.over(values, 1, _PALETTE, log=True)
    height = max(150, min(14 * len(rows), 380)) + TOP + BOTTOM + 22
    bottom = height - BOTTOM - 22
    cell = (bottom - TOP) / len(rows)
    pixels = [
        [_level(column[row] if column else None, colours) for column in grid] for row in reversed(range(len(rows)))
    ]
    body = [
        f'<svg class="window" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{_n(bottom - TOP)}">'
        f'<image href="data:image/png;base64,{base64.b64encode(png(pixels)).decode()}" x="0" y="0" '
        f'width="{WIDTH - LEFT - RIGHT}" height="{_n(bottom - TOP)}" preserveAspectRatio="none"/></svg>'
    ]
    every = max(1, math.ceil(12 / cell))
    for index, name in enumerate(rows):
        if index in (0, len(rows) - 1) or (index % every == 0 and every <= index < len(rows) - every):
            y = _n(bottom - (index + 0.5) * cell + 4)
            body.append(f'<text class="tick" x="{LEFT - 7}" y="{y}" text-anchor="end">{escape(name)}</text>')
    body += [*_x_ticks(x_axis, bottom), *_marks(marks, x_axis, bottom=bottom), *_scale(colours, height)]
    shown = json.dumps([[_three(value) for value in column] if column else None for column in grid])
    names = escape(json.dumps(list(rows)))
    attributes = f'data-x="{x_axis.data}" data-rows="{names}" data-values="{shown}" data-span="{TOP},{_n(bottom)}"'
    told = f"{title}: {len(rows)} rows, from {short(min(values))} to {short(max(values))}"
    return _svg("".join(body), title=told, kind="heat", height=height, attributes=attributes)


def thinned(points: Points, *, most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most about `most` points: of each stretch its lowest and highest, so that no spike is lost."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(2 * len(points) / most)
    kept: list[tuple[float, float]] = []
    for begin in range(0, len(points), size):
        stretch = points[begin : begin + size]
        kept += sorted({min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])})
    return kept


def png(pixels: Sequence[Sequence[int]]) -> bytes:
    """A picture of palette colours from 1 to 64, 0 being nothing (PNG, third edition, §11: colour type 3)."""
    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 3, 0, 0, 0)
    palette = b"\0\0\0" + b"".join(bytes(_colour(index / (_PALETTE - 1))) for index in range(_PALETTE))
    lines = b"".join(b"\0" + bytes(row) for row in pixels)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"tRNS", b"\0"),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _finite(line: Line, *, positive: bool) -> Line:
    points = [(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not positive)]
    return Line(line.name, thinned(points), line.colour)


def _grid(x_axis: Axis, y_axis: Axis, y_label: str, x_label: str) -> Iterator[str]:
    yield '<g class="y-ticks">'
    for tick in y_axis.ticks:
        y = _n(y_axis.at(tick))
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text class="tick" x="{LEFT - 7}" y="{_n(y_axis.at(tick) + 4)}" text-anchor="end">{short(tick)}</text>'
    yield "</g>"
    yield from _x_ticks(x_axis, HEIGHT - BOTTOM, x_label)
    middle = _n((TOP + HEIGHT - BOTTOM) / 2)
    turned = f'transform="rotate(-90 12 {middle})"'
    yield f'<text class="axis" x="12" y="{middle}" text-anchor="middle" {turned}>{escape(y_label)}</text>'


def _x_ticks(axis: Axis, bottom: float, label: str = TOKENS) -> Iterator[str]:
    yield f'<g class="x-ticks" data-y="{_n(bottom + 16)}">'
    for tick in axis.ticks:
        x = _n(axis.at(tick))
        yield f'<text class="tick" x="{x}" y="{_n(bottom + 16)}" text-anchor="middle">{short(tick)}</text>'
    yield "</g>"
    middle = _n((LEFT + WIDTH - RIGHT) / 2)
    yield f'<text class="axis" x="{middle}" y="{_n(bottom + 31)}" text-anchor="middle">{escape(label)}</text>'


def _marks(marks: Iterable[Mark], axis: Axis, *, bottom: float = HEIGHT - BOTTOM) -> Iterator[str]:
    for mark in marks:
        if axis.low <= mark.at <= axis.high:
            x = _n(axis.at(mark.at))
            text = f"<title>{escape(mark.text)}</title>"
            yield f'<g class="mark k-{_word(mark.kind)}" data-at="{mark.at!r}">{text}'
            yield f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{_n(bottom)}"/><circle cx="{x}" cy="{TOP}" r="3.2"/></g>'


def _line(line: Line, x_axis: Axis, y_axis: Axis) -> str:
    name = f"<title>{escape(line.name)}</title>"
    places = [(_n(x_axis.at(x)), _n(y_axis.at(y))) for x, y in line.points]
    colour, data = f"c{line.colour % COLOURS}", f'data-name="{escape(line.name)}"'
    # Few points are measurements far apart: each is seen.
    dots = "".join(f'<circle class="dot {colour}" cx="{x}" cy="{y}" r="2.6"/>' for x, y in places)
    # Finer than is seen: values are read off these places.
    path = " ".join(f"{x_axis.at(x):.2f},{y_axis.at(y):.2f}" for x, y in line.points)
    drawn = f'<polyline class="line {colour}" {data} points="{path}">{name}</polyline>'
    return drawn + (f'<g class="dots">{dots}</g>' if len(places) <= 40 else "")


def _resampled(columns: Sequence[tuple[float, Sequence[float]]], high: float) -> list[list[float] | None]:
    """As many columns of equal width as there is room for: the largest of what falls into one, else what came before."""
    count = min(MOST_COLUMNS, len(columns))
    grid: list[list[float] | None] = [None] * count
    for tokens, values in columns:
        # A column is what was measured at its end.
        place = min(count - 1, max(0, math.ceil(tokens / high * count - 1e-9) - 1))
        before = grid[place]
        grid[place] = list(values) if before is None else [max(pair) for pair in zip(before, values, strict=True)]
    last = max(place for place in range(count) if grid[place] is not None)
    for place in range(1, last):
        grid[place] = grid[place] or grid[place - 1]
    return grid


def _level(value: float | None, axis: Axis) -> int:
    if value is None or not math.isfinite(value):
        return 0
    return 1 if value <= axis.low else min(_PALETTE, max(1, round(axis.at(value))))


def _scale(axis: Axis, height: float) -> Iterator[str]:
    """What the colours mean."""
    width, left, y = 150, WIDTH - RIGHT - 210, height - 18
    bar = base64.b64encode(png([list(range(1, _PALETTE + 1))])).decode()
    yield (
        f'<image href="data:image/png;base64,{bar}" x="{left}" y="{_n(y)}" width="{width}" height="9" '
        f'preserveAspectRatio="none"/>'
    )
    yield f'<text class="tick" x="{left - 6}" y="{_n(y + 9)}" text-anchor="end">{short(_three(axis.low) or 0)}</text>'
    yield f'<text class="tick" x="{left + width + 6}" y="{_n(y + 9)}">{short(_three(axis.high) or 0)}</text>'


def _colour(share: float) -> Iterator[int]:
    place = share * (len(_STOPS) - 1)
    index = min(int(place), len(_STOPS) - 2)
    for a, b in zip(_STOPS[index], _STOPS[index + 1], strict=True):
        yield round(a + (b - a) * (place - index))


def _svg(body: str, *, title: str, kind: str, height: float, attributes: str) -> str:
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {WIDTH} {_n(height)}" role="img" '
        f'aria-label="{escape(title)}" {attributes}>{body}</svg>'
    )


def _word(kind: str) -> str:
    """A kind as a class name, whatever it was."""
    return "".join(letter for letter in kind.lower() if letter.isascii() and letter.isalpha()) or "other"


def _three(value: float) -> float | None:
    return float(f"{value:.3g}") if math.isfinite(value) else None


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
