"""Does alignment do what it is for? Fine-tuning and preferences, of several models, each with several seeds, on a page.

    python benchmarks/study_alignment.py --models dense=DIR moe=DIR --corpus DIR --parallel DIR#parallel --out DIR
        [--seeds 1 2 3] [--configs runs/alignment] [--minutes 50]

DIRs are artifacts of runs/tiny.sh: checkpoints in Hugging Face format, the split corpus, the raw one. Asked are verified tasks
over the test part, whose sentences no training item uses; a question that is asked in training all the same is left out.
An answer counts if it is, letter for letter in NFKC, the right one (`exact`), or if the task's checker calls it right
(`right`). What is made is not made again: a call ends after so many minutes, and the next one goes on.
"""

import argparse
import json
import statistics
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bunbuku_align import AlignRun, DpoConfig, MergeConfig, SftConfig, dpo, merge, sft
from bunbuku_align.page import write_page
from bunbuku_contracts import (
    Artifact,
    Checkpoint,
    Config,
    Corpus,
    Dialogues,
    Draft,
    Report,
    Section,
    Table,
    load,
    stage,
    write_sections,
)
from bunbuku_eval.metrics import exact_match
from bunbuku_inference import Answer, Message, Request, Sampling, TransformersEngine, open_model
from bunbuku_synth import GenerateConfig, Item, PreferConfig, generate, prefer, read_items
from bunbuku_synth.prefer import PreferRun
from pydantic import PositiveInt

ENGINE = TransformersEngine(threads=1, batch_size=64)
PLACE = AlignRun(device="cpu", threads=1)


class ExamConfig(Config):
    """How questions are put."""

    max_tokens: PositiveInt = 24


class Found(NamedTuple):
    """What one training did."""

    model: str
    seed: int
    figures: Mapping[str, float]


@stage("study.exam", bitwise=False)
def examine(
    draft: Draft,
    config: ExamConfig,
    checkpoint: Artifact[Checkpoint],
    questions: Artifact[Dialogues],
    taught: Artifact[Dialogues],
) -> Report:
    """How many questions a model answers rightly that no training row asks."""
    asked_in_training = {item.messages[0].content for item in read_items(taught)}
    items = [item for item in read_items(questions) if item.prompt[0].content not in asked_in_training]
    requests = [Request(prompt=chat(item), sampling=Sampling(max_tokens=config.max_tokens)) for item in items]
    with open_model(ENGINE, checkpoint.dir) as model:
        answers = model.try_generate(requests)  # a question too long for a model is one that it gets wrong
    contrasts = {contrast.type: contrast for contrast in PreferConfig().contrasts}
    told = [
        (item, answer.text.strip() if isinstance(answer, Answer) else "")
        for item, answer in zip(items, answers, strict=True)
    ]
    verdicts = [
        (item.task, exact_match(text, item.said), float(contrasts[item.task].verdict(item, text) == "right"))
        for item, text in told
    ]
    for task in ("all", *contrasts):
        of = [(exact, right) for name, exact, right in verdicts if task in ("all", name)]
        draft.metrics |= {
            f"questions.{task}": float(len(of)),
            f"exact.{task}": statistics.mean(exact for exact, _ in of),
            f"right.{task}": statistics.mean(right for _, right in of),
        }
    lines = [
        json.dumps([item.task, item.prompt[0].content, item.said, text], ensure_ascii=False) for item, text in told
    ]
    (draft.dir / "answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Report(title="Verified questions that no training asks")


def chat(item: Item) -> tuple[Message, ...]:
    """Its turns before the answer."""
    return tuple(Message(role=turn.role, content=turn.content) for turn in item.prompt)


class ComparisonConfig(Config):
    """The seeds of each model."""

    models: tuple[str, ...]
    seeds: tuple[int, ...]


@stage("study.alignment", bitwise=False)
def compare(
    draft: Draft,
    config: ComparisonConfig,
    before: dict[str, Artifact[Report]],
    taught: dict[str, Artifact[Report]],
    chosen: dict[str, Artifact[Report]],
    tuning: dict[str, Artifact[Checkpoint]],
    preferring: dict[str, Artifact[Checkpoint]],
) -> Report:
    """Put trainings side by side: before and after, by model, with the spread over seeds."""
    found = [
        Found(model, seed, figures_of(before[model], taught[key], chosen[key], tuning[key], preferring[key]))
        for model in config.models
        for seed in config.seeds
        for key in [f"{model}-{seed}"]
    ]
    for model in config.models:
        for name in found[0].figures:
            values = [one.figures[name] for one in found if one.model == model]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            draft.metrics |= {f"{model}.{name}.mean": statistics.mean(values), f"{model}.{name}.spread": spread}
    sections = [*sections_of(found, config), by_task(before, taught, chosen)]
    write_sections(draft, sections)
    write_page(draft.dir / "index.html", "Alignment: before and after", sections)
    return Report(title="Alignment: before and after", page="index.html")


def figures_of(
    before: Artifact[Report],
    taught: Artifact[Report],
    chosen: Artifact[Report],
    tuning: Artifact[Checkpoint],
    preferring: Artifact[Checkpoint],
) -> dict[str, float]:
    """What is claimed of alignment, and what it rests on."""
    found = {
        f"{kind}.{when}": of.manifest.metrics[f"{kind}.all"]
        for kind in ("exact", "right")
        for when, of in (("before", before), ("after SFT", taught), ("after DPO", chosen))
    }
    for what, trained in (
        ("SFT loss", tuning),
        ("DPO loss", preferring),
        ("DPO accuracy", preferring),
        ("DPO margin", preferring),
    ):
        for end in ("start", "end"):
            found[f"{what}.{end}"] = trained.manifest.metrics[f"held_out.{what.split()[1]}.{end}"]
    return found


def sections_of(found: Sequence[Found], config: ComparisonConfig) -> Iterator[Section]:
    """The means with the spread, and every training."""
    names = list(found[0].figures)
    rows = []
    for name in names:
        cells = []
        for model in config.models:
            values = [one.figures[name] for one in found if one.model == model]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread} ({min(values):.3f} to {max(values):.3f})")
        rows.append((name, *cells))
    yield Section(
        title="Means over seeds",
        paragraphs=(
            f"Each model with the seeds {', '.join(map(str, config.seeds))}: mean ± standard deviation (least to most). `exact` and"
            " `right` are shares of held-out verified questions, `DPO accuracy` is the share of held-out pairs whose chosen"
            " answer has the higher reward, a tie a half.",
        ),
        tables=(Table(columns=("figure", *config.models), rows=tuple(rows)),),
    )
    heads = (f"{one.model}, seed {one.seed}" for one in found)
    every = [(name, *(round(one.figures[name], 4) for one in found)) for name in names]
    yield Section(title="Every training", tables=(Table(columns=("figure", *heads), rows=tuple(every)),))


