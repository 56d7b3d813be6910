"""Pictures as SVG text: bars, lines, and texts with the boundaries of their tokens.

Nothing depends on the machine or on a font: equal values give equal text, and a token's text is fitted into its box.
"""

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from bunbuku_contracts import Curve, drawing

COLOURS = ("#b5483a", "#2f6f8f", "#5b8a3c", "#c08a1e", "#7b5ea7", "#8a6d5a", "#2f9184", "#c2678c")
_INK, _MUTED, _RULE, _PAPER = "#2a2521", "#776d63", "#e4dcd0", "#ffffff"
_SHADES = ("#f3e3d3", "#dbe7ee")
_BROKEN = "#f0b8ae"
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 300, 52, 14, 62
_CELL, _ROW, _NAME = 18, 27, 132
_LINE_CELLS = 36
_SHOWN = {"\n": "⏎", "\t": "⇥", " ": "␣", "\r": "␍"}


class Mark(NamedTuple):
    """A stretch of characters and how many tokens spell it: more than one where characters are spelt in bytes."""

    start: int
    end: int
    tokens: int = 1


def marks(spans: Iterable[tuple[int, int]]) -> list[Mark]:
    """Tokens as stretches side by side: those that share a character, or stand for nothing, are taken together.

    >>> marks([(0, 2), (2, 2), (2, 2), (2, 3)])
    [Mark(start=0, end=2, tokens=1), Mark(start=2, end=3, tokens=3)]
    """
    found: list[Mark] = []
    pending = 0
    for start, end in spans:
        if end <= start:
            pending += 1
        elif found and start < found[-1].end:
            last = found[-1]
            found[-1] = Mark(last.start, max(last.end, end), last.tokens + pending + 1)
            pending = 0
        else:
            found.append(Mark(start, end, pending + 1))
            pending = 0
    return found


def boundaries(text: str, rows: Mapping[str, Sequence[Mark]]) -> str:
    """`text` once a row, in boxes that are the row's tokens; the same character stands at the same place in each."""
    lines = list(_lines([_cells(character) for character in text]))
    height = len(lines) * (len(rows) * _ROW + 14) + 4
    parts: list[str] = []
    top = 4
    for line in lines:
        for name, row in rows.items():
            parts.append(drawing.text(_NAME - 8, top + 17, _fit(name), size=12, colour=_MUTED, anchor="end"))
            for place, mark in enumerate(row):
                parts += _box(text, mark, line, top, _SHADES[place % 2])
            top += _ROW
        top += 14
    return _svg(parts, _NAME + _LINE_CELLS * _CELL + 8, height, "A text cut into tokens")


class _Line(NamedTuple):
    """Characters from `start` on, and where each of them and the end of the last one stands."""

    start: int
    places: list[float]

    @property
    def end(self) -> int:
        return self.start + len(self.places) - 1


def _lines(widths: Sequence[float]) -> Iterator[_Line]:
    start, places = 0, [0.0]
    for index, width in enumerate(widths):
        if places[-1] + width > _LINE_CELLS:
            yield _Line(start, places)
            start, places = index, [0.0]
        places.append(places[-1] + width)
    yield _Line(start, places)


def _cells(character: str) -> float:
    return 1.0 if unicodedata.east_asian_width(character) in "WFA" else 0.6


def _box(text: str, mark: Mark, line: _Line, top: float, shade: str) -> Iterator[str]:
    start, end = max(mark.start, line.start), min(mark.end, line.end)
    if start >= end:
        return
    left, right = (_NAME + _CELL * line.places[place - line.start] for place in (start, end))
    fill = shade if mark.tokens == 1 else _BROKEN
    note = "" if mark.tokens == 1 else f"<title>{mark.tokens} tokens</title>"
    yield (
        f'<rect x="{drawing.number(left + 0.5)}" y="{drawing.number(top)}" width="{drawing.number(right - left - 1)}" height="{_ROW - 4}" rx="4" '
        f'fill="{fill}" stroke="{_MUTED}" stroke-width="0.6">{note}</rect>'
    )
    shown = "".join(map(_printable, text[start:end]))
    yield (
        f'<text x="{drawing.number(left + 2)}" y="{drawing.number(top + 17)}" font-size="15" fill="{_INK}" '
        f'textLength="{drawing.number(right - left - 4)}" lengthAdjust="spacingAndGlyphs">{escape(shown)}</text>'
    )


