"""The item everything is about, and its Parquet edges: everything between them is plain values.

An `Item` is a dialogue with its whole lineage; a `Preference` is a prompt with a better and a worse answer to it. Where
an item has `choices`, they are the possible answers word for word: what the assistant says is one of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, ArtifactError, Dialogues, Draft

from bunbuku_synth.keys import Key

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
DIALOGUES = pa.schema(
    [
        ("id", pa.string()),
        ("messages", _MESSAGES),
        ("task", pa.string()),
        ("language", pa.string()),
        ("source", pa.string()),
        ("template", pa.string()),
        ("generator", pa.string()),
        ("teacher", pa.string()),
        ("seed", pa.int64()),
        ("licence", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer", pa.int32()),
        ("doubts", pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("why", pa.string())]))),
        ("rivals", pa.list_(pa.struct([("said", pa.string()), ("teacher", pa.string()), ("worse_by", pa.string())]))),
    ]
)
DROPPED = DIALOGUES.append(pa.field("reason", pa.string()))
PREFERENCES = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _MESSAGES),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("task", pa.string()),
        ("language", pa.string()),
        ("source", pa.string()),
        ("template", pa.string()),
        ("generator", pa.string()),
        ("rejected_by", pa.string()),
        ("seed", pa.int64()),
        ("licence", pa.string()),
    ]
)
type WorseBy = Literal["answer", "judge", "agreement"]
"""What shows that an answer is worse than the one that was kept: the right answer is known, and it is another one; too few solutions
come to its answer, and a judge preferred the kept one in both orders; only the first half of that."""
_WRITING = {"compression": "zstd", "row_group_size": 20_000}


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a dialogue."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """A stretch of the last answer, in characters, and why to doubt it."""

    start: int
    end: int
    why: str


@dataclass(frozen=True, slots=True)
class Rival:
    """An answer to the same question that was not kept, since it comes to something else."""

    said: str
    teacher: str
    """Who gave it."""
    worse_by: WorseBy


@dataclass(frozen=True, slots=True)
class Item:
    """A dialogue and how it came about."""

    id: str
    messages: tuple[Turn, ...]
    task: str
    language: str
    """Of the answer; `ja`, `en`."""
    source: str | None
    """Id of the document or pair it was made from, with `#start-end` where only a span was used."""
    template: str
    generator: str
    """`rule:<task>`, or `teacher`."""
    teacher: str | None
    seed: int
    licence: str
    choices: tuple[str, ...] | None = None
    answer: int | None = None
    """Index into `choices` of what the assistant says."""
    doubts: tuple[Doubt, ...] | None = None
    """What of the last answer was not found in the source; none where nobody looked."""
    rivals: tuple[Rival, ...] | None = None
    """Answers that the last one was preferred to; none where the question was answered once."""

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """The turns before the last answer."""
        return self.messages[:-1]

    @property
    def said(self) -> str:
        """The last answer."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Dropped:
    """What did not become an item, and why."""

    item: Item
    reason: str


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt, a right answer and a wrong one."""

    id: str
    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str
    task: str
    language: str
    source: str | None
    template: str
    generator: str
    rejected_by: str
    """`rule:<name>`, or `model:<digest>`."""
    seed: int
    licence: str


def preference(
    item: Item,
    key: Key,
    *,
    rejected: str,
    rejected_by: str,
    chosen: str | None = None,
    template: str | None = None,
) -> Preference:
    """A worse answer to an item's question beside its own, or beside `chosen`, which a teacher gave."""
    return Preference(
        id=key.id,
        prompt=item.prompt,
        chosen=item.said if chosen is None else chosen,
        rejected=rejected,
        task=item.task,
        language=item.language,
        source=item.source,
        template=template or item.template,
        generator=item.generator if chosen is None else "teacher",
        rejected_by=rejected_by,
        seed=key.seed,
        licence=item.licence,
    )


def dialogue(user: str, assistant: str) -> tuple[Turn, ...]:
    """A dialogue of one question and one answer."""
    return Turn("user", user), Turn("assistant", assistant)


def remove_shards(draft: Draft) -> None:
    """Take away the shards that a killed run had begun: a new run may make fewer."""
    for path in draft.dir.rglob("part-*.parquet"):
        path.unlink()


def write_items(items: Iterable[Item], draft: Draft, *, rows_per_shard: int) -> int:
    """Write dialogues in their order; how many there were."""
    return _write((asdict(item) for item in items), DIALOGUES, draft, rows_per_shard=rows_per_shard, part="data")


def write_dropped(dropped: Iterable[Dropped], draft: Draft, *, rows_per_shard: int) -> int:
    """Write what was turned down, with the reason, as part `dropped`."""
    rows = (asdict(entry.item) | {"reason": entry.reason} for entry in dropped)
    return _write(rows, DROPPED, draft, rows_per_shard=rows_per_shard, part="dropped")


def write_preferences(preferences: Iterable[Preference], draft: Draft, *, rows_per_shard: int) -> int:
    """Write preferences in their order; how many there were."""
    rows = (asdict(preference) for preference in preferences)
    return _write(rows, PREFERENCES, draft, rows_per_shard=rows_per_shard, part="data")


def read_items(dialogues: Artifact[Dialogues]) -> Iterator[Item]:
    """The dialogues of an artifact, in file order, then row order.

    Raises:
        ArtifactError: A shard lacks a column.
    """
    names = [field.name for field in fields(Item)]
    for file in dialogues.files():
        shard = pq.ParquetFile(dialogues.path(file))
        if missing := sorted(set(names) - set(shard.schema_arrow.names)):
            raise ArtifactError(
                f"{dialogues.path(file)} has no column {missing[0]!r}", hint="make it anew: bunbuku-synth generate"
            )
        for batch in shard.iter_batches(batch_size=1000, columns=names):
            for row in batch.to_pylist():
                yield _item(row)


def _item(row: dict[str, Any]) -> Item:
    choices = row["choices"]
    item = Item(**row)
    turns = tuple(Turn(turn["role"], turn["content"]) for turn in row["messages"])
    return replace(
        item,
        messages=turns,
        choices=None if choices is None else tuple(choices),
        doubts=None if row["doubts"] is None else tuple(Doubt(**doubt) for doubt in row["doubts"]),
        rivals=None if row["rivals"] is None else tuple(Rival(**rival) for rival in row["rivals"]),
    )


def _write(rows: Iterator[dict[str, Any]], schema: pa.Schema, draft: Draft, *, rows_per_shard: int, part: str) -> int:
    folder = draft.dir if part == "data" else draft.dir / part
    written = 0
    for index, shard in enumerate(_shards(rows, rows_per_shard)):
        folder.mkdir(parents=True, exist_ok=True)
        path = Path(folder, f"part-{index:05d}.parquet")
        pq.write_table(pa.Table.from_pylist(shard, schema), path, **_WRITING)
        draft.count(path, rows=len(shard), part=part)
        written += len(shard)
    return written


def _shards(rows: Iterator[dict[str, Any]], rows_per_shard: int) -> Iterator[list[dict[str, Any]]]:
    while shard := list(islice(rows, rows_per_shard)):
        yield shard
