"""`eval.leaderboard`: models and tasks on one page, and how scores grew with training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Config,
    Curve,
    Draft,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import Field

from bunbuku_eval.ancestry import Ancestry
from bunbuku_eval.charts import Dot, Series, dot_chart
from bunbuku_eval.curves import Chart, together
from bunbuku_eval.page import environment
from bunbuku_eval.standings import MEASURES, Column, Standing, columns, estimates, ordered, standings, unbounded

PAGE = "index.html"
CURVED = ("strict", "lenient", "accuracy", "bits_per_byte")
"""Measures that are drawn over the tokens seen."""
FEWEST_POINTS = 2


class LeaderboardConfig(Config):
    title: str = Field(default="Models and what they can do", min_length=1)
    notes: tuple[str, ...] = ()
    """Paragraphs of your own."""


@dataclass(frozen=True)
class Leaderboard:
    """All that the template shows."""

    title: str
    notes: tuple[str, ...]
    columns: Sequence[Column]
    standings: Mapping[str, Standing]

    @cached_property
    def models(self) -> list[str]:
        return ordered((name for column in self.columns for name in column.cells), list(self.standings))

    @property
    def measures(self) -> list[tuple[str, str, list[Column]]]:
        """Name, what it means, its columns: a table each."""
        found = [(name, said, [one for one in self.columns if one.measure == name]) for name, said in MEASURES.items()]
        return [one for one in found if one[2]]

    @cached_property
    def lines(self) -> list[tuple[Column, list[Series]]]:
        """For each column the lines over tokens seen: one a shape of model that was measured at two points or more.

        Models that saw as many tokens, such as those after SFT and after DPO, stand above each other, in the order of their making.
        """
        found: list[tuple[Column, list[Series]]] = []
        for column in self.columns:
            points: dict[str, list[tuple[float, float]]] = {}
            for name, known in self.standings.items():
                if column.measure in CURVED and name in column.cells:
                    points.setdefault(known.shape, []).append((float(known.tokens_seen), column.cells[name].value))
            lines = [Series(shape, tuple(of)) for shape, of in points.items()]
            if max((len({x for x, _ in line.points}) for line in lines), default=0) >= FEWEST_POINTS:
                found.append((column, lines))
        return found

    @property
    def charts(self) -> list[Chart]:
        return [
            together(label(column), lines, x_label="tokens seen", y_label=column.measure.replace("_", " "))
            for column, lines in self.lines
        ]

    @property
    def stages(self) -> list[tuple[str, str]]:
        """Bits per byte model by model as they were made, a picture a report: its title and drawing."""
        found: list[tuple[str, str]] = []
        for column in self.columns:
            if column.measure == "bits_per_byte":
                names = ordered(column.cells, list(self.standings))
                shapes = list(dict.fromkeys(self._shape(name) for name in names))
                dots = [
                    Dot(
                        name,
                        column.cells[name].value,
                        column.cells[name].low,
                        column.cells[name].high,
                        shapes.index(self._shape(name)),
                        f"{name}: {self._shape(name)}",
                    )
                    for name in names
                ]
                title = f"{label(column)}, by stage of training"
                found.append((title, dot_chart(dots, title=title, x_label="bits per byte (less is better)")))
        return found

    def _shape(self, name: str) -> str:
        return self.standings[name].shape if name in self.standings else "unknown"

    def html(self) -> str:
        return environment().get_template("leaderboard.html.j2").render(page=self, label=label)


@stage("eval.leaderboard", revision=3)
def leaderboard(draft: Draft, config: LeaderboardConfig, reports: dict[str, Artifact[Report]]) -> Report:
    """Draw one HTML page of models × tasks with intervals, scores over training tokens, and perplexity by stage.

    Takes any reports that measure models: `score`, `compare`, `judge`, `rate`, `choice`, `perplexity`. What the models are
    and how much they saw is read from the reports' lineage. The page asks for nothing from the network.
    """
    if not reports:
        raise BunbukuError("there is nothing to show", hint="--reports NAME=DIR, once a report")
    board = Leaderboard(
        config.title,
        (*config.notes, *_on_bounds(unbounded(reports))),
        columns(estimates(reports)),
        standings(reports, Ancestry.of(_named(reports))),
    )
    if not board.columns:
        raise BunbukuError(
            f"{', '.join(reports)}: no report has a score with an interval",
            hint="give what score, judge, rate, choice or perplexity made",
        )
    (draft.dir / PAGE).write_text(board.html(), encoding="utf-8")
    draft.metrics |= {"models": len(board.models), "columns": len(board.columns)}
    write_sections(draft, [_section(board)])
    return Report(title=config.title, page=PAGE)


def label(column: Column) -> str:
    """A column's head: the report, and how it was asked."""
    return f"{column.report}: {column.condition.replace('.', ' · ')}" if column.condition else column.report


def _on_bounds(models: Sequence[str]) -> Iterator[str]:
    if models:
        yield (
            f"No bounded rating: {', '.join(models)}. Whoever won every vote, or lost every one, is rated by how often it was set "
            "against others, and neither the number nor its interval says how strong it is."
        )


def _named(reports: Mapping[str, Artifact[Any]]) -> dict[str, Artifact[Any]]:
    return {f"report {name}": one for name, one in reports.items()}


def _section(board: Leaderboard) -> Section:
    tables = tuple(
        Table(
            caption=f"{measure.replace('_', ' ')}: {said}; 95 % intervals",
            columns=("model", *(label(column) for column in some)),
            rows=tuple((name, *(_cell(column, name) for column in some)) for name in board.models),
        )
        for measure, said, some in board.measures
    )
    curves = tuple(
        Curve(name=line.name, x_label="tokens seen", y_label=f"{column.measure}, {label(column)}", points=line.points)
        for column, lines in board.lines
        for line in lines
    )
    return Section(title="Leaderboard", paragraphs=board.notes, tables=tables, curves=curves)


def _cell(column: Column, name: str) -> str | None:
    one = column.cells.get(name)
    digits = 0 if column.measure == "rating" and one and one.value > 100 else 3
    return f"{one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})" if one else None
