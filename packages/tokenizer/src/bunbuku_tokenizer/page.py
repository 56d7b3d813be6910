"""Sections as one HTML file that needs nothing else, for who has only this package.

`bunbuku-eval report` draws the same sections into the page of a whole run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from bunbuku_contracts import Curve, Section, Table
from bunbuku_contracts.page import cell

from bunbuku_tokenizer import pictures

_STYLE = """
body { margin: 0 auto; padding: 1.5rem; max-width: 62rem; background: #fbf8f3; color: #2a2521;
  font: 16px/1.6 "Hiragino Sans", "Noto Sans JP", "Noto Sans CJK JP", "Yu Gothic", Meiryo, system-ui, sans-serif; }
h1, h2 { line-height: 1.3; } h2 { border-top: 3px solid #b5483a; padding-top: .8rem; margin-top: 2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; margin: .8rem 0; }
caption { text-align: left; color: #776d63; } th, td { padding: .3rem .7rem; border-bottom: 1px solid #e4dcd0; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; border: 1px solid #e4dcd0; border-radius: 8px; }
figcaption { color: #776d63; font-size: .88rem; }
"""


def html(title: str, sections: Sequence[Section], drawn: Mapping[str, str]) -> str:
    """The page.

    Args:
        title: Its heading.
        sections: What it shows.
        drawn: The pictures' paths with their SVG text.
    """
    body = "".join(line for section in sections for line in _section(section, drawn))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}</body></html>\n"
    )


def _section(section: Section, drawn: Mapping[str, str]) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>\n"
    for paragraph in section.paragraphs:
        yield f"<p>{escape(paragraph)}</p>\n"
    for table in section.tables:
        yield _table(table)
    for curves in _together(section.curves):
        about = f"{curves[0].y_label} over {curves[0].x_label}"
        yield f"<figure><figcaption>{escape(about)}</figcaption>{pictures.lines(curves)}</figure>\n"
    for picture in section.pictures:
        yield f"<figure><figcaption>{escape(picture.caption)}</figcaption>{drawn[picture.path]}</figure>\n"


def _together(curves: Iterable[Curve]) -> Iterable[list[Curve]]:
    """Curves with the same axes share a picture."""
    axes: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        axes.setdefault((curve.x_label, curve.y_label), []).append(curve)
    return axes.values()


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(map(cell, row))}</tr>\n" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>\n'
