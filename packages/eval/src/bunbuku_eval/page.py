"""One self-contained HTML page of a run: everything a browser needs is in the file, and it asks for nothing else.

This module turns artifacts into what the template shows; how it looks is in `templates/`. Whatever comes from an artifact
is escaped, pictures become data URIs, and a content-security policy in the page forbids every request.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Curve, Picture, Report, Section, Table, read_sections
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bunbuku_eval import summary
from bunbuku_eval.ancestry import Ancestry, Entry
from bunbuku_eval.charts import Dot, Series, dot_chart
from bunbuku_eval.commands import command, script
from bunbuku_eval.curves import Chart, CurveGroup, curve_groups, together
from bunbuku_eval.graph import Vertex, draw
from bunbuku_eval.headline import GENERATE, Headline, headline
from bunbuku_eval.origin import Origin, origin
from bunbuku_eval.toml import dumps

_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_MIME = {".png": "image/png", ".svg": "image/svg+xml"}


class Text(NamedTuple):
    """What one model wrote."""

    model: str
    tokens_seen: int
    text: str
    finish: str
    flags: tuple[str, ...]


class Answered(NamedTuple):
    """One prompt and what every model made of it."""

    style: str
    prompt: str
    texts: tuple[Text, ...]


class Shown(NamedTuple):
    """A section with its pictures and curves drawn."""

    section: Section
    pictures: tuple[tuple[str, str], ...]
    """Data URI and caption."""
    charts: tuple[Chart, ...]


class Told(NamedTuple):
    """The sections of one artifact."""

    title: str
    name: str
    key: str
    stage: str
    sections: tuple[Shown, ...]
    given: bool
    """Whether it was asked for, or is found on the way."""


class Made(NamedTuple):
    """One thing of the lineage, as its details show it."""

    entry: Entry
    place: str
    config: str
    command: str
    inputs: tuple[tuple[str, str, str], ...]
    """Role, name and key."""


@dataclass(frozen=True)
class Page:
    """All that the template shows."""

    title: str
    language: Literal["en", "ja"]
    lead: tuple[str, ...]
    notes: tuple[str, ...]
    attribution: tuple[str, ...]
    verdicts: tuple[summary.Verdict, ...]
    headline: Headline
    dots: str
    learning: Chart | None
    groups: tuple[CurveGroup, ...]
    answered: tuple[Answered, ...]
    told: tuple[Told, ...]
    graph: str
    made: tuple[Made, ...]
    script: str
    origin: Origin
    seconds: float

    def html(self) -> str:
        return environment().get_template("page.html.j2").render(page=self)


def gather(
    reports: Mapping[str, Artifact[Any]],
    ancestry: Ancestry,
    *,
    title: str,
    notes: Sequence[str],
    attribution: Sequence[str],
    base: Path,
) -> Page:
    """The page of these reports and all they came from, with places written as seen from the folder `base`."""
    top = headline(reports, ancestry)
    artifacts = [entry for entry in ancestry if entry.manifest]
    seconds = sum(e.manifest.run.seconds for e in artifacts if e.manifest and not e.manifest.recipe.milestone)
    places = ancestry.places(base)
    return Page(
        title=title,
        language="en",
        lead=tuple(summary.lead(top, artifacts=len(artifacts), seconds=seconds)),
        notes=tuple(notes),
        attribution=tuple(attribution),
        verdicts=tuple(summary.verdicts(top)),
        headline=top,
        dots=_dots(top),
        learning=_learning(top),
        groups=curve_groups(ancestry),
        answered=_answered(reports),
        told=_told(reports, ancestry),
        graph=_graph(ancestry),
        made=tuple(_made(entry, ancestry, places) for entry in ancestry),
        script=script(ancestry, places),
        origin=origin(ancestry),
        seconds=seconds,
    )


def _dots(top: Headline) -> str:
    measured = [row for row in top.rows if row.bits_per_byte is not None and row.interval is not None]
    shapes = list(dict.fromkeys(row.shape for row in measured))
    dots = [
        Dot(
            name=row.name,
            value=row.bits_per_byte or 0.0,
            low=row.interval.low if row.interval else 0.0,
            high=row.interval.high if row.interval else 0.0,
            colour=shapes.index(row.shape),
            note=f"{row.name}: {row.shape}, {row.tokens_seen:,} tokens seen",
        )
        for row in measured
    ]
    return dot_chart(dots, title="Bits per byte of unseen text", x_label="bits per byte (less is better)")


def _learning(top: Headline) -> Chart | None:
    """Bits per byte over the tokens seen, where a shape of model was measured at three points or more.

    Models that saw as many tokens, such as those after SFT and after DPO, stand above each other.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for row in top.models:
        if row.bits_per_byte is not None:
            points.setdefault(row.shape, []).append((float(row.tokens_seen), row.bits_per_byte))
    lines = [Series(shape, tuple(sorted(of, key=lambda point: point[0]))) for shape, of in points.items()]
    if max((len({x for x, _ in line.points}) for line in lines), default=0) < 3:
        return None
    return together(
        "Bits per byte of unseen text over tokens seen", lines, x_label="tokens seen", y_label="bits per byte"
    )


