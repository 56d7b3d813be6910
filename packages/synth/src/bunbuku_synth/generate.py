"""The stage `generate`: read sources, let each task write, keep what is new, write it with its lineage."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Config, Corpus, Dialogues, Draft, Report, stage
from bunbuku_inference import Answer, Failure
from pydantic import Field, PositiveInt

from bunbuku_synth.faculty import DEFAULT, Candidates, Faculty, TeacherRun
from bunbuku_synth.item import Dropped, Item, remove_shards, write_dropped, write_items
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks import AnyTask
from bunbuku_synth.tasks.chain import ChainTask
from bunbuku_synth.tasks.running import Outcome, run_chain
from bunbuku_synth.tasks.task import RuleTask, Task, select
from bunbuku_synth.tasks.teaching import Asked, TeacherTask

_log = logging.getLogger(__name__)


class GenerateConfig(Config):
    """What to make."""

    tasks: Annotated[tuple[AnyTask, ...], Field(min_length=1)]
    """Of type `translate`, `cloze`, `multiple_choice`, `arithmetic`, `entailment`, `extraction`, `classification`, `mathematics`,
    `logic`, `code`; asked of a teacher `rewrite`, `question_answer`; in steps `rephrase`, `instruct`, `solve`, `self_reward`,
    `textbook`, `debate`, `transcript`, `facts`, `chain`; or what other packages declare under `bunbuku.recipes`. Each has a `count` and fields of its own. Of two items that ask the same, the earlier task's is kept, and a rule task's before a teacher's."""
    seed: int = 0
    """Another seed draws other sources, other templates and other choices."""
    teacher: str | None = None
    """What items call the teacher; its name at the server if it is served. Its digest is added where it is known."""
    teachers: dict[str, str] = Field(default_factory=dict[str, str])
    """Of the other teachers that steps name (`translator`, `judge`): what items call each."""
    teacher_licence: str | None = None
    """Licence of a teacher that is a file or a server; a checkpoint states its own."""
    rows_per_shard: PositiveInt = 50_000
    """Items in a Parquet file."""


class GenerateRun(TeacherRun):
    """Where teachers run, what they cost, and where their replies are kept."""


IN_PROCESS = GenerateRun()
"""Where a model runs if nothing is said."""


@dataclass
class Made:
    """What a run has made so far."""

    items: list[Item] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """Questions, normalized."""
    metrics: dict[str, float] = field(default_factory=dict)

    def add(self, task: Task, candidates: Iterable[Item], tally: Counter[str]) -> None:
        """Take in what a task wants of its candidates, and count what became of the rest."""
        items, dropped = select(candidates, task.most, seen=self.seen, spread=task.spreads, asks_again=task.asks_again)
        self.items += items
        self.dropped += dropped
        tally.update(entry.reason for entry in dropped)
        self.count(f"items.{task.label}", len(items))
        self.count(f"missing.{task.label}", task.most - len(items))
        for reason, count in sorted(tally.items()):
            self.count(f"rejected.{task.label}.{reason}", count)
        if isinstance(task, RuleTask) and len(items) < task.count:
            _log.warning("%s: only %d of %d items; %s", task.label, len(items), task.count, dict(tally))

    def add_taught(
        self, task: TeacherTask, asked: Sequence[Asked], answers: Sequence[Answer | Failure], *, teacher: str
    ) -> None:
        """Take in those of a teacher's replies that hold; the others are dropped with their reason."""
        tally: Counter[str] = Counter()
        kept: list[Item] = []
        tokens: dict[str, int] = {}
        for one, answer in zip(asked, answers, strict=True):
            tokens[one.key.id] = 0 if isinstance(answer, Failure) else answer.completion_tokens
            outcome, repairs = task.outcome(one, answer, teacher=teacher)
            for name in repairs:
                self.count(f"repaired.{task.label}.{name}", 1)
            if isinstance(outcome, Dropped):
                self.dropped.append(outcome)
                tally[outcome.reason] += 1
            else:
                kept.append(outcome)
        before = len(self.items)
        self.add(task, kept, tally)
        accepted = sum(tokens[item.id] for item in self.items[before:])
        self.count(f"completion_tokens.{task.label}", sum(tokens.values()))
        self.count(f"accepted_tokens.{task.label}", accepted)
        self.count("accepted_tokens", accepted)

    def add_chained(self, task: ChainTask, outcome: Outcome) -> None:
        """Take in what a chain made; the rest is dropped with its reason."""
        self.dropped += outcome.dropped
        tally: Counter[str] = Counter()
        for name, count in sorted(outcome.tally.items()):
            group, _, reason = name.partition(".")
            if group == "rejected":
                tally[reason] += count
            else:
                self.count(f"{group}.{task.label}{'.' if reason else ''}{reason}", count)
        before = len(self.items)
        self.add(task, outcome.items, tally)
        taken = {item.id for item in self.items[before:]}
        for by in (rival.worse_by for item in self.items[before:] for rival in item.rivals or ()):
            self.count(f"rivals.{task.label}.{by}", 1)
        self.metrics |= {f"{name}.{task.label}.{what}": value for name, what, value in _spread(outcome.measures)}
        kept = sum(outcome.tokens[id] for id in taken)
        self.count(f"accepted_tokens.{task.label}", kept)
        self.count("accepted_tokens", kept)

    def count(self, name: str, count: int) -> None:
        """Add to a metric."""
        if count:
            self.metrics[name] = self.metrics.get(name, 0.0) + count


