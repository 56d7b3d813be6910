"""The stage `screen`: what was made, looked over once more as a whole, with every reject kept and its reason said."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bunbuku_contracts import Artifact, BunbukuError, Config, Dialogues, Draft, Section, Table, stage, write_sections
from pydantic import Field, PositiveInt

from bunbuku_synth.exams import Decontamination, Evidence, Exam, read_exams
from bunbuku_synth.filters import DEFAULTS, AnyFilter
from bunbuku_synth.item import Dropped, Item, read_items, write_dropped, write_items
from bunbuku_synth.near import NearDuplicates, Neighbours

_EXAMPLES = 3
_SHOWN = 120


class ScreenConfig(Config):
    """What an item must be like to stay."""

    filters: tuple[AnyFilter, ...] = DEFAULTS
    """Of type `length`, `too_little_japanese`, `mixed_languages`, `repetitive`, `repeated_phrases`, `refusal`, `meta`; each sees the answers."""
    near: NearDuplicates | None = Field(default_factory=NearDuplicates)
    """When an item is too much like one that was made before it; none lets them pass."""
    exams: tuple[Exam, ...] = ()
    """How the files of `--exams` are read; one that is not named here is read by its field `question`."""
    evidence: Evidence = Evidence()
    rows_per_shard: PositiveInt = 50_000
    """Items in a Parquet file."""


@dataclass
class _Screened:
    kept: list[Item] = field(default_factory=list[Item])
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By task and reason."""


@stage("synth.screen", revision=4)
def screen(
    draft: Draft,
    config: ScreenConfig,
    dialogues: Artifact[Dialogues],
    earlier: dict[str, Artifact[Dialogues]] | None = None,
    exams: dict[str, Path] | None = None,
) -> Dialogues:
    """Drop dialogues that are badly written, near-duplicates, or that give evaluation items away.

    Near-duplicates are looked for among the items themselves and in everything that was made before (--earlier NAME=DIR): what
    came first stays, within one artifact the item with the smaller id. Evaluation sets (--exams NAME=FILE) are looked for in all
    turns: items of fewer than 13 letters as a whole, of fewer than 6 as a sentence by itself, longer ones by how much of them is there. What goes is in the part
    `dropped`, with the first reason that was found.
    """
    exam = Decontamination(read_exams(config.exams, exams or {}), config.evidence)
    screened = _Screened()
    neighbours = Neighbours(config.near) if config.near else None
    if neighbours:
        for name, made in sorted((earlier or {}).items()):
            for item in draft.track(read_items(made), unit="items", label=f"{draft.label}: {name}"):
                neighbours.add(f"{name}:{item.id}", _text(item))
    items = sorted(read_items(dialogues), key=lambda item: item.id)
    for item in draft.track(items, unit="items", total=len(items)):
        reason = _reason(item, config, exam, neighbours)
        screened.reasons[item.task, reason or "kept"] += 1
        if reason is None:
            screened.kept.append(item)
        else:
            screened.dropped.append(Dropped(item, reason))
    return _write(draft, config, screened, exam)


def _reason(item: Item, config: ScreenConfig, exam: Decontamination, neighbours: Neighbours | None) -> str | None:
    """The first reason against an item; it is remembered as made if there is none."""
    for one in config.filters:
        if one.drops(item):
            return one.type
    text = _text(item)
    if found := exam.found(text):
        return f"contaminated {found}"
    if neighbours:
        if near := neighbours.nearest(text):
            return f"near_duplicate {near.name}"
        neighbours.add(item.id, text)
    return None


def _text(item: Item) -> str:
    return "\n".join(turn.content for turn in item.messages if turn.role != "system")


def _write(draft: Draft, config: ScreenConfig, screened: _Screened, exam: Decontamination) -> Dialogues:
    seen = len(screened.kept) + len(screened.dropped)
    if not screened.kept:
        raise BunbukuError(f"every one of {seen} items was dropped", hint="look at the filters, or leave some out")
    write_items(screened.kept, draft, rows_per_shard=config.rows_per_shard)
    write_dropped(screened.dropped, draft, rows_per_shard=config.rows_per_shard)
    reasons = Counter(entry.reason.partition(" ")[0] for entry in screened.dropped)
    draft.metrics |= {"items": float(seen), "kept": float(len(screened.kept)), "exams.too_short": float(exam.too_short)}
    draft.metrics |= {f"dropped.{reason}": float(count) for reason, count in sorted(reasons.items())}
    write_sections(draft, [_section(screened, seen)])
    return Dialogues()


def _section(screened: _Screened, seen: int) -> Section:
    by_task: dict[str, Counter[str]] = {}
    for (task, reason), count in screened.reasons.items():
        by_task.setdefault(task, Counter())[reason.partition(" ")[0]] += count
    columns = ("task", "kept", *sorted({reason for counts in by_task.values() for reason in counts} - {"kept"}))
    rows = tuple((task, *(counts[name] for name in columns[1:])) for task, counts in sorted(by_task.items()))
    examples = tuple(_examples(screened.dropped))
    said = (
        f"Of {seen:,} items {len(screened.kept):,} stay; each of the others is in the part `dropped` with its reason."
    )
    tables = (Table(columns=columns, rows=rows, caption="Items by task"),)
    if examples:
        tables += (Table(columns=("reason", "item", "answer"), rows=examples, caption="Some that were dropped"),)
    return Section(title="What was screened out", paragraphs=(said,), tables=tables)


def _examples(dropped: list[Dropped]) -> Iterator[tuple[str, str, str]]:
    shown: Counter[str] = Counter()
    for entry in dropped:
        reason = entry.reason.partition(" ")[0]
        shown[reason] += 1
        if shown[reason] <= _EXAMPLES:
            yield entry.reason, entry.item.id, entry.item.said[:_SHOWN]