def _printable(character: str) -> str:
    if character in _SHOWN:
        return _SHOWN[character]
    return "\ufffd" if unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co") else character


def bars(series: Mapping[str, Sequence[float]], labels: Sequence[str], *, x_label: str, y_label: str) -> str:
    """A group of bars a label, a bar a series."""
    highest = _round(max((value for values in series.values() for value in values), default=0.0))
    group = (_WIDTH - _LEFT - 10) / max(len(labels), 1)
    bar = group * 0.8 / max(len(series), 1)
    parts = list(_frame(x_label, y_label, 0.0, highest))
    for place, label in enumerate(labels):
        left = _LEFT + group * place
        parts.append(drawing.text(left + group / 2, _HEIGHT - _BOTTOM + 15, label, size=11, colour=_MUTED))
        for index, (name, values) in enumerate(series.items()):
            y = _y(values[place], 0.0, highest)
            parts.append(
                f'<rect x="{drawing.number(left + group * 0.1 + bar * index)}" y="{drawing.number(y)}" width="{drawing.number(bar)}" '
                f'height="{drawing.number(_HEIGHT - _BOTTOM - y)}" fill="{_colour(index)}">'
                f"<title>{escape(name)}, {escape(label)}: {values[place]:.2f}</title></rect>"
            )
    return _svg([*parts, *_legend(series)], _WIDTH, _HEIGHT, y_label)


def lines(curves: Sequence[Curve]) -> str:
    """Curves over the same axes."""
    points = [point for curve in curves for point in curve.points]
    right = max((x for x, _ in points), default=0.0) or 1.0
    highest = _round(max((y for _, y in points), default=0.0))
    parts = list(_frame(curves[0].x_label, curves[0].y_label, 0.0, highest))
    for step in range(6):
        x = _LEFT + (_WIDTH - _LEFT - 20) * step / 5
        parts.append(drawing.text(x, _HEIGHT - _BOTTOM + 15, f"{right * step / 5:,.0f}", size=11, colour=_MUTED))
    for index, curve in enumerate(curves):
        drawn = " ".join(
            f"{drawing.number(_LEFT + (_WIDTH - _LEFT - 20) * x / right)},{drawing.number(_y(y, 0.0, highest))}"
            for x, y in curve.points
        )
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{_colour(index)}" stroke-width="1.8"/>')
    return _svg([*parts, *_legend([curve.name for curve in curves])], _WIDTH, _HEIGHT, curves[0].y_label)


def _frame(x_label: str, y_label: str, low: float, high: float) -> Iterator[str]:
    for step in range(5):
        value = low + (high - low) * step / 4
        y = _y(value, low, high)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{drawing.number(y)}" y2="{drawing.number(y)}" stroke="{_RULE}"/>'
        yield drawing.text(_LEFT - 6, y + 4, f"{value:.3g}", size=11, colour=_MUTED, anchor="end")
    yield drawing.text((_LEFT + _WIDTH) / 2, _HEIGHT - _BOTTOM + 32, x_label, size=12, colour=_MUTED)
    turned = f'transform="rotate(-90 12 {drawing.number((_HEIGHT - _BOTTOM) / 2)})"'
    yield drawing.text(12, (_HEIGHT - _BOTTOM) / 2, y_label, size=12, colour=_MUTED, more=turned)


def _legend(names: Iterable[str]) -> Iterator[str]:
    left = float(_LEFT)
    for index, name in enumerate(names):
        yield f'<rect x="{drawing.number(left)}" y="{_HEIGHT - 18}" width="12" height="10" fill="{_colour(index)}"/>'
        yield drawing.text(left + 16, _HEIGHT - 9, name, size=12, colour=_INK, anchor="start")
        left += 34 + 12 * sum(map(_cells, name))


def _y(value: float, low: float, high: float) -> float:
    return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP)


def _round(highest: float) -> float:
    """The next number above that is four round steps from zero."""
    if not highest > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest / 4))
    return next(4 * power * step for step in (1, 1.5, 2, 2.5, 5, 10) if 4 * power * step >= highest * (1 - 1e-9))


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _fit(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"


def _svg(parts: Iterable[str], width: float, height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.number(width)} {drawing.number(height)}" width="{drawing.number(width)}" '
        f'height="{drawing.number(height)}" font-family="sans-serif" role="img" aria-label="{escape(title)}">'
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>{"".join(parts)}</svg>\n'
    )
