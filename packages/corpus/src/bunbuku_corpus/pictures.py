"""Pictures as SVG text: bars with intervals, dots on a logarithmic scale, a grid of shares.

Equal values give equal text: nothing depends on a font, a clock or the machine.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from bunbuku_contracts.drawing import COLOURS, INK, MARK, QUIET, RULE, WIDTH, cells, legend, number, svg, text

_WIDTH, _NAME, _ROW, _HEAD, _FOOT = WIDTH, 190, 24, 12, 44


class Bar(NamedTuple):
    """A named value with the interval it may be in."""

    name: str
    value: float
    low: float
    high: float


def bars(groups: Mapping[str, Sequence[Bar]], *, label: str) -> str:
    """Horizontal bars of shares, a colour a group, whiskers for the intervals; names in the first group's order."""
    names = list(dict.fromkeys(bar.name for bars in groups.values() for bar in bars))
    found = {(group, bar.name): bar for group, bars in groups.items() for bar in bars}
    highest = min(1.0, _above(max((bar.high for bar in found.values()), default=1.0)))
    tall = max(len(groups), 1) * 13 + 9
    height = _HEAD + tall * len(names) + _FOOT + 22
    parts = list(_ruler(highest, height - 22, label))
    for row, name in enumerate(names):
        top = _HEAD + row * tall
        parts.append(text(_NAME - 10, top + tall / 2 + 1, _fit(name), anchor="end"))
        for index, group in enumerate(groups):
            if bar := found.get((group, name)):
                parts += _bar(bar, group, top + index * 13, highest, COLOURS[index % len(COLOURS)])
    parts += legend(list(groups), height - 8)
    return svg(parts, _WIDTH, height, label)


def _bar(bar: Bar, group: str, y: float, highest: float, colour: str) -> Iterator[str]:
    middle = y + 6
    low, value, high = (_NAME + (_WIDTH - _NAME - 70) * one / highest for one in (bar.low, bar.value, bar.high))
    yield (
        f'<rect x="{_NAME}" y="{number(y + 1)}" width="{number(value - _NAME)}" height="10" fill="{colour}">'
        f"<title>{escape(group)}, {escape(bar.name)}: {bar.value:.1%}</title></rect>"
    )
    yield f'<path d="M{number(low)} {number(middle)}H{number(high)}M{number(high)} {number(y + 3)}v6" stroke="{INK}" stroke-width="1.2"/>'
    yield text(high + 6, middle + 4, f"{bar.value:.1%}", size=11, anchor="start")


def _ruler(highest: float, bottom: float, label: str) -> Iterator[str]:
    for step in range(5):
        x = _NAME + (_WIDTH - _NAME - 70) * step / 4
        yield f'<line x1="{number(x)}" x2="{number(x)}" y1="{_HEAD}" y2="{number(bottom - _FOOT + 4)}" stroke="{RULE}"/>'
        yield text(x, bottom - _FOOT + 20, f"{100 * highest * step / 4:.3g} %", size=11, colour=QUIET)
    yield text((_NAME + _WIDTH - 70) / 2, bottom - 6, label, colour=QUIET)


class Dots(NamedTuple):
    """Counts of one thing, by series."""

    name: str
    counts: Mapping[str, int]


def ladder(rows: Sequence[Dots], *, threshold: int, label: str) -> str:
    """Counts on a logarithmic scale, a row a thing, a dot a series, and a line where there would be enough.

    Nothing stands left of one.
    """
    series = list(dict.fromkeys(name for row in rows for name in row.counts))
    highest = max([threshold, *(count for row in rows for count in row.counts.values())])
    decades = math.ceil(math.log10(max(highest, 10)))
    height = _HEAD + _ROW * len(rows) + _FOOT + 22

    def x(count: int) -> float:
        return _NAME + 34 + (_WIDTH - _NAME - 60) * math.log10(count) / decades if count else _NAME + 10

    parts: list[str] = []
    floor = height - _FOOT - 20
    for place, count in [(0, 0), *((10**power, 10**power) for power in range(decades + 1))]:
        parts.append(
            f'<line x1="{number(x(place))}" x2="{number(x(place))}" y1="{_HEAD}" y2="{floor}" stroke="{RULE}"/>'
        )
        parts.append(text(x(place), floor + 16, f"{count:,}", size=11, colour=QUIET))
    parts.append(text((_NAME + _WIDTH) / 2, floor + 34, label, colour=QUIET))
    here = number(x(threshold))
    parts.append(f'<line x1="{here}" x2="{here}" y1="{_HEAD}" y2="{floor}" stroke="{MARK}" stroke-dasharray="5 4"/>')
    for index, row in enumerate(rows):
        y = _HEAD + _ROW * index + _ROW / 2
        parts.append(text(_NAME - 8, y + 4, _fit(row.name), anchor="end"))
        places = [x(count) for count in row.counts.values()]
        parts.append(
            f'<line x1="{number(min(places))}" x2="{number(max(places))}" y1="{number(y)}" y2="{number(y)}" stroke="{RULE}"/>'
        )
        for name, count in row.counts.items():
            colour = COLOURS[series.index(name) % len(COLOURS)]
            note = f"<title>{escape(row.name)}, {escape(name)}: {count:,}</title>"
            size = 7 - series.index(name)  # so that none hides another
            parts.append(f'<circle cx="{number(x(count))}" cy="{number(y)}" r="{size}" fill="{colour}">{note}</circle>')
    parts += legend(series, height - 8)
    return svg(parts, _WIDTH, height, label)


