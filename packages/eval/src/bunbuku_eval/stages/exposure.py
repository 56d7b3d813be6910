"""`eval.exposure`: whether a model knows the facts that its corpus says often, and from how many times on."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
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
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_eval.exposures import Fact, Half, half_known
from bunbuku_eval.intervals import bootstrap_ratio
from bunbuku_eval.metrics import spearman

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "task", "mode", "style", "id")),
        ("exposures", pa.int64()),
        ("strict", pa.float64()),
        ("lenient", pa.float64()),
    ]
)
"""One row a model, task, way and fact: how often the corpus says it, and how right the answers are on average."""
TITLE = "Facts known, by how often the corpus says them"


class ExposureConfig(Config):
    count: str = Field(default="exposures", min_length=1)
    """The column of `facts.parquet` that counts: `exposures`, `near_documents`, `stated_documents`, …"""
    bins: tuple[NonNegativeInt, ...] = (0, 1, 3, 10, 30, 100, 300, 1000)
    """Where groups of facts begin; the last has no end."""
    bootstrap_rounds: PositiveInt = 1000
    seed: NonNegativeInt = 0


@stage("eval.exposure", revision=1)
def exposure(
    draft: Draft, config: ExposureConfig, coverage: Artifact[Report], scores: dict[str, Artifact[Report]]
) -> Report:
    """Set what models know against how often the corpus says it, fact by fact.

    `--coverage` is bunbuku-corpus's report of how often each fact is said; `--scores` are `score` reports of questions whose
    ids are those of the facts. Accuracy is given by groups of exposure with intervals over facts, with a rank correlation,
    and with the exposure at which half of the facts are known, by logistic regression, where that can be told.
    """
    if not scores:
        raise BunbukuError("there are no scores", hint="--scores NAME=DIR, once a score report")
    counts = _counts(coverage, config.count)
    facts = _facts(scores, counts)
    if not facts:
        raise BunbukuError(
            f"no question of the scores has the id of a fact of {coverage.dir}, such as {next(iter(counts))!r}",
            hint="give each fact an `id`, and the question about it the same",
        )
    rows = [one.row for own in facts.values() for one in own]
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    draft.count(path, rows=len(rows), part="items")
    draft.metrics["facts"] = len({one.id for own in facts.values() for one in own})
    tables = (_groups(draft, config, facts), _whole(draft, config, facts))
    curves = tuple(_curve(key, own) for key, own in facts.items())
    said = (
        f"{int(draft.metrics['facts'])} facts of {len(counts)} were asked for. A fact is as right as its answers are on "
        "average, over phrasings and seeds; intervals are 95 %, a bootstrap over facts. "
        "That facts said more often are known more often does not show that it is the saying: they may also be easier.",
    )
    write_sections(draft, [Section(title=TITLE, paragraphs=said, tables=tables, curves=curves)])
    return Report(title=TITLE)


type Key = tuple[str, str, str, str]
"""Model, task, mode and style."""


def _counts(coverage: Artifact[Report], column: str) -> dict[str, int]:
    path = coverage.dir / "facts.parquet"
    if not path.is_file():
        raise BunbukuError(f"{coverage.dir} has no facts.parquet", hint="bunbuku-corpus coverage makes one")
    names = pq.read_schema(path).names
    if column not in names or "id" not in names:
        raise BunbukuError(f"{path} has no column {column!r}", hint=f"it has {', '.join(names)}")
    return {row["id"]: int(row[column]) for row in pq.read_table(path, columns=["id", column]).to_pylist()}


def _facts(scores: Mapping[str, Artifact[Report]], counts: Mapping[str, int]) -> dict[Key, list[Fact]]:
    groups: dict[tuple[Key, str], list[tuple[float, float]]] = defaultdict(list)
    for name, report in scores.items():
        path = report.path(report.files("items")[0])
        wanted = ["model", "task", "mode", "style", "id", "strict", "lenient"]
        if missing := set(wanted) - set(pq.read_schema(path).names):
            raise BunbukuError(f"{report.dir} is no report of scores: its items have no {', '.join(sorted(missing))}")
        rows = pq.read_table(path, columns=wanted).to_pylist()
        several = len({row["model"] for row in rows}) > 1
        for row in rows:
            if row["id"] in counts and row["strict"] is not None:
                model = f"{name}/{row['model']}" if several else name
                groups[(model, row["task"], row["mode"], row["style"]), row["id"]].append(
                    (row["strict"], row["lenient"])
                )
    found: dict[Key, list[Fact]] = defaultdict(list)
    for (key, id), marks in groups.items():
        strict, lenient = (fmean(one) for one in zip(*marks, strict=True))
        found[key].append(Fact(key, id, counts[id], strict, lenient))
    return dict(found)


def _groups(draft: Draft, config: ExposureConfig, facts: Mapping[Key, Sequence[Fact]]) -> Table:
    starts = sorted(set(config.bins) | {0})
    cells: list[tuple[str | float | int | None, ...]] = []
    for key, own in facts.items():
        for start, end in zip(starts, [*starts[1:], math.inf], strict=True):
            part = [one for one in own if start <= one.exposures < end]
            if not part:
                continue
            strict, lenient = (_mean([getattr(one, name) for one in part], config) for name in ("strict", "lenient"))
            draft.metrics[f"lenient.{'.'.join(key)}.from_{start}"] = fmean(one.lenient for one in part)
            span = (
                f"{start}"
                if end == start + 1
                else f"{start} to {int(end) - 1}"
                if end < math.inf
                else f"{start} or more"
            )
            cells.append((*key, span, len(part), strict, lenient))
    columns = ("model", "task", "mode", "style", config.count, "facts", "strict (95 %)", "lenient (95 %)")
    return Table(columns=columns, rows=tuple(cells), caption="Accuracy by exposure")


def _mean(values: Sequence[float], config: ExposureConfig) -> str:
    found = np.array(values)
    low, high = bootstrap_ratio(found, np.ones_like(found), seed=config.seed, rounds=config.bootstrap_rounds)
    return f"{found.mean():.3f} ({low:.3f} to {high:.3f})"


def _whole(draft: Draft, config: ExposureConfig, facts: Mapping[Key, Sequence[Fact]]) -> Table:
    cells: list[tuple[str | float | int | None, ...]] = []
    for key, own in facts.items():
        ranks = spearman([float(one.exposures) for one in own], [one.lenient for one in own])
        half = half_known(own, rounds=config.bootstrap_rounds, seed=config.seed)
        name = ".".join(key)
        if not math.isnan(ranks):
            draft.metrics[f"ranks.{name}"] = ranks
        if half is not None:
            draft.metrics |= {
                f"half_known.{name}": half.exposures,
                f"half_known.{name}.low": half.low,
                f"half_known.{name}.high": half.high,
            }
        cells.append((*key, len(own), None if math.isnan(ranks) else round(ranks, 3), _told(half)))
    columns = ("model", "task", "mode", "style", "facts", "Spearman with exposure", "exposures at which half are known")
    return Table(columns=columns, rows=tuple(cells), caption="Over all facts, lenient")


def _told(half: Half | None) -> str:
    if half is None:
        return "cannot be told"
    return f"{half.exposures:.1f} ({half.low:.1f} to {half.high:.1f})"


def _curve(key: Key, own: Sequence[Fact]) -> Curve:
    """The share known among the facts said at least so often."""
    levels = sorted({one.exposures for one in own})
    points = tuple(
        (math.log10(1 + level), fmean(one.lenient for one in own if one.exposures >= level)) for level in levels
    )
    return Curve(
        name=" · ".join(key), x_label="log10(1 + exposures), at least", y_label="known, lenient", points=points
    )
