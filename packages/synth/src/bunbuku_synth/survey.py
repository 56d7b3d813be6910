"""The stage `survey`: what was made so far, how varied it is, and what to make next."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Config,
    Corpus,
    Dialogues,
    Draft,
    Report,
    Section,
    Table,
    page,
    stage,
)
from pydantic import Field, PositiveInt

from bunbuku_synth.exams import Exam, read_exams
from bunbuku_synth.item import Item, read_items
from bunbuku_synth.keys import Drawing
from bunbuku_synth.language import normalized
from bunbuku_synth.map import PATH, Map, draw_map, map_section
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.textbook import Goal, Textbook
from bunbuku_synth.topics import Space, Topic, Topics, space_of, topics_of

_NGRAM = 3
_TITLE = "What was made, and what to make next"


class SurveyConfig(Config):
    """What is wanted."""

    goals: tuple[Goal, ...] = Field(default_factory=lambda: Textbook(count=1).goals)
    """The curriculum whose coverage is reported; that of school subjects, if nothing is said."""
    books_per_subject: PositiveInt = 2000
    """Distinct texts that a subject should have; its goals share them evenly."""
    exposures_per_fact: PositiveInt = 1000
    """Distinct texts that should say a fact."""
    shares: dict[str, float] = Field(default_factory=dict[str, float])
    """Wanted share of the letters of each task; those that are named are scaled to sum to one."""
    topics: Topics | None = Field(default_factory=Topics)
    """How topics are found; none leaves them out."""
    map: Map | None = None
    """A map of items, reference and evaluation prompts; it is made of the words of `topics`, and needs scikit-learn."""
    exams: tuple[Exam, ...] = ()
    """How the files of `--exams` are read; one that is not named here is read by its field `question`."""
    shown: PositiveInt = 40
    """Rows of a table, the ones that lack most first."""


@dataclass
class Kind:
    """What is known of the items of one task."""

    items: int = 0
    letters: int = 0
    templates: Counter[str] = field(default_factory=Counter[str])
    openings: Counter[str] = field(default_factory=Counter[str])
    grams: Counter[str] = field(default_factory=Counter[str])

    def add(self, item: Item) -> None:
        """Count an item."""
        said = normalized("".join(turn.content for turn in item.messages if turn.role == "assistant"))
        self.items += 1
        self.letters += len(said)
        self.templates[item.template] += 1
        self.openings[said[:8]] += 1
        self.grams.update(said[at : at + _NGRAM] for at in range(len(said) - _NGRAM + 1))


@dataclass
class Texts:
    """Texts to find topics in: of all that pass, those of the smallest hashes."""

    drawing: Drawing[str]
    seen: int = 0

    def add(self, text: str, *, name: str) -> None:
        """Let a text take part in the draw."""
        self.seen += 1
        self.drawing.offer(text, name=name)


@dataclass(frozen=True)
class Spread:
    """What texts are about."""

    space: Space
    groups: Mapping[str, np.ndarray]
    """Items, reference and each evaluation, as directions in the space of words that tell topics apart."""
    topics: tuple[Topic, ...]
    exams: frozenset[str]


@stage("synth.survey", revision=4, bitwise=False)
def survey(
    draft: Draft,
    config: SurveyConfig,
    dialogues: dict[str, Artifact[Dialogues]],
    reference: Artifact[Corpus] | None = None,
    exams: dict[str, Path] | None = None,
) -> Report:
    """Report what dialogues hold: how varied they are, which goals and facts they cover, and what is to be made next.

    Variety is the entropy of three-letter sequences of the answers, and how many items share a template or an opening. Goals
    (sources `goal:<subject>/<id>`) and facts (`fact:<id>`) are counted by distinct texts. Topics are found in the items and in a corpus
    (--reference), whose shares of them are those to reach, if the config names no others; what evaluations (--exams NAME=FILE) are about
    is beside them. With `map`, all of these are drawn on one plane, whose places may differ from machine to machine.
    """
    kinds: dict[str, Kind] = {}
    made = _texts(config, "made")
    texts: dict[str, set[str]] = {}
    for name, artifact in sorted(dialogues.items()):
        for item in draft.track(read_items(artifact), unit="items", label=f"{draft.label}: {name}"):
            made.add("\n".join(turn.content for turn in item.messages if turn.role != "system"), name=item.id)
            kinds.setdefault(item.task, Kind()).add(item)
            if item.source and item.source.startswith(("goal:", "fact:")):
                texts.setdefault(item.source, set()).add(normalized(item.said))
    distinct = {source: len(said) for source, said in texts.items()}
    spread = _spread(config, made, reference, exams or {})
    topics = spread.topics if spread else ()
    picture = draw_map(spread.groups, spread.space, config.map, prompts=spread.exams) if spread and config.map else None
    sections = (
        _variety(kinds),
        *_topic_section(config, topics, reference=reference is not None),
        *([map_section(spread.groups, picture, prompts=spread.exams)] if spread and config.map else []),
        *_goals(config, distinct),
        *_facts(config, distinct),
        *_balance(config, kinds),
    )
    shown = page.publish(draft, _TITLE, sections, {PATH: picture} if picture else {})
    draft.metrics |= {f"items.{task}": float(kind.items) for task, kind in sorted(kinds.items())}
    draft.metrics |= {f"entropy_bits.{task}": entropy(kind.grams) for task, kind in sorted(kinds.items())}
    draft.metrics |= {"topics": float(len(topics)), "topics.to_make": float(sum(topic.to_make for topic in topics))}
    wanted = config.books_per_subject
    needed = [_wanted(config, goal.subject, wanted) for goal in config.goals]
    had = [distinct.get(f"goal:{goal.subject}/{goal.id}", 0) for goal in config.goals]
    draft.metrics |= {
        "goals": float(len(config.goals)),
        "goals.begun": float(sum(count > 0 for count in had)),
        "goals.missing_texts": float(sum(max(0, most - count) for most, count in zip(needed, had, strict=True))),
    }
    return Report(title=_TITLE, page=shown)


def entropy(counts: Counter[str]) -> float:
    """Bits of a draw from these counts.

    >>> entropy(Counter("いろはに")), entropy(Counter("ああああ"))
    (2.0, 0.0)
    """
    total = sum(counts.values())
    bits = math.fsum(-count / total * math.log2(count / total) for count in counts.values())
    return bits + 0.0  # no minus zero


def _texts(config: SurveyConfig, label: str) -> Texts:
    count = config.topics.texts if config.topics else 0
    return Texts(Drawing[str](count, label=f"topics:{label}", seed=config.topics.seed if config.topics else 0))


def _spread(
    config: SurveyConfig, made: Texts, reference: Artifact[Corpus] | None, exams: Mapping[str, Path]
) -> Spread | None:
    if config.topics is None:
        if config.map or exams:
            raise BunbukuError("a map and evaluations need `topics`", hint="leave `topics` as it is, or give neither")
        return None
    other, asked = _texts(config, "reference"), dict[str, Texts]()
    if reference:
        for document in Library(reference).documents():
            other.add(document.text, name=document.id)
    for item in read_exams(config.exams, exams):
        asked.setdefault(item.exam, _texts(config, item.exam)).add(item.text, name=item.name)
    space = space_of((*made.drawing.drawn, *other.drawing.drawn), config.topics)
    if space is None:
        return None
    groups = {"items": space.directions(made.drawing.drawn)}
    if reference:
        groups["reference"] = space.directions(other.drawing.drawn)
    prompts = {name: space.directions(texts.drawing.drawn) for name, texts in asked.items()}
    none = space.directions(())
    topics = topics_of(
        space,
        groups["items"],
        groups.get("reference", none),
        np.concatenate([none, *prompts.values()]),
        config.topics,
        items=made.seen,
    )
    return Spread(space, groups | prompts, tuple(topics), frozenset(prompts))


def _topic_section(config: SurveyConfig, topics: Sequence[Topic], *, reference: bool) -> Iterable[Section]:
    """What is said of topics: how much of each there is, and is to be made."""
    if not topics:
        return
    made, other, asked = (sum(getattr(topic, side) for topic in topics) for side in ("made", "reference", "prompts"))
    rows = tuple(
        (
            "・".join(topic.words),
            f"{topic.made / max(1, made):.1%}",
            f"{topic.reference / other:.1%}" if other else "",
            f"{topic.prompts / asked:.1%}" if asked else "",
            f"{topic.wanted:.1%}",
            topic.to_make,
        )
        for topic in topics[: config.shown]
    )
    beside = "those of the reference" if reference else "even ones"
    said = (
        f"Topics by words that go together, in {made:,} items and {other:,} texts of the reference. What is to be made brings the shares "
        f"to {beside}, or to those that the config names, without throwing any item away."
    )
    columns = ("topic", "share of the items", "of the reference", "of the evaluations", "wanted", "items to make")
    yield Section(title="What it is about", paragraphs=(said,), tables=(Table(columns=columns, rows=rows),))


def _variety(kinds: dict[str, Kind]) -> Section:
    columns = (
        "task",
        "items",
        "letters",
        "templates",
        "entropy of 3-grams (bits)",
        "most frequent opening",
        "its share",
    )
    rows = tuple(_variety_row(task, kind) for task, kind in sorted(kinds.items()))
    said = "Low entropy, few templates or an opening that many items share say that a task repeats itself."
    return Section(title="How varied it is", paragraphs=(said,), tables=(Table(columns=columns, rows=rows),))


def _variety_row(task: str, kind: Kind) -> tuple[str | float | int, ...]:
    opening, times = kind.openings.most_common(1)[0]
    bits = round(entropy(kind.grams), 2)
    return task, kind.items, kind.letters, len(kind.templates), bits, opening, f"{times / kind.items:.1%}"


def _wanted(config: SurveyConfig, subject: str, wanted: int) -> int:
    return math.ceil(wanted / sum(goal.subject == subject for goal in config.goals))


def _goals(config: SurveyConfig, distinct: dict[str, int]) -> Iterable[Section]:
    rows: list[tuple[str | int, ...]] = []
    for goal in config.goals:
        had = distinct.get(f"goal:{goal.subject}/{goal.id}", 0)
        most = _wanted(config, goal.subject, config.books_per_subject)
        rows.append((goal.subject, goal.id, goal.says, had, most, max(0, most - had)))
    rows.sort(key=lambda row: (-int(row[5]), row[0], row[1]))
    missing = sum(int(row[5]) for row in rows)
    said = f"{missing:,} texts are missing for {config.books_per_subject:,} a subject; those that lack most come first."
    columns = ("subject", "goal", "what a learner can do", "distinct texts", "wanted", "to make")
    table = Table(columns=columns, rows=tuple(rows[: config.shown]))
    yield Section(title="Which goals are covered", paragraphs=(said,), tables=(table,))


def _facts(config: SurveyConfig, distinct: dict[str, int]) -> Iterable[Section]:
    found = {source: count for source, count in distinct.items() if source.startswith("fact:")}
    if not found:
        return
    rows = sorted(found.items(), key=lambda one: (one[1], one[0]))[: config.shown]
    wanted = config.exposures_per_fact
    table = Table(
        columns=("fact", "distinct texts made", "wanted"),
        rows=tuple((source.removeprefix("fact:"), count, wanted) for source, count in rows),
    )
    yield Section(title="Which facts were said again", tables=(table,))


def _balance(config: SurveyConfig, kinds: dict[str, Kind]) -> Sequence[Section]:
    """How many letters of each task are to be made, so that none has to be thrown away."""
    if not config.shares:
        return ()
    scale = sum(config.shares.values())
    wanted = {task: share / scale for task, share in config.shares.items() if share > 0}
    had = {task: kinds[task].letters if task in kinds else 0 for task in wanted}
    total = max(had[task] / share for task, share in wanted.items())
    rows = tuple(
        (task, had[task], f"{share:.1%}", math.ceil(max(0.0, total * share - had[task])))
        for task, share in sorted(wanted.items())
    )
    table = Table(columns=("task", "letters", "wanted share", "letters to make"), rows=rows)
    return (Section(title="What to make next", tables=(table,)),)
