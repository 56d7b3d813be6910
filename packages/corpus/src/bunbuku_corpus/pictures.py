"""Pictures as SVG text: bars with intervals, dots on a logarithmic scale, a grid of shares, points on a plane.

Equal values give equal text: nothing depends on a font, a clock or the machine.
"""

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

FONTS = "'Noto Sans JP','Noto Sans CJK JP','Hiragino Sans',Meiryo,IPAexGothic,sans-serif"
"""Such as have kanji in their Japanese shapes; whoever looks has one of them."""
COLOURS = ("#a8442f", "#2c6e91", "#57843a", "#bb8420", "#74589f", "#2b8d80", "#b95e80", "#7f6552")
INK, QUIET, RULE, MARK = "#29241f", "#6f665c", "#e3dbcf", "#a8442f"
_WIDTH, _NAME, _ROW, _HEAD, _FOOT = 760, 190, 24, 12, 44


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
        parts.append(_text(_NAME - 10, top + tall / 2 + 1, _fit(name), anchor="end"))
        for index, group in enumerate(groups):
            if bar := found.get((group, name)):
                parts += _bar(bar, group, top + index * 13, highest, COLOURS[index % len(COLOURS)])
    parts += _legend(list(groups), height - 8)
    return svg(parts, _WIDTH, height, label)


def _bar(bar: Bar, group: str, y: float, highest: float, colour: str) -> Iterator[str]:
    middle = y + 6
    low, value, high = (_NAME + (_WIDTH - _NAME - 70) * one / highest for one in (bar.low, bar.value, bar.high))
    yield (
        f'<rect x="{_NAME}" y="{_n(y + 1)}" width="{_n(value - _NAME)}" height="10" fill="{colour}">'
        f"<title>{escape(group)}, {escape(bar.name)}: {bar.value:.1%}</title></rect>"
    )
    yield f'<path d="M{_n(low)} {_n(middle)}H{_n(high)}M{_n(high)} {_n(y + 3)}v6" stroke="{INK}" stroke-width="1.2"/>'
    yield _text(high + 6, middle + 4, f"{bar.value:.1%}", size=11, anchor="start")


def _ruler(highest: float, bottom: float, label: str) -> Iterator[str]:
    for step in range(5):
        x = _NAME + (_WIDTH - _NAME - 70) * step / 4
        yield f'<line x1="{_n(x)}" x2="{_n(x)}" y1="{_HEAD}" y2="{_n(bottom - _FOOT + 4)}" stroke="{RULE}"/>'
        yield _text(x, bottom - _FOOT + 20, f"{100 * highest * step / 4:.3g} %", size=11, colour=QUIET)
    yield _text((_NAME + _WIDTH - 70) / 2, bottom - 6, label, colour=QUIET)


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
        parts.append(f'<line x1="{_n(x(place))}" x2="{_n(x(place))}" y1="{_HEAD}" y2="{floor}" stroke="{RULE}"/>')
        parts.append(_text(x(place), floor + 16, f"{count:,}", size=11, colour=QUIET))
    parts.append(_text((_NAME + _WIDTH) / 2, floor + 34, label, colour=QUIET))
    here = _n(x(threshold))
    parts.append(f'<line x1="{here}" x2="{here}" y1="{_HEAD}" y2="{floor}" stroke="{MARK}" stroke-dasharray="5 4"/>')
    for index, row in enumerate(rows):
        y = _HEAD + _ROW * index + _ROW / 2
        parts.append(_text(_NAME - 8, y + 4, _fit(row.name), anchor="end"))
        places = [x(count) for count in row.counts.values()]
        parts.append(f'<line x1="{_n(min(places))}" x2="{_n(max(places))}" y1="{_n(y)}" y2="{_n(y)}" stroke="{RULE}"/>')
        for name, count in row.counts.items():
            colour = COLOURS[series.index(name) % len(COLOURS)]
            note = f"<title>{escape(row.name)}, {escape(name)}: {count:,}</title>"
            size = 7 - series.index(name)  # so that none hides another
            parts.append(f'<circle cx="{_n(x(count))}" cy="{_n(y)}" r="{size}" fill="{colour}">{note}</circle>')
    parts += _legend(series, height - 8)
    return svg(parts, _WIDTH, height, label)


def grid(rows: Sequence[str], columns: Sequence[str], shares: Mapping[tuple[str, str], float], *, label: str) -> str:
    """A cell a row and column, the darker the larger its share; the share stands in it."""
    wide = (_WIDTH - _NAME - 20) / max(len(columns), 1)
    longest = max((sum(map(_cells, name)) for name in columns), default=0.0)
    narrow = longest * 12 > wide and wide < 70
    head = 110 if narrow else 34
    height = head + 30 * len(rows) + 34
    highest = max(shares.values(), default=0.0) or 1.0
    parts: list[str] = []
    for place, name in enumerate(columns):
        x, y = _NAME + wide * (place + 0.5), head - 8
        if narrow:  # names stand aslant over their columns
            turned = f'transform="rotate(-50 {_n(x)} {_n(y)})"'
            parts.append(_text(x, y, _fit(name, 9), size=11, anchor="start", more=turned))
        else:
            parts.append(_text(x, y, _fit(name, wide / 12), size=11))
    for place, row in enumerate(rows):
        top = head + 30 * place
        parts.append(_text(_NAME - 8, top + 18, _fit(row), anchor="end"))
        for column, name in enumerate(columns):
            share = shares.get((row, name), 0.0)
            opacity = 0.04 + 0.8 * (share / highest) ** 0.7
            parts.append(
                f'<rect x="{_n(_NAME + wide * column)}" y="{top}" width="{_n(wide - 2)}" height="28" '
                f'fill="{COLOURS[1]}" fill-opacity="{opacity:.2f}">'
                f"<title>{escape(row)}, {escape(name)}: {share:.2%}</title></rect>"
            )
            if share:
                dark = "#fff" if opacity > 0.5 else INK
                parts.append(_text(_NAME + wide * (column + 0.5), top + 18, f"{share:.1%}", size=11, colour=dark))
    parts.append(_text((_NAME + _WIDTH) / 2, height - 10, label, colour=QUIET))
    return svg(parts, _WIDTH, height, label)


