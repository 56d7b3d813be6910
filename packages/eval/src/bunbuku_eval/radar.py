"""A radar chart: a corner a category, a line a model. Colours stand in the picture itself, since it is shown by itself."""

import math
from collections.abc import Mapping, Sequence
from html import escape

SIZE, RADIUS = 460, 150
COLOURS = ("#2f6f8f", "#c2572b", "#5b8a3a", "#8a4f9e", "#b08a1e", "#3f3f8f", "#a03050", "#2f8f7f")


def radar(scores: Mapping[str, Sequence[float | None]], corners: Sequence[str], *, title: str) -> str:
    """An SVG of values from 0 to 1, a sequence a model, in the order of the corners.

    Where a value is undefined (`None`) the line is broken and the legend says which: nothing is drawn as 0 that is not.

    >>> radar({"a": [0.5, 1.0, 0.0]}, ["読解", "知識", "算数"], title="t").count("<polygon")
    5
    """
    height = SIZE + 22 * len(scores)
    middle = SIZE / 2
    angles = [2 * math.pi * at / len(corners) - math.pi / 2 for at in range(len(corners))]

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {height}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{SIZE}" height="{height}" fill="#ffffff"/>',
    ]
    for share in (0.25, 0.5, 0.75, 1.0):
        parts.append(f'<polygon points="{_points([share] * len(corners), angles)}" fill="none" stroke="#d5d5d0"/>')
    for corner, angle in zip(corners, angles, strict=True):
        x, y = middle + RADIUS * math.cos(angle), middle + RADIUS * math.sin(angle)
        parts.append(f'<line x1="{middle}" y1="{middle}" x2="{x:.1f}" y2="{y:.1f}" stroke="#d5d5d0"/>')
        anchor = "middle" if abs(math.cos(angle)) < 0.2 else "start" if math.cos(angle) > 0 else "end"
        x, y = middle + (RADIUS + 12) * math.cos(angle), middle + (RADIUS + 14) * math.sin(angle) + 4
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {_FONT}>{escape(corner)}</text>')
    for at, (name, values) in enumerate(scores.items()):
        colour = COLOURS[at % len(COLOURS)]
        clipped = [None if value is None else min(max(value, 0.0), 1.0) for value in values]
        parts += _line(clipped, angles, colour)
        if gaps := [corner for corner, value in zip(corners, clipped, strict=True) if value is None]:
            name = f"{name} (undefined: {', '.join(gaps)})"
        y = SIZE + 22 * at
        parts.append(f'<rect x="24" y="{y - 9}" width="14" height="10" fill="{colour}"/>')
        parts.append(f'<text x="46" y="{y}" {_FONT}>{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(values: Sequence[float | None], angles: Sequence[float], colour: str) -> list[str]:
    """A model's figure: closed where all is known, or the pieces between the gaps."""
    paint = f'stroke="{colour}" stroke-width="2"'
    whole = [value for value in values if value is not None]
    if len(whole) == len(values):
        return [f'<polygon points="{_points(whole, angles)}" fill="{colour}" fill-opacity="0.12" {paint}/>']
    parts: list[str] = []
    for at, value in enumerate(values):
        following = values[(at + 1) % len(values)]
        if value is not None:
            x, y = _points([value], [angles[at]]).split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
            if following is not None:
                ends = _points([value, following], [angles[at], angles[(at + 1) % len(values)]])
                parts.append(f'<polyline points="{ends}" fill="none" {paint}/>')
    return parts


def _points(values: Sequence[float], angles: Sequence[float]) -> str:
    middle = SIZE / 2
    return " ".join(
        f"{middle + RADIUS * value * math.cos(angle):.1f},{middle + RADIUS * value * math.sin(angle):.1f}"
        for value, angle in zip(values, angles, strict=True)
    )


_FONT = 'font-family="system-ui, sans-serif" font-size="13" fill="#333333"'