def _spread(measures: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, str, float]]:
    """How what was measured is spread: name, statistic, value."""
    for name, values in sorted(measures.items()):
        for what, quantile in (("least", 0.0), ("p05", 0.05), ("median", 0.5), ("p95", 0.95), ("most", 1.0)):
            yield name, what, float(np.quantile(values, quantile))


@stage("synth.generate", revision=4, resumable=True, bitwise=False)
def generate(
    draft: Draft,
    config: GenerateConfig,
    corpus: Artifact[Corpus],
    parallel: Artifact[Corpus] | None = None,
    teacher: Artifact[Checkpoint] | None = None,
    teacher_file: Path | None = None,
    teachers: dict[str, Artifact[Checkpoint]] | None = None,
    coverage: Artifact[Report] | None = None,
    *,
    run: GenerateRun = IN_PROCESS,
) -> Dialogues:
    """Make dialogues of a corpus part: ten kinds that are right by construction, and eleven that teachers write.

    Rule tasks need no model, and their answers are right by how the items are built. The others ask a model: a
    checkpoint (--teacher), a folder or GGUF file (--teacher-file), or a server (an `openai` engine in --run). Pairs of
    sentences (--parallel DIR#parallel) are used only where their block is a document of the corpus part, so the same
    command over the test part makes evaluation items that no training item gives away. Every item says which source,
    template, generator and seed it came from; what was turned down is in part `dropped`, with the reason: replies that do not hold, and
    items that ask what another one asks.
    """
    library = Library(corpus, parallel, coverage)
    made = Made()
    checkpoints = {**(teachers or {}), **({DEFAULT: teacher} if teacher else {})}
    names = {**config.teachers, **({DEFAULT: config.teacher} if config.teacher else {})}
    candidates = Candidates(names, checkpoints, {DEFAULT: teacher_file} if teacher_file else {})
    with Faculty(draft, candidates, run) as faculty:
        for name in sorted({name for task in config.tasks for name in _teachers(task)}):
            faculty.identity(name)  # before anything is made
        for task in draft.track(config.tasks, unit="tasks", total=len(config.tasks)):
            if isinstance(task, RuleTask):
                tally: Counter[str] = Counter()
                made.add(task, task.write(library, seed=config.seed, tally=tally), tally)
        for task in config.tasks:
            _teach(task, library, faculty, made, seed=config.seed)
            faculty.account.accepted_tokens = int(made.metrics.get("accepted_tokens", 0))
        for name, count in sorted(library.unfit.items()):
            made.count(f"no_passage.{name}", count)
        if accepted := made.metrics.get("accepted_tokens"):
            made.metrics["cost.per_million_accepted_tokens"] = faculty.account.cost / accepted * 1e6
    return _write(draft, config, made)


def _teachers(task: Task) -> set[str]:
    if isinstance(task, ChainTask):
        return {step.teacher for step in task.steps}
    return {DEFAULT} if isinstance(task, TeacherTask) else set()


def _teach(task: Task, library: Library, faculty: Faculty, made: Made, *, seed: int) -> None:
    """Have teachers do a task that is theirs."""
    if isinstance(task, TeacherTask):
        name = faculty.identity(DEFAULT)
        asked = list(task.ask(library, seed=seed, teacher=name))
        answers = faculty.ask(DEFAULT, [one.request for one in asked], step=task.label) if asked else []
        made.add_taught(task, asked, answers, teacher=name)
    elif isinstance(task, ChainTask):
        made.add_chained(task, run_chain(task, task.starts(library, seed=seed), faculty, seed=seed))


def _write(draft: Draft, config: GenerateConfig, made: Made) -> Dialogues:
    draft.metrics |= made.metrics
    if not made.items:
        reasons = (
            ", ".join(sorted(name for name in made.metrics if name.startswith("rejected."))) or "there is no source"
        )
        raise BunbukuError(
            f"none of the {len(config.tasks)} tasks made an item: {reasons}",
            hint="is it the right part of the corpus, do its sentences fit the tasks' lengths, and do documents say their language "
            "(`bunbuku-corpus clean` finds it out)?",
        )
    remove_shards(draft)
    write_items(sorted(made.items, key=lambda item: item.id), draft, rows_per_shard=config.rows_per_shard)
    dropped = sorted(made.dropped, key=lambda entry: entry.item.id)
    write_dropped(dropped, draft, rows_per_shard=config.rows_per_shard)
    return Dialogues(licences=tuple(sorted(_licences(config, made))))


def _licences(config: GenerateConfig, made: Made) -> set[str]:
    """Licences that no input states: of the items themselves and of a teacher that is no artifact."""
    own = {item.licence for item in made.items}
    return own | ({config.teacher_licence} if config.teacher_licence else set())