def by_task(*exams: Mapping[str, Artifact[Report]]) -> Section:
    """Exact matches by task, of every model at every time."""
    tasks = [contrast.type for contrast in PreferConfig().contrasts]
    rows = []
    for when, reports in zip(("before", "after SFT", "after DPO"), exams, strict=True):
        for name, one in sorted(reports.items()):
            metrics = one.manifest.metrics
            rows.append((when, name, *(round(metrics[f"exact.{task}"], 3) for task in tasks)))
    asked = next(iter(exams[0].values())).manifest.metrics
    heads = (f"{task} ({asked[f'questions.{task}']:.0f})" for task in tasks)
    return Section(title="Exact match by task", tables=(Table(columns=("when", "model", *heads), rows=tuple(rows)),))


@dataclass
class Made:
    """What was trained and asked, models by name, trainings by name and seed."""

    before: dict[str, Artifact[Report]] = field(default_factory=dict)
    taught: dict[str, Artifact[Report]] = field(default_factory=dict)
    chosen: dict[str, Artifact[Report]] = field(default_factory=dict)
    tuning: dict[str, Artifact[Checkpoint]] = field(default_factory=dict)
    preferring: dict[str, Artifact[Checkpoint]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Where things go, what is asked for, and until when."""

    out: Path
    configs: Path
    deadline: float

    def config[C: Config](self, kind: type[C], name: str, **changed: Any) -> C:
        """A file of the folder, with a few fields set."""
        if time.monotonic() > self.deadline:
            sys.exit("time is over: the same command goes on from here")
        return kind.model_validate(tomllib.loads((self.configs / f"{name}.toml").read_text()) | changed)

    def align(
        self,
        base: Artifact[Checkpoint],
        key: str,
        seed: int,
        rows: Artifact[Dialogues],
        exam: Artifact[Dialogues],
        made: Made,
    ) -> None:
        """Fine-tune, ask, prefer, ask again."""
        out = self.out
        tuning = self.config(SftConfig, "sft", seed=seed)
        made.tuning[key] = sft(out / f"{key}-sft", tuning, base, rows, run=PLACE)
        tuned = whole(out / f"{key}-sft-merged", base, made.tuning[key])
        made.taught[key] = examine(out / f"{key}-sft-exam", ExamConfig(), tuned, exam, rows)
        contrasts = self.config(PreferConfig, "prefer")
        pairs = prefer(out / f"{key}-pairs", contrasts, rows, model=tuned, run=PreferRun(engine=ENGINE))
        preferring = self.config(DpoConfig, "dpo", seed=seed)
        made.preferring[key] = dpo(out / f"{key}-dpo", preferring, tuned, pairs, run=PLACE)
        aligned = whole(out / f"{key}-dpo-merged", tuned, made.preferring[key])
        made.chosen[key] = examine(out / f"{key}-exam", ExamConfig(), aligned, exam, rows)


def whole(out: Path, base: Artifact[Checkpoint], trained: Artifact[Checkpoint]) -> Artifact[Checkpoint]:
    """What was trained, as a checkpoint: an adapter is folded into its base."""
    return merge(out, MergeConfig(), base, trained) if trained.spec.format == "peft" else trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--parallel", required=True, metavar="DIR#PART")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--configs", type=Path, default=Path(__file__).parents[1] / "runs" / "alignment")
    parser.add_argument("--minutes", type=float, default=50)
    options = parser.parse_args()
    study = Study(options.out, options.configs, time.monotonic() + 60 * options.minutes)
    folder, _, part = options.parallel.partition("#")
    parallel = load(Path(folder), Corpus, part=part)
    train, test = (load(options.corpus, Corpus, part=part) for part in ("train", "test"))
    rows = generate(study.out / "dialogues", study.config(GenerateConfig, "questions"), train, parallel)
    exam = generate(study.out / "exam", study.config(GenerateConfig, "exam"), test, parallel)
    models = dict(one.partition("=")[::2] for one in options.models)
    made = Made()
    for seed in options.seeds:
        for name, directory in models.items():
            base = load(Path(directory), Checkpoint)
            made.before[name] = examine(study.out / f"{name}-exam", ExamConfig(), base, exam, rows)
            study.align(base, f"{name}-{seed}", seed, rows, exam, made)
    plan = ComparisonConfig(models=tuple(models), seeds=tuple(options.seeds))
    page = compare(study.out / "page", plan, **vars(made))
    print(page.dir / "index.html")


if __name__ == "__main__":
    main()
