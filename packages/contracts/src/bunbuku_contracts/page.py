"""Sections and their pictures, published with a draft: `sections.json`, SVG files, and one page that needs nothing else.

`bunbuku-eval report` draws the same sections into the page of a whole run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from bunbuku_contracts.draft import Draft
from bunbuku_contracts.sections import Section, Table, write_sections

PAGE = "index.html"
_STYLE = """
:root { --ink: #29241f; --quiet: #6f665c; --rule: #e3dbcf; --mark: #a8442f; }
body { margin: 0 auto; padding: 2rem 1.2rem; max-width: 64rem; background: #fcfaf6; color: var(--ink);
  font: 16px/1.65 "Hiragino Sans", "Noto Sans JP", "Noto Sans CJK JP", "IPAexGothic", Meiryo, system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; border-left: 5px solid var(--mark); padding-left: .6rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; margin: .9rem 0; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
th, td { padding: .28rem .65rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.1rem 0; } figcaption { color: var(--quiet); font-size: .88rem; }
figure svg { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--rule); }
"""


def publish(draft: Draft, title: str, sections: Iterable[Section], drawn: Mapping[str, str]) -> str:
    """Write the sections, their pictures and the page into the draft; gives the page's path.

    Args:
        draft: Where to.
        title: The page's heading.
        sections: What there is to say.
        drawn: Each picture's path with its SVG text.
    """
    sections = tuple(sections)
    for path, svg in drawn.items():
        (draft.dir / path).write_text(svg, encoding="utf-8")
    write_sections(draft, sections)
    (draft.dir / PAGE).write_text(html(title, sections, drawn), encoding="utf-8")
    draft.count(draft.dir / PAGE, part="sections")
    return PAGE


def html(title: str, sections: Sequence[Section], drawn: Mapping[str, str]) -> str:
    """The page as text; it asks for nothing from anywhere."""
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
    for picture in section.pictures:
        yield f"<figure>{drawn[picture.path]}<figcaption>{escape(picture.caption)}</figcaption></figure>\n"
    for table in section.tables:
        yield _table(table)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(map(cell, row))}</tr>\n" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>\n'


def cell(value: str | float | None) -> str:
    """A cell of a table."""
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f'<td class="n">{"–" if value is None else shown(value)}</td>'


def shown(value: float) -> str:
    """A number as people read it.

    >>> shown(12345), shown(0.12345), shown(12.0)
    ('12,345', '0.123', '12')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").removesuffix(".")
