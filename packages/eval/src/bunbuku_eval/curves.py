"""Training curves of a run: every scalar that a training left in its `log/`, one chart a scalar.

Trainings of the same stage share a chart, so that a dense model and the mixture made from it lie in one picture. A
training that went on from another's weights begins where that one ended.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bunbuku_contracts import Checkpoint
from bunbuku_contracts.manifest import LOG

from bunbuku_eval.ancestry import Ancestry, Entry
from bunbuku_eval.charts import Series, line_chart
from bunbuku_eval.events import Points, read_scalars

type Scalars = Mapping[str, Points]

FIRST = (
    r"(^|/)loss$",
    r"(^|/)(learning_rate|lr)$",
    r"tokens_per_second|throughput",
    r"accurac|margin",
    r"grad.*norm",
)
"""Scalars shown at once, in this order; the others are a click away."""


@dataclass(frozen=True)
class Chart:
    title: str
    svg: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class CurveGroup:
    """The charts of one stage."""

    stage: str
    runs: tuple[str, ...]
    first: tuple[Chart, ...]
    others: tuple[Chart, ...]


def curve_groups(ancestry: Ancestry) -> tuple[CurveGroup, ...]:
    """A group for each stage with curves, in the order in which the stages come in the lineage."""
    runs: dict[str, dict[str, Scalars]] = {}
    for entry in ancestry:
        if scalars := _scalars(entry):
            start = _begins_at(entry, ancestry, last=max(x for points in scalars.values() for x, _ in points))
            of = runs.setdefault(entry.stage, {})
            name = entry.name if entry.name not in of else f"{entry.name} ({entry.key[:7]})"
            of[name] = {tag: tuple((x + start, y) for x, y in points) for tag, points in scalars.items()}
    return tuple(_group(stage, of) for stage, of in runs.items())


def together(title: str, curves: Sequence[Series], *, x_label: str, y_label: str) -> Chart:
    """One chart of several lines, each in its own colour."""
    coloured = tuple(replace(one, colour=index) for index, one in enumerate(curves))
    return Chart(title, line_chart(coloured, title=title, x_label=x_label, y_label=y_label), coloured)


def _group(stage: str, runs: Mapping[str, Scalars]) -> CurveGroup:
    tags = sorted({tag for scalars in runs.values() for tag in scalars}, key=_rank)
    charts: list[tuple[int, Chart]] = []
    for tag in tags:
        series = tuple(
            Series(name, scalars[tag], colour)
            for colour, (name, scalars) in enumerate(runs.items())
            if len(scalars.get(tag, ())) > 1
        )
        if svg := line_chart(series, title=f"{stage}: {tag}", x_label="step", y_label=tag.rpartition("/")[2]):
            charts.append((_rank(tag)[0], Chart(tag, svg, series)))
    first = tuple(chart for rank, chart in charts if rank < len(FIRST))
    return CurveGroup(stage, tuple(runs), first, tuple(chart for rank, chart in charts if rank >= len(FIRST)))


def _rank(tag: str) -> tuple[int, str]:
    return next((index for index, pattern in enumerate(FIRST) if re.search(pattern, tag)), len(FIRST)), tag


def _scalars(entry: Entry) -> Scalars:
    """What a training left, but for single layers. Milestones have the curves of their run: once is enough."""
    if entry.found is None or not isinstance(entry.found.spec, Checkpoint) or entry.found.manifest.recipe.milestone:
        return {}
    found = read_scalars(entry.found.dir / LOG)
    return {tag: points for tag, points in found.items() if not tag.startswith("layers/")}


def _begins_at(entry: Entry, ancestry: Ancestry, *, last: float) -> float:
    """Steps that lay behind a training's weights, where it counts from its own first step."""
    assert entry.manifest is not None
    before = [
        below.manifest.spec.step
        for one in entry.inputs
        if (below := ancestry[one.key]).manifest and isinstance(below.manifest.spec, Checkpoint)
    ]
    behind = max(before, default=0)
    trained_on = entry.manifest.spec.step > behind > 0
    return float(entry.manifest.spec.step - last) if trained_on and last <= entry.manifest.spec.step - behind else 0.0
