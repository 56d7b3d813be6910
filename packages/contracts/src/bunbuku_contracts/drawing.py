"""What pictures are drawn with, as SVG text: colours, words, a legend, points on a plane.

Equal values give equal text: nothing depends on a font, a clock or the machine.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

FONTS = "'Noto Sans JP','Noto Sans CJK JP','Hiragino Sans',Meiryo,IPAexGothic,sans-serif"
"""Such as have kanji in their Japanese shapes; whoever looks has one of them."""
COLOURS = ("#a8442f", "#2c6e91", "#57843a", "#bb8420", "#74589f", "#2b8d80", "#b95e80", "#7f6552")
INK, QUIET, RULE, MARK = "#29241f", "#6f665c", "#e3dbcf", "#a8442f"
WIDTH = 760


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
        return 20 + (x - left) / size * (WIDTH - 40), 20 + (high - y) / size * (WIDTH - 40)

    tall = 40 + (high - low) / size * (WIDTH - 40)
    parts: list[str] = []
    for index, (name, some) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        paint = (
            f'fill="none" stroke="{colour}" stroke-width="1.4"'
            if name in rings
            else f'fill="{colour}" fill-opacity=".5"'
        )
        radius = 3.6 if name in rings else 2.6
        dots = "".join(
            f'<circle cx="{number(x)}" cy="{number(y)}" r="{radius}"/>' for x, y in (place(*one) for one in some)
        )
        parts.append(f"<g {paint}><title>{escape(name)}</title>{dots}</g>")
    for sign in signs:
        x, y = place(sign.x, sign.y)
        half = 6.5 * sum(map(cells, sign.text))
        x = min(max(x, half), WIDTH - half)
        halo = 'stroke="#fff" stroke-width="4" paint-order="stroke" font-weight="bold"'
        parts.append(text(x, y, sign.text, size=13, more=halo))
    parts += legend(list(series), tall + 20)
    return svg(parts, WIDTH, tall + 32, label)


def legend(names: Sequence[str], y: float) -> Iterator[str]:
    """Each name beside its colour, in a row."""
    x = 20.0
    for index, name in enumerate(names):
        yield f'<rect x="{number(x)}" y="{number(y - 10)}" width="11" height="11" fill="{COLOURS[index % len(COLOURS)]}"/>'
        yield text(x + 16, y, name, anchor="start")
        x += 34 + 12 * sum(map(cells, name))


def cells(character: str) -> float:
    """How wide a character is, where a kanji is one."""
    return 1.0 if unicodedata.east_asian_width(character) in "WFA" else 0.6


def text(
    x: float, y: float, text: str, *, size: int = 12, colour: str = INK, anchor: str = "middle", more: str = ""
) -> str:
    """Words at a place; `more` are attributes as they are written."""
    extra = f" {more}" if more else ""
    return (
        f'<text x="{number(x)}" y="{number(y)}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{extra}>'
        f"{escape(text)}</text>"
    )


def svg(parts: Iterable[str], width: float, height: float, title: str) -> str:
    """The parts as one picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" width="{number(width)}" '
        f'height="{number(height)}" font-family="{FONTS}" lang="ja" role="img" aria-label="{escape(title)}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def number(value: float) -> str:
    """A coordinate, to a tenth.

    >>> number(2.04), number(2.25)
    ('2', '2.2')
    """
    return f"{value:.1f}".removesuffix(".0")
