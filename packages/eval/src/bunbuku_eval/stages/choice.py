"""`eval.choice`: multiple choice by the likelihood of each choice."""

import hashlib
import heapq
from collections.abc import Sequence
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Dialogues,
    Draft,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from bunbuku_contracts.intervals import wilson
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from bunbuku_eval import choices
from bunbuku_eval.choices import Item, Pick, Style
from bunbuku_eval.models import opened, require_hugging_face, scores
from bunbuku_eval.run import DEFAULT_RUN, EvalRun


class ChoiceConfig(Config):
    items: PositiveInt = 400
    """At most so many items, chosen by the hash of their ids."""
    seed: NonNegativeInt = 0
    """Another seed is another choice of items."""
    tasks: tuple[str, ...] = ()
    """Only items of these tasks; all that have choices, without it."""
    styles: tuple[Style, ...] = Field(default=("plain", "chat"), min_length=1)
    """How the question is put: as plain text to go on with, or through the model's chat template. Every model gets
    every style, and no number is without its style, since the style alone moves scores."""
    plain_template: str = "{question}\n答え: "
    """The plain prompt; `{question}` is the last user's turn."""

    @field_validator("plain_template")
    @classmethod
    def _asks(cls, template: str) -> str:
        if "{question}" not in template:
            raise ValueError(f"`plain_template` {template!r} has no {{question}}")
        return template


type Grouping = Literal["task", "template"]


class Result(NamedTuple):
    model: str
    style: Style
    picks: list[Pick]


@stage("eval.choice", revision=1, bitwise=False)
def choice(
    draft: Draft,
    config: ChoiceConfig,
    checkpoints: dict[str, Artifact[Checkpoint]],
    items: Artifact[Dialogues],
    *,
    run: EvalRun = DEFAULT_RUN,
) -> Report:
    """Measure how often each model finds the right one of several answers likeliest.

    Takes the dialogues that have choices. Accuracy comes with its 95 % Wilson interval and the accuracy of guessing.
    """
    require_hugging_face(checkpoints)
    asked = choose(config, items)
    found: list[tuple[str, Style, list[Pick | choices.Unpicked]]] = []
    for name, checkpoint in checkpoints.items():
        with opened(run.engine, checkpoint) as model:
            for style in config.styles:
                requests = [request for item in asked for request in item.requests(style, config.plain_template)]
                begun = any(isinstance(one, Pick) for _, _, picks in found for one in picks)
                answers = scores(model, requests, draft, label=f"{name}, {style}", begun=begun)
                found.append((name, style, choices.picks(asked, answers)))
    failures: list[tuple[str, Style, choices.Unpicked]] = [
        (name, style, one) for name, style, picks in found for one in picks if isinstance(one, choices.Unpicked)
    ]
    lost = {one.item.id for _, _, one in failures}
    if len(lost) == len(asked):
        name, style, first = failures[0]
        raise BunbukuError(
            f"no item was answered by all; the first failure, of {name!r} in style {style!r}: {first.failure}",
            hint="look at the engine's own log",
        )
    results = [
        Result(name, style, [one for one in picks if isinstance(one, Pick) and one.item.id not in lost])
        for name, style, picks in found
    ]
    _publish(draft, config, results, failures)
    return Report(title="Multiple choice by likelihood")


def choose(config: ChoiceConfig, items: Artifact[Dialogues]) -> list[Item]:
    """The items that are asked, in the order of their hashes."""
    wanted = (item for item in choices.read_items(items) if not config.tasks or item.task in config.tasks)
    asked = heapq.nsmallest(
        config.items, wanted, key=lambda item: hashlib.sha256(f"{config.seed}\0{item.id}".encode()).digest()
    )
    if not asked:
        tasks = f" of tasks {', '.join(config.tasks)}" if config.tasks else ""
        raise BunbukuError(
            f"{items.dir} has no item with choices{tasks}",
            hint="make some with a multiple-choice task of bunbuku-synth",
        )
    return asked


def _publish(
    draft: Draft,
    config: ChoiceConfig,
    results: Sequence[Result],
    failures: Sequence[tuple[str, Style, choices.Unpicked]],
) -> None:
    items = [pick.item for pick in results[0].picks]
    draft.metrics["items"] = len(items)
    draft.metrics["chance"] = choices.chance(items)
    for model, style, found in results:
        right = sum(pick.right for pick in found)
        low, high = wilson(right, len(found))
        draft.metrics |= {
            f"accuracy.{model}.{style}": right / len(found),
            f"accuracy.{model}.{style}.low": low,
            f"accuracy.{model}.{style}.high": high,
        }
        per_byte = sum(pick.right_per_byte for pick in found)
        low, high = wilson(per_byte, len(found))
        key = f"accuracy_per_byte.{model}.{style}"
        draft.metrics |= {key: per_byte / len(found), f"{key}.low": low, f"{key}.high": high}
    rows = [row for model, style, found in results for row in choices.rows(model, style, config.plain_template, found)]
    rows += [one.row(model, style) for model, style, one in failures]
    lost = len({one.item.id for _, _, one in failures})
    if lost:
        draft.metrics["failed"] = lost
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist(rows, choices.SCHEMA), path)
    draft.count(path, rows=len(rows), part="items")
    write_sections(draft, [_section(results, items, lost)])


def _section(results: Sequence[Result], items: Sequence[Item], lost: int) -> Section:
    groups = [_by(results, items, what) for what in ("task", "template") if len(_values(items, what)) > 1]
    paragraphs = (
        "A model's answer is the choice it finds likeliest behind the question, as it stands and per byte. "
        "Nothing is generated. Intervals are Wilson's, 95 %; an accuracy whose interval holds the chance level "
        "shows no knowledge.",
    )
    if lost:
        paragraphs += (
            f"Incomplete: {lost} items failed with a model and count with none. Their reasons stand in items.parquet.",
        )
    return Section(title="Multiple choice by likelihood", paragraphs=paragraphs, tables=(_table(results), *groups))


def _table(results: Sequence[Result]) -> Table:
    rows: list[tuple[str | float, ...]] = []
    for model, style, found in results:
        right = sum(pick.right for pick in found)
        low, high = wilson(right, len(found))
        per_byte = sum(pick.right_per_byte for pick in found) / len(found)
        rows.append((model, style, *(round(value, 4) for value in (right / len(found), low, high, per_byte))))
    items = [pick.item for pick in results[0].picks]
    caption = f"{len(items):,} items, chance {choices.chance(items):.3f}"
    columns = ("model", "style", "accuracy", "95 % low", "95 % high", "accuracy per byte")
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def _by(results: Sequence[Result], items: Sequence[Item], what: Grouping) -> Table:
    """Accuracy of every model and style, a row a task or template: whether it is the matter or the wording."""
    rows: list[tuple[str | float | int, ...]] = []
    for value in _values(items, what):
        part = [item for item in items if getattr(item, what) == value]
        accuracies = (
            _accuracy([pick for pick in found if getattr(pick.item, what) == value]) for _, _, found in results
        )
        rows.append((value, len(part), round(choices.chance(part), 3), *accuracies))
    columns = (what, "items", "chance", *(f"{model}, {style}" for model, style, _ in results))
    return Table(columns=columns, rows=tuple(rows), caption=f"Accuracy by {what}")


def _values(items: Sequence[Item], what: Grouping) -> list[str]:
    return sorted({getattr(item, what) for item in items})


def _accuracy(found: Sequence[Pick]) -> float:
    return round(sum(pick.right for pick in found) / len(found), 3)
