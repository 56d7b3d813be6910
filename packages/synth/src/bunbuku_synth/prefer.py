"""The stage `prefer`: right answers against wrong ones, made by rules and written by a model."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Dialogues,
    Draft,
    Preferences,
    stage,
)
from bunbuku_inference import Answer, Failure
from pydantic import Field, PositiveInt

from bunbuku_synth.best_of import BestOf, compare
from bunbuku_synth.contrasts import (
    AnyContrast,
    ArithmeticContrast,
    ClozeContrast,
    Contrast,
    MultipleChoiceContrast,
    Others,
    TranslateContrast,
)
from bunbuku_synth.faculty import Candidates, Faculty, TeacherRun
from bunbuku_synth.item import Item, Preference, preference, read_items, remove_shards, write_preferences
from bunbuku_synth.keys import draw, key_of
from bunbuku_synth.rivals import Rivals, rivals_of
from bunbuku_synth.strength import Strength, by_strength
from bunbuku_synth.tasks.teaching import TeacherSampling, request_of


class PreferConfig(Config):
    """What to contrast."""

    contrasts: tuple[AnyContrast, ...] = (
        TranslateContrast(),
        ClozeContrast(),
        MultipleChoiceContrast(),
        ArithmeticContrast(),
    )
    """Of type `translate`, `cloze`, `multiple_choice`, `arithmetic`, `classification`, `entailment`; each says how many wrong answers
    are made `by_rule`, and how many questions are put to the model (`by_model`). Of type `mathematics`, `solve`, `self_reward`: by a
    model alone. Items of other tasks are left alone."""
    best_of: BestOf | None = None
    """Answers of teachers to the dialogues' questions, compared by a judge in both orders."""
    strength: Strength | None = None
    """A stronger teacher's answers to the dialogues' questions against a weaker one's; verified by the `contrasts` of their tasks."""
    rivals: Rivals | None = None
    """Solutions that lost while the dialogues were made, of tasks that answer a question several times: nobody is asked anything."""
    teachers: dict[str, str] = Field(default_factory=dict[str, str])
    """Of the teachers that `best_of` and `strength` name: what each is called; its name at the server, if it is served."""
    seed: int = 0
    """Another seed draws other items and other wrong answers."""
    sampling: TeacherSampling = TeacherSampling(max_tokens=48)
    """How the model answers."""
    rows_per_shard: PositiveInt = 50_000
    """Preferences in a Parquet file."""


class PreferRun(TeacherRun):
    """Where the model runs, what it costs, and where its answers are kept."""


IN_PROCESS = PreferRun()
"""Where a model runs if nothing is said."""


@dataclass
class Contrasted:
    """What a run has contrasted so far."""

    preferences: dict[str, Preference] = field(default_factory=dict)
    """By id."""
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, item: Item, rejected: str, *, by: str, seed: int, source: str | None = None) -> bool:
        """Take in a preference, unless it is there already; whether it was taken in. It is counted under its `source`."""
        key = key_of(dialogue=item.id, rejected=rejected, rejected_by=by, seed=seed)
        if key.id in self.preferences:
            return False
        self.preferences[key.id] = preference(item, key, rejected=rejected, rejected_by=by)
        self.counts[f"preferences.{item.task}.{source or by.partition(':')[0]}"] += 1
        return True


