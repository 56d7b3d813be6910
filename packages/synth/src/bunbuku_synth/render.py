"""The stage `render`: dialogues as the plain text of a corpus, for pre-training."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import batched
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Config,
    Corpus,
    Dialogues,
    Draft,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator

from bunbuku_synth.item import Item, read_items
from bunbuku_synth.scripts import SCRIPTS, AnyScript, told

DOCUMENTS = pa.schema(
    [(name, pa.string()) for name in ("id", "text", "source", "url", "licence", "language", "script")]
)
_SHOWN = 160


class RenderConfig(Config):
    """How dialogues are told, and how often."""

    scripts: Annotated[tuple[AnyScript, ...], Field(min_length=1)] = SCRIPTS
    """Of type `labelled` or `templated`. Each item takes one, drawn by weight from its id."""
    weights: dict[str, NonNegativeFloat] = Field(default_factory=dict[str, float])
    """How often items of a task are told, on average: 0.5 tells half of them, 2 each one in two scripts, 0 none."""
    weight: NonNegativeFloat = 1.0
    """Of tasks that `weights` does not name."""
    rows_per_shard: PositiveInt = 50_000
    """Documents in a Parquet file."""

    @field_validator("scripts")
    @classmethod
    def _have_names_of_their_own(cls, scripts: tuple[AnyScript, ...]) -> tuple[AnyScript, ...]:
        counts = Counter(script.name for script in scripts)
        if twice := next((name for name, count in counts.items() if count > 1), None):
            raise ValueError(f"two scripts are called {twice!r}: give each a name of its own")
        return scripts


@dataclass
class _Tally:
    documents: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By task and script."""
    characters: Counter[str] = field(default_factory=Counter[str])
    """By task."""
    items: Counter[str] = field(default_factory=Counter[str])
    first: dict[str, str] = field(default_factory=dict[str, str])
    """A document of each script."""
    languages: set[str] = field(default_factory=set[str])


@stage("synth.render")
def render(draft: Draft, config: RenderConfig, dialogues: dict[str, Artifact[Dialogues]]) -> Corpus:
    """Tell dialogues as plain text, so that they can be mixed into what a model is pre-trained on.

    Every item becomes a document in one of several scripts ("ユーザー：… アシスタント：…", a question and its answer, or a
    template of your own), and is left out or told again as the weight of its task asks. Which script, and which items of a
    task with a broken weight, is drawn from item ids: more items or another order change nothing for the others. A
    document's `source` is `synth:<task>`, which `bunbuku-corpus mix` can weigh; its licence is the item's.
    """
    _check(config, dialogues)
    tally = _Tally()
    rows = _documents(draft, config, dialogues, tally)
    for number, shard in enumerate(_shards(rows, config.rows_per_shard)):
        path = draft.dir / f"part-{number:05d}.parquet"
        pq.write_table(pa.Table.from_pylist(shard, DOCUMENTS), path, compression="zstd")
        draft.count(path, rows=len(shard))
    if not tally.documents:
        raise BunbukuError("every weight is 0: no dialogue is told", hint="raise `weight` or one of `weights`")
    draft.metrics |= {f"documents.{task}": float(count) for task, count in sorted(_by_task(tally).items())}
    draft.metrics |= {f"characters.{task}": float(count) for task, count in sorted(tally.characters.items())}
    write_sections(draft, [_section(config, tally)])
    return Corpus(languages=tuple(sorted(tally.languages)))


def _check(config: RenderConfig, dialogues: dict[str, Artifact[Dialogues]]) -> None:
    """Before anything is written: every item once, and no weight for what is not there."""
    paths = [made.path(file) for made in dialogues.values() for file in made.files()]
    columns = pa.concat_tables([pq.read_table(path, columns=["id", "task"]) for path in paths])
    counts = pc.value_counts(columns["id"])  # pyright: ignore[reportAttributeAccessIssue] no stubs
    twice = counts.filter(pc.greater(counts.field("counts"), 1))  # pyright: ignore[reportAttributeAccessIssue]
    if len(twice):
        raise BunbukuError(
            f"item {twice[0]['values']} is there {twice[0]['counts']} times, and {len(twice) - 1} others are",
            hint="give each artifact once; `screen --earlier` drops what was made before",
        )
    tasks = set(columns["task"].unique().to_pylist())
    if unknown := sorted(set(config.weights) - tasks):
        raise BunbukuError(
            f"`weights` names the task {unknown[0]!r}, of which there is no dialogue",
            hint=f"there are {', '.join(sorted(tasks))}",
        )


def _documents(
    draft: Draft, config: RenderConfig, dialogues: dict[str, Artifact[Dialogues]], tally: _Tally
) -> Iterator[dict[str, str | None]]:
    for name, made in sorted(dialogues.items()):
        for item in draft.track(read_items(made), unit="items", label=f"{draft.label}: {name}"):
            yield from _of(item, config, tally)


def _of(item: Item, config: RenderConfig, tally: _Tally) -> Iterator[dict[str, str | None]]:
    tally.items[item.task] += 1
    weight = config.weights.get(item.task, config.weight)
    for number, (script, text) in enumerate(told(item, weight, config.scripts)):
        tally.documents[item.task, script.name] += 1
        tally.characters[item.task] += len(text)
        tally.first.setdefault(script.name, text)
        tally.languages.add(item.language)
        yield {
            "id": f"{item.id}/{number}",
            "text": text,
            "source": f"synth:{item.task}",
            "url": None,
            "licence": item.licence,
            "language": item.language,
            "script": script.name,
        }


def _shards(rows: Iterator[dict[str, str | None]], size: int) -> Iterator[list[dict[str, str | None]]]:
    return map(list, batched(rows, size))


def _by_task(tally: _Tally) -> Counter[str]:
    documents: Counter[str] = Counter()
    for (task, _), count in tally.documents.items():
        documents[task] += count
    return documents


def _section(config: RenderConfig, tally: _Tally) -> Section:
    names = tuple(script.name for script in config.scripts)
    told_of = _by_task(tally)
    rows = tuple(
        (task, items, told_of[task], tally.characters[task], *(tally.documents[task, name] for name in names))
        for task, items in sorted(tally.items.items())
    )
    examples = tuple((name, tally.first[name][:_SHOWN]) for name in names if name in tally.first)
    said = f"{sum(tally.items.values()):,} dialogues are told in {sum(told_of.values()):,} documents."
    tables = (
        Table(columns=("task", "items", "documents", "characters", *names), rows=rows, caption="Documents by script"),
        Table(columns=("script", "a document"), rows=examples, caption="How each script reads"),
    )
    return Section(title="Dialogues as plain text", paragraphs=(said,), tables=tables)
