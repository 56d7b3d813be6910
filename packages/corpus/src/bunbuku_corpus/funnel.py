"""Pictures of a policy as SVG text: the funnel, and histograms with the thresholds drawn in."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from bunbuku_contracts.drawing import COLOURS, INK, MARK, QUIET, RULE, svg
from numpy.typing import NDArray

from bunbuku_corpus.filters import Bounds

_WIDTH, _NAME, _ROW = 760, 230, 26
_PANEL_WIDTH, _PANEL_HEIGHT, _BARS = 370, 168, 48


class Step(NamedTuple):
    """A filter of the funnel: shares of all documents and characters before and after it."""

    name: str
    before: float
    after: float
    characters_after: float
    warned: bool


def funnel(steps: Sequence[Step]) -> str:
    """A row a filter: what is left of the documents, and in red what it took."""
    height = 30 + _ROW * (len(steps) + 1) + 22
    parts: list[str] = []
    for quarter in range(5):
        x = _NAME + _full(quarter / 4)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="{height - 24}" stroke="{RULE}"/>')
        parts.append(_text(x, height - 8, f"{quarter * 25} %", colour=QUIET))
    rows = [Step("all documents", 1.0, 1.0, 1.0, warned=False), *steps]
    for row, step in enumerate(rows):
        y = 26 + row * _ROW
        colour = MARK if step.warned else INK
        parts.append(_text(_NAME - 8, y + 13, step.name, anchor="end", colour=colour, bold=step.warned))
        parts.append(
            _rect(_NAME, y, _full(step.after), 13, COLOURS[1], f"{step.name}: {step.after:.2%} of documents left")
        )
        lost = step.before - step.after
        parts.append(_rect(_NAME + _full(step.after), y, _full(lost), 13, MARK, f"{step.name}: {lost:.2%} dropped"))
        parts.append(_rect(_NAME, y + 14, _full(step.characters_after), 4, COLOURS[3], "characters left"))
        parts.append(_text(_WIDTH - 4, y + 13, f"{step.after:.1%}", anchor="end"))
    parts.append(
        _text(
            _NAME,
            14,
            "documents left (blue), dropped here (red); characters left (yellow)",
            anchor="start",
            colour=QUIET,
        )
    )
    return svg(parts, _WIDTH, height, "What is left after each filter")


def _full(share: float) -> float:
    return share * (_WIDTH - _NAME - 70)


class Histogram(NamedTuple):
    """How a measure is distributed, and from where to where a filter lets it be."""

    name: str
    edges: NDArray[np.float64]
    bins: NDArray[np.int64]
    bounds: Bounds
    outside: float
    """Share of the documents that the filter rejects."""


def histograms(panels: Sequence[Histogram]) -> str:
    """A panel a filter, two beside each other: bars of documents, what lies outside in red, thresholds as lines."""
    rows = (len(panels) + 1) // 2
    parts: list[str] = []
    for index, panel in enumerate(panels):
        x, y = (index % 2) * (_WIDTH - _PANEL_WIDTH), (index // 2) * _PANEL_HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{"".join(_panel(panel))}</g>')
    return svg(parts, _WIDTH, max(rows, 1) * _PANEL_HEIGHT, "Distributions of what the filters judge by")


def _panel(panel: Histogram) -> Iterator[str]:
    edges, bins = _shown(panel)
    top, floor = 34, _PANEL_HEIGHT - 30
    yield _text(6, 15, panel.name, anchor="start", bold=True)
    yield _text(
        _PANEL_WIDTH - 8, 15, f"{panel.outside:.2%} rejected", anchor="end", colour=MARK if panel.outside else QUIET
    )
    # The square root: else a filter's few documents beside the many would not be seen.
    highest = float(np.sqrt(max(int(bins.max()), 1))) if len(bins) else 1.0
    width = (_PANEL_WIDTH - 20) / max(len(bins), 1)
    for place, count in enumerate(bins.tolist()):
        if not count:
            continue
        middle = (edges[place] + edges[place + 1]) / 2
        colour = MARK if panel.bounds.outside(np.array([middle]))[0] else COLOURS[1]
        tall = max(float(np.sqrt(count)) / highest * (floor - top), 1.0)
        note = f"{rounded(edges[place])} to {rounded(edges[place + 1])}: {count:,} documents"
        yield _rect(10 + place * width, floor - tall, max(width - 0.8, 0.8), tall, colour, note)
    yield f'<line x1="10" x2="{_PANEL_WIDTH - 10}" y1="{floor}" y2="{floor}" stroke="{INK}"/>'
    for place in np.linspace(0, len(bins), min(len(bins), 4) + 1).round().astype(int).tolist():
        side = "start" if place == 0 else "end" if place == len(bins) else "middle"
        yield _text(10 + place * width, floor + 14, rounded(float(edges[place])), anchor=side, colour=QUIET)
    for value in panel.bounds:
        if value is not None:
            x = 10 + float(np.interp(value, edges, np.arange(len(edges)))) * width
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 12}" y2="{floor}" stroke="{INK}" stroke-dasharray="4 3"/>'
            half = 4.0 * len(rounded(value))
            yield _text(min(max(x, half), _PANEL_WIDTH - half), floor + 27, rounded(value), bold=True)


def rounded(value: float) -> str:
    """Three digits that count, without an exponent.

    >>> rounded(86_612.4), rounded(0.03666), rounded(1e6), rounded(0.0)
    ('86,600', '0.0367', '1,000,000', '0')
    """
    if abs(value) < 1000:
        return f"{value:.3g}"
    digits = 2 - int(np.log10(abs(value)))
    return f"{round(value, digits):,.0f}"


def _shown(panel: Histogram) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Bins from the first with a document or threshold to the last, joined to no more than can be seen."""
    edges = np.append(panel.edges, panel.edges[-1] * (1.02 if panel.edges[-1] <= 1 else 1.3))
    there = np.flatnonzero(panel.bins).tolist()
    there += [int(np.searchsorted(edges, value, "right")) - 1 for value in panel.bounds if value is not None]
    first, last = (max(min(there), 0), min(max(there) + 1, len(panel.bins))) if there else (0, 1)
    step = -(-(last - first) // _BARS)
    starts = np.arange(first, last, step)
    return edges[np.append(starts, min(starts[-1] + step, len(panel.bins)))], np.add.reduceat(
        panel.bins[: starts[-1] + step], starts
    )


def _rect(x: float, y: float, width: float, height: float, colour: str, note: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{colour}">'
        f"<title>{escape(note)}</title></rect>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "middle", colour: str = INK, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="{colour}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