@stage("synth.prefer", resumable=True, bitwise=False)
def prefer(
    draft: Draft,
    config: PreferConfig,
    dialogues: Artifact[Dialogues],
    model: Artifact[Checkpoint] | None = None,
    teachers: dict[str, Artifact[Checkpoint]] | None = None,
    *,
    run: PreferRun = IN_PROCESS,
) -> Preferences:
    """Set the right answers of dialogues against wrong ones.

    Wrong answers are made by rules (another sentence's translation, another word, another choice, a number close by),
    and written by a model (--model) that is asked the same questions and whose mistakes are taken. The task's checker
    must call each of them wrong: what might be right, such as a paraphrase, is counted and left out. With `best_of`, teachers
    answer the questions again, and a judge compares their answers, each pair in both orders: what it says of both is taken. With
    `strength`, a stronger teacher's answers are set against a weaker one's, verified where the task has a checker. With `rivals`,
    solutions are set against those that they won against when they were made.
    Every preference says which item it came from and who made the wrong answer.
    """
    contrasts = {contrast.type: contrast for contrast in config.contrasts}
    if model is None and any(contrast.by_model for contrast in config.contrasts):
        raise BunbukuError(
            "the config asks for a model's wrong answers (`by_model`), and no model was given",
            hint="give --model DIR, or leave `by_model` at 0",
        )
    every = list(read_items(dialogues))
    items = {task: [item for item in every if item.task == task] for task in contrasts}
    made = Contrasted()
    for task, contrast in contrasts.items():
        by_rule(contrast, items[task], made, seed=config.seed)
    if config.rivals:
        for item, rival in rivals_of(every, config.rivals, made.counts, seed=config.seed):
            made.add(item, rival.said, by=f"model:{rival.teacher}", seed=config.seed, source="rivals")
    checkpoints = {**(teachers or {}), **({"model": model} if model else {})}
    with Faculty(draft, Candidates(config.teachers, checkpoints), run) as faculty:
        if model:
            _ask_model(faculty, model, config, items, made)
        if config.best_of:
            found = compare(every, config.best_of, faculty, seed=config.seed)
            made.preferences |= {preference.id: preference for preference in found.preferences}
            made.counts += found.counts
        if config.strength:
            pairs = by_strength(every, config.strength, contrasts, faculty, made.counts, seed=config.seed)
            made.preferences |= {preference.id: preference for preference in pairs}
    return _write(draft, config, made)


def _ask_model(
    faculty: Faculty,
    model: Artifact[Checkpoint],
    config: PreferConfig,
    items: Mapping[str, Sequence[Item]],
    made: Contrasted,
) -> None:
    """Put questions to the model, and take its mistakes."""
    for contrast in config.contrasts:
        asked = _drawn(items[contrast.type], contrast.by_model, "model", config.seed)
        requests = [request_of(item.prompt, config.sampling, seed=item.seed) for item in asked]
        answers = faculty.ask("model", requests, step=f"model.{contrast.type}") if requests else []
        by_model(contrast, asked, answers, made, seed=config.seed, by=f"model:{model.content}")


def by_rule(contrast: Contrast, items: Sequence[Item], made: Contrasted, *, seed: int) -> None:
    """Contrast up to `by_rule` items with wrong answers of the same form."""
    forms: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.id):
        forms.setdefault(item.template, []).append(item)
    others = {template: Others(tuple(found)) for template, found in forms.items()}
    left = contrast.by_rule
    for item in _drawn(items, len(items), "rule", seed):
        if not left:
            break
        wrong = _first_wrong(contrast, item, contrast.wrong(item, others[item.template], seed=item.seed))
        if wrong is None:
            made.counts[f"rejected.{item.task}.no_wrong_answer"] += 1
        else:
            left -= made.add(item, wrong, by=f"rule:{contrast.rule}", seed=seed)


def by_model(
    contrast: Contrast,
    items: Sequence[Item],
    answers: Sequence[Answer | Failure],
    made: Contrasted,
    *,
    seed: int,
    by: str,
) -> None:
    """Take those of a model's answers that are certainly wrong."""
    for item, answer in zip(items, answers, strict=True):
        if isinstance(answer, Failure):
            made.counts[f"model_was.{item.task}.failed_{answer.reason}"] += 1
            continue
        text = answer.text.strip()
        verdict = contrast.verdict(item, text) if text else "empty"
        made.counts[f"model_was.{item.task}.{verdict}"] += 1
        if verdict == "wrong":
            made.add(item, text, by=by, seed=seed)


def _first_wrong(contrast: Contrast, item: Item, candidates: Iterator[str]) -> str | None:
    return next((given for given in candidates if contrast.verdict(item, given) == "wrong"), None)


def _drawn(items: Sequence[Item], count: int, label: str, seed: int) -> list[Item]:
    return draw(items, count, name=lambda item: item.id, label=f"prefer:{label}", seed=seed)


def _write(draft: Draft, config: PreferConfig, made: Contrasted) -> Preferences:
    draft.metrics |= {name: float(count) for name, count in sorted(made.counts.items())}
    if not made.preferences:
        tasks = ", ".join(contrast.type for contrast in config.contrasts)
        raise BunbukuError(
            f"no item of the tasks {tasks or '(none)'} has a wrong answer to set against it",
            hint="do the dialogues hold items of these tasks, several of each template?",
        )
    remove_shards(draft)
    rows = (made.preferences[id] for id in sorted(made.preferences))
    write_preferences(rows, draft, rows_per_shard=config.rows_per_shard)
    return Preferences()