class Sign(NamedTuple):
    """A word written on the plane."""

    x: float
    y: float
    text: str


def plane(
    series: Mapping[str, Sequence[tuple[float, float]]], signs: Sequence[Sign], *, label: str, rings: frozenset[str]
) -> str:
    """Points of several series in one picture, and words where they belong; the series in `rings` are drawn as rings."""
    points = [point for some in series.values() for point in some]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    size = max(right - left, high - low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return 20 + (x - left) / size * (_WIDTH - 40), 20 + (high - y) / size * (_WIDTH - 40)

    tall = 40 + (high - low) / size * (_WIDTH - 40)
    parts: list[str] = []
    for index, (name, some) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        paint = (
            f'fill="none" stroke="{colour}" stroke-width="1.4"'
            if name in rings
            else f'fill="{colour}" fill-opacity=".5"'
        )
        radius = 3.6 if name in rings else 2.6
        dots = "".join(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{radius}"/>' for x, y in (place(*one) for one in some))
        parts.append(f"<g {paint}><title>{escape(name)}</title>{dots}</g>")
    for sign in signs:
        x, y = place(sign.x, sign.y)
        half = 6.5 * sum(map(_cells, sign.text))
        x = min(max(x, half), _WIDTH - half)
        halo = 'stroke="#fff" stroke-width="4" paint-order="stroke" font-weight="bold"'
        parts.append(_text(x, y, sign.text, size=13, more=halo))
    parts += _legend(list(series), tall + 20)
    return svg(parts, _WIDTH, tall + 32, label)


def curve(points: Sequence[tuple[float, float]], *, x_label: str, y_label: str, diagonal: bool = False) -> str:
    """Points between 0 and 1 on both axes, joined; with the diagonal that they would lie on if both were equal."""
    side = 360.0

    def place(x: float, y: float) -> tuple[float, float]:
        return 70 + x * side, 20 + (1 - y) * side

    parts: list[str] = []
    for step in range(6):
        (x, y), value = place(step / 5, step / 5), f"{step / 5:.1f}"
        parts.append(f'<path d="M{_n(x)} 20V{_n(20 + side)}M70 {_n(y)}H{_n(70 + side)}" stroke="{RULE}"/>')
        parts += [_text(x, side + 38, value, size=11, colour=QUIET), _text(62, y + 4, value, size=11, anchor="end")]
    if diagonal:
        parts.append(f'<path d="M70 {_n(20 + side)}L{_n(70 + side)} 20" stroke="{QUIET}" stroke-dasharray="4 4"/>')
    drawn = " ".join(f"{_n(x)},{_n(y)}" for x, y in (place(*one) for one in points))
    parts.append(f'<polyline points="{drawn}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>')
    parts += [f'<circle cx="{_n(x)}" cy="{_n(y)}" r="4" fill="{COLOURS[0]}"/>' for x, y in (place(*p) for p in points)]
    parts.append(_text(70 + side / 2, side + 58, x_label, colour=QUIET))
    parts.append(
        _text(18, 20 + side / 2, y_label, colour=QUIET, more=f'transform="rotate(-90 18 {_n(20 + side / 2)})"')
    )
    return svg(parts, 70 + side + 20, side + 72, f"{y_label} over {x_label}")


def _legend(names: Sequence[str], y: float) -> Iterator[str]:
    x = 20.0
    for index, name in enumerate(names):
        yield f'<rect x="{_n(x)}" y="{_n(y - 10)}" width="11" height="11" fill="{COLOURS[index % len(COLOURS)]}"/>'
        yield _text(x + 16, y, name, anchor="start")
        x += 34 + 12 * sum(map(_cells, name))


def _above(value: float) -> float:
    """The next round number from which four round steps lead to zero."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value / 4))
    return next(4 * power * step for step in (1, 1.5, 2, 2.5, 5, 10) if 4 * power * step >= value * (1 - 1e-9))


def _cells(character: str) -> float:
    return 1.0 if unicodedata.east_asian_width(character) in "WFA" else 0.6


def _fit(name: str, cells: float = 14.0) -> str:
    """The name, cut to so many full-width characters."""
    total = 0.0
    for place, character in enumerate(name):
        total += _cells(character)
        if total > max(cells, 2.0):
            return name[:place] + "…"
    return name


def _text(
    x: float, y: float, text: str, *, size: int = 12, colour: str = INK, anchor: str = "middle", more: str = ""
) -> str:
    extra = f" {more}" if more else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{extra}>'
        f"{escape(text)}</text>"
    )


def svg(parts: Iterable[str], width: float, height: float, title: str) -> str:
    """The parts as one picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" '
        f'height="{_n(height)}" font-family="{FONTS}" lang="ja" role="img" aria-label="{escape(title)}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
