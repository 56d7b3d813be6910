"""What reports say of models, as estimates with intervals: the numbers of every stage that measures, brought into one form.

A metric is an estimate if the manifest also has its ends, `NAME.low` and `NAME.high`. Its first word is what was measured;
the model comes next; what is left says how it was asked (task, mode, style).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bunbuku_contracts import Artifact, Checkpoint

from bunbuku_eval.ancestry import Ancestry
from bunbuku_eval.headline import models, shape

MEASURES: Mapping[str, str] = {
    "strict": "right and in the form asked for",
    "lenient": "right in any words",
    "accuracy": "the right choice is the likeliest",
    "rating": "rating",
    "bits_per_byte": "bits per byte of unseen text",
    "format_ok": "form kept",
    "degenerate": "no answer at all",
}
"""Those that are shown, in this order."""
LESS_IS_BETTER = frozenset({"bits_per_byte", "degenerate"})
UNBOUNDED = "unbounded."
"""Before the name of a model that won, or lost, every vote: its rating is a number of votes, and no strength."""
TOTAL = ".total"
"""Perplexity names its sum so, and its ends without it."""


class Estimate(NamedTuple):
    """One number of one model."""

    report: str
    measure: str
    model: str
    condition: str
    """How it was asked; empty where there is one way."""
    value: float
    low: float
    high: float


class Standing(NamedTuple):
    """What a model is, as its manifest says."""

    shape: str
    stage: str
    """That made it."""
    tokens_seen: int
    parameters: int
    depth: int
    """Steps from the furthest thing it was made from."""


@dataclass(frozen=True)
class Column:
    """One measurement, of all models that have it."""

    report: str
    measure: str
    condition: str
    cells: Mapping[str, Estimate]

    @property
    def best(self) -> frozenset[str]:
        """Models that no other surely surpasses."""
        less = self.measure in LESS_IS_BETTER
        top = (min if less else max)(self.cells.values(), key=lambda one: one.value)
        if less:
            return frozenset(name for name, one in self.cells.items() if one.low <= top.high)
        return frozenset(name for name, one in self.cells.items() if one.high >= top.low)


def estimates(reports: Mapping[str, Artifact[Any]]) -> list[Estimate]:
    """All estimates of these reports."""
    known = {name for report in reports.values() for name in models(report)}
    return [one for name, report in reports.items() for one in _of(name, report, known)]


def columns(found: Iterable[Estimate]) -> list[Column]:
    """Estimates side by side: a column a report, measure and condition."""
    cells: dict[tuple[int, str, str, str], dict[str, Estimate]] = {}
    order = list(MEASURES)
    for one in found:
        key = order.index(one.measure), one.report, one.measure, one.condition
        cells.setdefault(key, {})[one.model] = one
    return [Column(*key[1:], cells[key]) for key in sorted(cells)]


def unbounded(reports: Mapping[str, Artifact[Any]]) -> list[str]:
    """Models whose rating has no bound, in the order of their names."""
    metrics = [name for report in reports.values() for name in report.manifest.metrics]
    return sorted({name.removeprefix(UNBOUNDED) for name in metrics if name.startswith(UNBOUNDED)})


def standings(reports: Mapping[str, Artifact[Any]], ancestry: Ancestry) -> dict[str, Standing]:
    """What is known of the models that reports were made of, in the order of their making."""
    found: dict[str, Standing] = {}
    for report in reports.values():
        for name, key in models(report).items():
            entry = ancestry.get(key)
            if entry and entry.manifest and isinstance(entry.manifest.spec, Checkpoint) and name not in found:
                spec, recipe = entry.manifest.spec, entry.manifest.recipe
                stage = recipe.stage + (f" @{recipe.milestone}" if recipe.milestone else "")
                kind = shape(spec.architecture) + (", chat" if spec.chat else "")
                found[name] = Standing(kind, stage, spec.tokens_seen, spec.architecture.parameters, entry.depth)
    return dict(sorted(found.items(), key=lambda item: (item[1].tokens_seen, item[1].depth, item[0])))


def ordered(named: Iterable[str], known: Sequence[str]) -> list[str]:
    """Models whose making is known first, in that order; then the others by name."""
    there = set(named)
    return [name for name in known if name in there] + sorted(there - set(known))


def _of(report: str, artifact: Artifact[Any], known: set[str]) -> Iterable[Estimate]:
    metrics = artifact.manifest.metrics
    for name, value in metrics.items():
        base = name.removesuffix(TOTAL)
        measure, _, rest = base.partition(".")
        if measure in MEASURES and rest and {f"{base}.low", f"{base}.high"} <= metrics.keys():
            model, condition = _split(rest, known)
            yield Estimate(report, measure, model, condition, value, metrics[f"{base}.low"], metrics[f"{base}.high"])


def _split(rest: str, known: set[str]) -> tuple[str, str]:
    """The model's name, which may have dots in it, and the condition.

    >>> _split("tanuki-8.1.jnli.generation.chat", {"tanuki-8", "tanuki-8.1"})
    ('tanuki-8.1', 'jnli.generation.chat')
    >>> _split("somebody", set())
    ('somebody', '')
    """
    fits = [name for name in known if rest == name or rest.startswith(f"{name}.")]
    name = max(fits, key=len, default=rest)
    return name, rest[len(name) + 1 :]
