"""A page of a run: its tables and curves in one HTML file that asks nothing of the network."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from bunbuku_contracts import Curve, Section

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 200, 58, 26


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the sections as one HTML file. Everything in them is shown as text, whatever it looks like."""
    loader = jinja2.PackageLoader("bunbuku_align", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("report.html.jinja").render(title=title, sections=sections, drawn=drawn)
    path.write_text(page, encoding="utf-8")


def drawn(curve: Curve) -> dict[str, object]:
    """What an SVG of a curve is made of: the path, and labels with their places."""
    xs, ys = zip(*curve.points, strict=True)
    low, high = min(ys), max(ys)
    first, last = min(xs), max(xs)

    def across(x: float) -> float:
        return _LEFT + (x - first) / ((last - first) or 1) * (_WIDTH - _LEFT - 8)

    def up(y: float) -> float:
        return _HEIGHT - _BOTTOM - (y - low) / ((high - low) or 1) * (_HEIGHT - _BOTTOM - 12)

    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "path": " ".join(
            f"{'L' if index else 'M'}{across(x):.1f} {up(y):.1f}" for index, (x, y) in enumerate(curve.points)
        ),
        "dots": [(round(across(x), 1), round(up(y), 1)) for x, y in curve.points] if len(xs) <= 40 else [],
        "ticks": [(f"{y:.4g}", round(up(y), 1)) for y in sorted({low, high})],
        "ends": [(f"{x:g}", round(across(x), 1)) for x in sorted({first, last})],
    }