def _answered(reports: Mapping[str, Artifact[Any]]) -> tuple[Answered, ...]:
    found: dict[tuple[str, str], list[Text]] = {}
    for report in reports.values():
        if report.manifest.recipe.stage == GENERATE:
            for row in pq.read_table(report.path(report.files("items")[0])).to_pylist():
                text = Text(row["model"], row["tokens_seen"], row["text"], row["finish"], tuple(row["flags"]))
                found.setdefault((row["style"], row["prompt"]), []).append(text)
    return tuple(Answered(style, prompt, tuple(texts)) for (style, prompt), texts in found.items())


def _told(reports: Mapping[str, Artifact[Any]], ancestry: Ancestry) -> tuple[Told, ...]:
    """Sections of the given reports, then those that other artifacts on the way carry."""
    given = {report.content: name for name, report in reports.items()}
    told = [_tell(report, name, given=True) for name, report in reports.items()]
    for entry in ancestry:
        if entry.found and entry.key not in given:
            told.append(_tell(entry.found, entry.name, given=False))
    return tuple(one for one in told if one.sections)


def _tell(artifact: Artifact[Any], name: str, *, given: bool) -> Told:
    title = f"{name}: {artifact.spec.title}" if isinstance(artifact.spec, Report) else name
    sections = read_sections(artifact)
    if artifact.manifest.recipe.stage == GENERATE:
        # The texts themselves stand side by side in a chapter of their own.
        sections = tuple(section.model_copy(update={"tables": section.tables[:1]}) for section in sections)
    shown = tuple(
        Shown(section, tuple((_data(artifact, one), one.caption) for one in section.pictures), _charts(section.curves))
        for section in sections
    )
    return Told(title, name, artifact.content, artifact.manifest.recipe.stage, shown, given)


def _data(artifact: Artifact[Any], picture: Picture) -> str:
    path = artifact.dir / picture.path
    if path.suffix not in _MIME:
        raise BunbukuError(f"{path} is no PNG or SVG", hint="a section's pictures are .png or .svg files")
    return f"data:{_MIME[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _charts(curves: Sequence[Curve]) -> tuple[Chart, ...]:
    """Curves with the same axes share a chart."""
    axes: dict[tuple[str, str], list[Series]] = {}
    for curve in curves:
        axes.setdefault((curve.x_label, curve.y_label), []).append(Series(curve.name, curve.points))
    return tuple(
        together(f"{y_label} over {x_label}", lines, x_label=x_label, y_label=y_label)
        for (x_label, y_label), lines in axes.items()
    )


def _graph(ancestry: Ancestry) -> str:
    vertices = [
        Vertex(entry.key, entry.kind, entry.name, entry.stage or "from outside", _note(entry), f"#a-{entry.key[:12]}")
        for entry in ancestry
    ]
    edges = [(one.key, entry.key) for entry in ancestry for one in entry.inputs if one.key != entry.key]
    return draw(vertices, edges, title="Lineage: what was made from what")


def _note(entry: Entry) -> str:
    return f"{entry.key[:7]}" + (f"  {_bytes(entry.manifest.bytes)}" if entry.manifest else "")


def _made(entry: Entry, ancestry: Ancestry, places: Mapping[str, str]) -> Made:
    config = dumps(entry.manifest.recipe.config) if entry.manifest else ""
    inputs = tuple((one.role, places[one.key] + (f"#{one.part}" if one.part else ""), one.key) for one in entry.inputs)
    return Made(entry, places[entry.key], config, command(entry, places), inputs)


@cache
def environment() -> Environment:
    """Templates, and how values are written in them."""
    environment = Environment(
        loader=PackageLoader("bunbuku_eval"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell": _cell,
        "numeric": _numeric,
        "ja": _language,
        "bytes": _bytes,
        "count": summary.count,
        "duration": summary.duration,
        "signed": lambda value: f"{value:+.3f}".replace("-", "−"),
        "svg": Markup,
    }
    return environment


def _cell(value: str | float | None) -> str:
    """A table's cell as text.

    >>> [_cell(value) for value in (None, 12345, 0.123456, 3.0, "猫")]
    ['–', '12,345', '0.12346', '3', '猫']
    """
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.5g}"
    return value


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers, and so are set flush right."""
    return [
        any(isinstance(row[index], int | float) for row in table.rows)
        and not any(isinstance(row[index], str) for row in table.rows)
        for index in range(len(table.columns))
    ]


def _language(text: object) -> Markup:
    """The attribute that makes a browser take Japanese shapes for the characters it shares with Chinese."""
    return Markup(' lang="ja"') if isinstance(text, str) and _JAPANESE.search(text) else Markup("")


def _bytes(number: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