def grid(rows: Sequence[str], columns: Sequence[str], shares: Mapping[tuple[str, str], float], *, label: str) -> str:
    """A cell a row and column, the darker the larger its share; the share stands in it."""
    wide = (_WIDTH - _NAME - 20) / max(len(columns), 1)
    longest = max((sum(map(cells, name)) for name in columns), default=0.0)
    narrow = longest * 12 > wide and wide < 70
    head = 110 if narrow else 34
    height = head + 30 * len(rows) + 34
    highest = max(shares.values(), default=0.0) or 1.0
    parts: list[str] = []
    for place, name in enumerate(columns):
        x, y = _NAME + wide * (place + 0.5), head - 8
        if (
            narrow
        ):  # names come down aslant from the left, where there is room: to the right the last one would be cut off
            turned = f'transform="rotate(50 {number(x)} {number(y)})"'
            parts.append(text(x, y, _fit(name, 9), size=11, anchor="end", more=turned))
        else:
            parts.append(text(x, y, _fit(name, wide / 12), size=11))
    for place, row in enumerate(rows):
        top = head + 30 * place
        parts.append(text(_NAME - 8, top + 18, _fit(row), anchor="end"))
        for column, name in enumerate(columns):
            share = shares.get((row, name), 0.0)
            opacity = 0.04 + 0.8 * (share / highest) ** 0.7
            parts.append(
                f'<rect x="{number(_NAME + wide * column)}" y="{top}" width="{number(wide - 2)}" height="28" '
                f'fill="{COLOURS[1]}" fill-opacity="{opacity:.2f}">'
                f"<title>{escape(row)}, {escape(name)}: {share:.2%}</title></rect>"
            )
            if share:
                dark = "#fff" if opacity > 0.5 else INK
                parts.append(text(_NAME + wide * (column + 0.5), top + 18, f"{share:.1%}", size=11, colour=dark))
    parts.append(text((_NAME + _WIDTH) / 2, height - 10, label, colour=QUIET))
    return svg(parts, _WIDTH, height, label)


def curve(points: Sequence[tuple[float, float]], *, x_label: str, y_label: str, diagonal: bool = False) -> str:
    """Points between 0 and 1 on both axes, joined; with the diagonal that they would lie on if both were equal."""
    side = 360.0

    def place(x: float, y: float) -> tuple[float, float]:
        return 70 + x * side, 20 + (1 - y) * side

    parts: list[str] = []
    for step in range(6):
        (x, y), value = place(step / 5, step / 5), f"{step / 5:.1f}"
        parts.append(
            f'<path d="M{number(x)} 20V{number(20 + side)}M70 {number(y)}H{number(70 + side)}" stroke="{RULE}"/>'
        )
        parts += [text(x, side + 38, value, size=11, colour=QUIET), text(62, y + 4, value, size=11, anchor="end")]
    if diagonal:
        parts.append(
            f'<path d="M70 {number(20 + side)}L{number(70 + side)} 20" stroke="{QUIET}" stroke-dasharray="4 4"/>'
        )
    drawn = " ".join(f"{number(x)},{number(y)}" for x, y in (place(*one) for one in points))
    parts.append(f'<polyline points="{drawn}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>')
    parts += [
        f'<circle cx="{number(x)}" cy="{number(y)}" r="4" fill="{COLOURS[0]}"/>' for x, y in (place(*p) for p in points)
    ]
    parts.append(text(70 + side / 2, side + 58, x_label, colour=QUIET))
    parts.append(
        text(18, 20 + side / 2, y_label, colour=QUIET, more=f'transform="rotate(-90 18 {number(20 + side / 2)})"')
    )
    return svg(parts, 70 + side + 20, side + 72, f"{y_label} over {x_label}")


def _above(value: float) -> float:
    """The next round number from which four round steps lead to zero."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value / 4))
    return next(4 * power * step for step in (1, 1.5, 2, 2.5, 5, 10) if 4 * power * step >= value * (1 - 1e-9))


def _fit(name: str, room: float = 14.0) -> str:
    """The name, cut to so many full-width characters."""
    total = 0.0
    for place, character in enumerate(name):
        total += cells(character)
        if total > max(room, 2.0):
            return name[:place] + "…"
    return name
