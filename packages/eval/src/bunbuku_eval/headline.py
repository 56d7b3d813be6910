"""The numbers a reader looks for first, gathered from the measurements of a run.

A row is a model: what it is, the tokens it saw, its bits per byte, how far that is from the model it was made from and
from the bigram table, and how often it finds the right choice. Differences are computed again from the items of the two
measurements, document by document, so they only exist where both saw the same documents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Report
from bunbuku_contracts.intervals import Interval

from bunbuku_eval.ancestry import Ancestry, Entry
from bunbuku_eval.intervals import bootstrap_ratio

PERPLEXITY, BASELINE, CHOICE, GENERATE = "eval.perplexity", "eval.baseline", "eval.choice", "eval.generate"
CHECKPOINTS = "checkpoints."


class Change(NamedTuple):
    """A difference in bits per byte to another model; below zero is better."""

    to: str
    value: float
    interval: Interval


class Accuracy(NamedTuple):
    style: str
    value: float
    interval: Interval


@dataclass(frozen=True)
class Row:
    """One model, or the bigram table."""

    name: str
    shape: str
    tokens_seen: int
    parameters: int | None = None
    active_parameters: int | None = None
    bits_per_byte: float | None = None
    interval: Interval | None = None
    to_parent: Change | None = None
    to_baseline: Change | None = None
    accuracies: tuple[Accuracy, ...] = ()
    is_baseline: bool = False


@dataclass(frozen=True)
class Headline:
    rows: tuple[Row, ...]
    chance: float | None = None
    items: int = 0
    documents: int = 0
    bytes: int = 0
    styles: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.is_baseline)


@dataclass
class Measured:
    """Per-document bits of one measurement: model to document to (bits, bytes)."""

    models: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict[str, dict[str, tuple[float, float]]])

    @classmethod
    def of(cls, reports: Sequence[Artifact[Report]]) -> "Measured":
        found = cls()
        for report in reports:
            table = pq.read_table(report.path(report.files("items")[0]))
            for row in table.to_pylist():
                if row["logprob"] is None:
                    continue
                bits = -row["logprob"] / float(np.log(2))
                found.models.setdefault(row["model"], {})[row["id"]] = (bits, float(row["bytes"]))
        return found

    def change(self, model: str, to: str, *, seed: int = 0) -> Change | None:
        """How `model` differs from `to`, if both were measured on exactly the same documents."""
        ours, theirs = self.models.get(model), self.models.get(to)
        if not ours or not theirs or ours.keys() != theirs.keys():
            return None
        ids = sorted(ours)
        gaps = np.array([ours[name][0] - theirs[name][0] for name in ids])
        sizes = np.array([ours[name][1] for name in ids])
        return Change(to, float(gaps.sum() / sizes.sum()), bootstrap_ratio(gaps, sizes, seed=seed))


def headline(reports: Mapping[str, Artifact[Any]], ancestry: Ancestry) -> Headline:
    """The rows of all models that were measured: the bigram table first, then models as they were given."""
    by_stage: dict[str, list[Artifact[Any]]] = {}
    for report in reports.values():
        by_stage.setdefault(report.manifest.recipe.stage, []).append(report)
    perplexities, baselines = by_stage.get(PERPLEXITY, [])[:1], by_stage.get(BASELINE, [])[:1]
    choices = by_stage.get(CHOICE, [])[:1]
    measured = Measured.of([*perplexities, *baselines])
    contents = {name: key for report in [*perplexities, *choices] for name, key in models(report).items()}
    baseline = next((name for name in measured.models if baselines and name not in contents), None)
    rows = [_baseline_row(baselines[0], baseline)] if baseline and baselines else []
    for name, key in contents.items():
        bits = _metrics(perplexities, name)
        rows.append(
            Row(
                name=name,
                **_facts(ancestry.get(key)),
                bits_per_byte=bits.get("total"),
                interval=Interval(bits["low"], bits["high"]) if bits else None,
                to_parent=_to_parent(name, contents, ancestry, measured),
                to_baseline=measured.change(name, baseline) if baseline else None,
                accuracies=_accuracies(choices, name),
            )
        )
    facts = choices[0].manifest.metrics if choices else {}
    sizes = (perplexities or baselines)[0].manifest.metrics if perplexities or baselines else {}
    return Headline(
        rows=tuple(rows),
        chance=facts.get("chance"),
        items=int(facts.get("items", 0)),
        documents=int(sizes.get("documents", 0)),
        bytes=int(sizes.get("bytes", 0)),
        styles=_styles(choices),
    )


def models(report: Artifact[Report]) -> dict[str, str]:
    """The models a measurement was given, by name: their content digests."""
    return {
        role.removeprefix(CHECKPOINTS): named.partition("#")[0]
        for role, named in report.manifest.recipe.inputs.items()
        if role.startswith(CHECKPOINTS)
    }


def shape(architecture: Architecture) -> str:
    """What a model is, in two words.

    >>> dense = Architecture(layers=2, hidden_size=8, ffn_size=16, heads=2, kv_heads=1, vocab_size=32)
    >>> shape(dense)
    'dense'
    """
    experts = architecture.experts
    return f"MoE {experts.active} of {experts.count}" if experts else "dense"


def _facts(entry: Entry | None) -> dict[str, Any]:
    if entry is None or entry.manifest is None or not isinstance(entry.manifest.spec, Checkpoint):
        return {"shape": "unknown", "tokens_seen": 0}
    spec = entry.manifest.spec
    return {
        "shape": shape(spec.architecture) + (", chat" if spec.chat else ""),
        "tokens_seen": spec.tokens_seen,
        "parameters": spec.architecture.parameters,
        "active_parameters": spec.architecture.active_parameters,
    }


def _baseline_row(report: Artifact[Report], name: str) -> Row:
    metrics = report.manifest.metrics
    low, high = metrics[f"bits_per_byte.{name}.low"], metrics[f"bits_per_byte.{name}.high"]
    return Row(
        name=name,
        shape="bigram table",
        tokens_seen=int(metrics["train_tokens"]),
        parameters=int(metrics["distinct_bigrams"]),
        bits_per_byte=metrics[f"bits_per_byte.{name}.total"],
        interval=Interval(low, high),
        is_baseline=True,
    )


def _metrics(reports: Sequence[Artifact[Report]], name: str) -> dict[str, float]:
    metrics = reports[0].manifest.metrics if reports else {}
    keys = {fact: f"bits_per_byte.{name}.{fact}" for fact in ("total", "low", "high")}
    return {fact: metrics[key] for fact, key in keys.items()} if keys["total"] in metrics else {}


def _to_parent(name: str, contents: Mapping[str, str], ancestry: Ancestry, measured: Measured) -> Change | None:
    """The change from the nearest ancestor that was measured as well."""
    if ancestry.get(contents[name]) is None:
        return None
    names = {key: other for other, key in contents.items() if other != name}
    parents = (names[entry.key] for entry in ancestry.ancestors(contents[name]) if entry.key in names)
    return next((change for parent in parents if (change := measured.change(name, parent))), None)


def _accuracies(reports: Sequence[Artifact[Report]], name: str) -> tuple[Accuracy, ...]:
    metrics = reports[0].manifest.metrics if reports else {}
    keys = {style: f"accuracy.{name}.{style}" for style in _styles(reports)}
    return tuple(
        Accuracy(style, metrics[key], Interval(metrics[f"{key}.low"], metrics[f"{key}.high"]))
        for style, key in keys.items()
        if key in metrics
    )


def _styles(reports: Sequence[Artifact[Report]]) -> tuple[str, ...]:
    config = reports[0].manifest.recipe.config if reports else {}
    styles = config.get("styles", [])
    return tuple(str(style) for style in styles) if isinstance(styles, list) else ()
