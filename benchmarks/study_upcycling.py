"""Is it worth while to upcycle, and how? Arms of one study, trained by the commands of this project and compared on a page.

    python benchmarks/study_upcycling.py --tokens DIR --tokenizer DIR --out DIR [--study runs/upcycling/study.toml]
        [--phase screen|final] [--minutes 50] [--arms copy drop] [--corpora NAME=DIR ...]

DIRs are artifacts, such as those of runs/small.sh. `screen` trains every arm with the first seeds, `final` the named ones with
all. What is made is not made again: a call ends after so many minutes, between two commands, and the next one goes on; so
does the training that was stopped. When everything is there, OUT/page/index.html shows it.

A model from scratch is a random dense one of which all experts are drawn anew: nothing in it has been trained.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bunbuku_contracts import (
    Artifact,
    Checkpoint,
    Config,
    Draft,
    Picture,
    Report,
    Section,
    Table,
    load,
    read_sections,
    stage,
    write_sections,
)
from bunbuku_moe_upcycle.pictures import panels

BIN = Path(sys.executable).parent
SIGNS = (
    ("Skywork-MoE, fig. 3: normalised gates, lower loss", "validation.loss", "copy", "copy-plain"),
    ("Skywork-MoE, fig. 4: normalised gates are sharper (Max1/Max2)", "mixture.max1_max2", "copy-plain", "copy"),
    ("Skywork-MoE, section 3: with a small budget upcycling beats scratch", "validation.loss", "copy", "scratch"),
    ("Sparse Upcycling: a mixture beats the dense model that is trained on", "validation.loss", "copy", "dense"),
    ("Drop-Upcycling, fig. 3: half redrawn beats copies", "validation.loss", "drop", "copy"),
    ("Drop-Upcycling, fig. 3: half redrawn beats scratch", "validation.loss", "drop", "scratch"),
    (
        "Tanuki: little noise costs nothing at the start",
        "validation.loss_before",
        "noise-relative-.001",
        "noise-relative-.05",
    ),
    ("Tanuki: much noise breaks the model", "validation.loss_before", "noise-relative-.05", "noise-relative-1"),
    ("Skywork-MoE, fig. 5: experts of copies stay more alike than those from scratch", "similarity", "scratch", "copy"),
)
"""What is published, the figure, and the arm of which it is expected to be the smaller one, before the other."""
LAST_STEPS = 20
"""So many steps are the end of a training."""


class Study(NamedTuple):
    """What is to be done, and where."""

    plan: dict[str, Any]
    out: Path
    tokens: Path
    tokenizer: Path
    deadline: float

    def run(self, program: str, *words: object) -> None:
        """One command, unless its time is over."""
        if time.monotonic() > self.deadline:
            sys.exit("time is over: the same command goes on from here")
        line = [str(word) for word in words]
        print("$", program, *line, flush=True)
        if subprocess.run([str(BIN / program), *line], stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"{program} {' '.join(line)} failed")

    def train(self, name: str, seed: int, *, tokens: int, rate: float, start: Path | None, model: bool = False) -> Path:
        """A training and what it was exported to."""
        batch = self.plan["train"]["batch_tokens"]
        fields = self.plan["train"] | {"total_tokens": max(batch, tokens // batch * batch), "seed": seed}
        fields |= {"optimizer": {"learning_rate": rate, "beta2": 0.99}}
        if model:
            fields["model"] = self.plan["model"]
        elif start and load(start, Checkpoint).spec.architecture.experts:
            fields["milestone_interval_tokens"] = self.plan["similarity_tokens"]
        config = self._write(f"{name}.toml", fields)
        run = self._write("run.toml", self.plan["run"])
        made = self.out / "trained" / name
        begin = ["--start", start] if start else []
        where = ["--tokens", self.tokens, "--tokenizer", self.tokenizer]
        self.run("bunbuku-pretrain", "train", config, "--run", run, *where, *begin, "--out", made)
        exported = self.out / "exported" / name
        self.run("bunbuku-pretrain", "export", "--checkpoint", made, "--tokenizer", self.tokenizer, "--out", exported)
        return exported

    def upcycle(self, name: str, seed: int, parent: Path, arm: Mapping[str, Any], strategy: Mapping[str, Any]) -> Path:
        fields = {"experts": self.plan["experts"], "active": self.plan["active"], "seed": seed, "strategy": strategy}
        if "normalization" in arm:
            fields["normalization"] = arm["normalization"]
        made = self.out / "upcycled" / name
        config = self._write(f"upcycle-{name}.toml", fields)
        self.run("bunbuku-moe-upcycle", "upcycle", config, "--checkpoint", parent, "--out", made)
        return made

    def _write(self, name: str, fields: Mapping[str, Any]) -> Path:
        path = self.out / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in fields.items()))
        return path


def toml(value: Any) -> str:
    """A value in one line of TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--study", type=Path, default=Path(__file__).parents[1] / "runs" / "upcycling" / "study.toml")
    parser.add_argument("--phase", choices=("screen", "final"), default="screen")
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--arms", nargs="*", default=[], help="only these, to begin with")
    parser.add_argument("--corpora", nargs="*", default=[], metavar="NAME=DIR", help="to see which experts take what")
    options = parser.parse_args()
    plan = tomllib.loads(options.study.read_text())
    deadline = time.monotonic() + 60 * options.minutes
    study = Study(plan, options.out, options.tokens, options.tokenizer, deadline)
    wanted = list(plan["arms"]) if options.phase == "screen" else plan["named"]
    seeds = plan["screen"] if options.phase == "screen" else plan["final"]
    parent = study.train(
        "parent", 0, tokens=plan["parent_tokens"], rate=plan["rates"]["parent"], start=None, model=True
    )
    chosen = [arm for arm in wanted if not options.arms or arm in options.arms]
    for seed in seeds:
        for arm in chosen:
            train_arm(study, arm, seed, parent)
    show(study, options.phase, chosen, seeds, options.corpora)


def train_arm(study: Study, arm: str, seed: int, parent: Path) -> None:
    """Begin as the arm says, and train."""
    what, name, rates = study.plan["arms"][arm], f"{arm}-seed{seed}", study.plan["rates"]
    start = parent
    if what["start"] == "scratch":
        # One step at no rate worth the name: weights as they are drawn.
        random = study.train(f"random-seed{seed}", seed, tokens=1, rate=1e-12, start=None, model=True)
        start = study.upcycle(name, seed, random, what, {"type": "drop", "ratio": 1.0})
    elif what["start"] == "upcycled":
        start = study.upcycle(name, seed, parent, what, what["strategy"])
    tokens = study.plan["tokens"]
    if what.get("compute"):
        tokens = round(tokens * cost_of_mixture(study, parent))
    study.train(name, seed + 1, tokens=tokens, rate=rates["arms"], start=start)


def cost_of_mixture(study: Study, parent: Path) -> float:
    """Operations of a token in the mixture over those in the dense model."""
    from bunbuku_contracts import Experts

    dense = load(parent, Checkpoint).spec.architecture
    mixture = dense.model_copy(update={"experts": Experts(count=study.plan["experts"], active=study.plan["active"])})
    length = study.plan["train"]["sequence_length"]
    return mixture.flops_per_token(length) / dense.flops_per_token(length)


def show(study: Study, phase: str, arms: Sequence[str], seeds: Sequence[int], corpora: Sequence[str]) -> None:
    """The page."""
    names = {arm: [f"{arm}-seed{seed}" for seed in seeds] for arm in arms}
    label = (
        phase if len(arms) == len(study.plan["arms"] if phase == "screen" else study.plan["named"]) else f"{phase}-part"
    )
    mixtures = [name for arm in arms if study.plan["arms"][arm]["start"] != "dense" for name in names[arm]]
    firsts = {of[0] for of in names.values()}
    looks = [words for name in mixtures for words in looks_at(study, name, on_the_way=name in firsts)]
    found: dict[str, Artifact[Report]] = {}
    if mixtures:
        study.run("bunbuku-moe-upcycle", "similarity", *looks, "--out", study.out / f"similarity-{label}")
        found["similarity"] = load(study.out / f"similarity-{label}", Report)
    if mixtures and corpora:
        words = [
            word
            for arm in arms
            for name in names[arm][:1]
            if name in mixtures
            for word in ("--checkpoints", f"{name}={study.out / 'exported' / name}")
        ]
        words += [word for corpus in corpora for word in ("--corpora", corpus)]
        study.run("bunbuku-moe-upcycle", "routing", *words, "--out", study.out / f"routing-{label}")
        found["routing"] = load(study.out / f"routing-{label}", Report)
    trained = {name: load(study.out / "trained" / name, Checkpoint) for arm in arms for name in names[arm]}
    made = compare(
        study.out / f"comparison-{label}",
        ComparisonConfig(arms={a: tuple(n) for a, n in names.items()}),
        trained,
        found,
    )
    print(*(f"{row}" for row in read_sections(made)[0].tables[0].rows), sep="\n")
    reports = [word for name, one in {"study": made, **found}.items() for word in ("--reports", f"{name}={one.dir}")]
    study.run("bunbuku-eval", "report", *reports, "--out", study.out / f"page-{label}")
    print(study.out / f"page-{label}" / "index.html")


def looks_at(study: Study, name: str, *, on_the_way: bool) -> Iterator[str]:
    """The experts of a run in the end, and of an arm's first seed as they were upcycled and on the way."""
    if on_the_way:
        yield from ("--checkpoints", f"{name}@start={study.out / 'upcycled' / name}")
        for path in sorted((study.out / "trained").glob(f"{name}@*")):
            yield from ("--checkpoints", f"{path.name}={path}")
    yield from ("--checkpoints", f"{name}@end={study.out / 'exported' / name}")


class ComparisonConfig(Config):
    """Which trainings belong to which arm."""

    arms: dict[str, tuple[str, ...]]


@stage("study.upcycling", revision=3)
def compare(
    draft: Draft,
    config: ComparisonConfig,
    trained: dict[str, Artifact[Checkpoint]],
    reports: dict[str, Artifact[Report]],
) -> Report:
    """Put the arms of a study side by side."""
    similarity = reports["similarity"].manifest.metrics if "similarity" in reports else {}
    figures = {name: dict(one.manifest.metrics) | at_the_end(one) for name, one in trained.items()}
    for name, of in figures.items():
        if f"similarity.{name}@end.mean" in similarity:
            of["similarity"] = similarity[f"similarity.{name}@end.mean"]
    curves = {name: curve(one, "validation loss") for name, one in trained.items()}
    target = (
        statistics.mean(figures[name]["validation.loss"] for name in config.arms["dense"])
        if "dense" in config.arms
        else None
    )
    rows, means = [], {}
    for arm, names in config.arms.items():
        parity = [reached(curves[name], target) for name in names] if target is not None else [None]
        shown = (
            "validation.loss_before",
            "validation.loss",
            "similarity",
            "mixture.max1_max2",
            "mixture.most_load",
            "mixture.dead",
        )
        spread = {figure: of_seeds([figures[name].get(figure) for name in names]) for figure in shown}
        rows.append((arm, len(names), *spread.values(), of_seeds(parity)))
        means[arm] = average([curves[name] for name in names])
        loss = [figures[name]["validation.loss"] for name in names]
        draft.metrics[f"{arm}.validation.loss"] = statistics.mean(loss)
        if len(loss) > 1:
            draft.metrics[f"{arm}.validation.loss.deviation"] = statistics.stdev(loss)
    shapes = {arm: trained[names[0]].spec.architecture for arm, names in config.arms.items()}
    costs = {arm: shape.flops_per_token(shape.max_positions) for arm, shape in shapes.items()}
    by_compute = {arm: [(x * costs[arm] / 1e12, y) for x, y in points] for arm, points in means.items()}
    panels(draft.dir / "loss.png", "tokens", {"validation loss, nats a token": means})
    panels(draft.dir / "compute.png", "operations, 10¹²", {"validation loss, nats a token": by_compute})
    sharp = {
        arm: average([curve(trained[name], "most used expert") for name in names]) for arm, names in config.arms.items()
    }
    pictures = [
        Picture(path="loss.png", caption="By tokens after the start, mean over seeds."),
        Picture(path="compute.png", caption="The same by operations after the start."),
    ]
    if any(sharp.values()):
        panels(
            draft.dir / "load.png", "tokens", {"load of the most used expert": {a: p for a, p in sharp.items() if p}}
        )
        pictures.append(
            Picture(path="load.png", caption="Tokens of the most used expert of any layer over an even share.")
        )
    columns = (
        "arm",
        "seeds",
        "loss at the start",
        "loss",
        "similarity",
        "Max1/Max2",
        "most load",
        "dead",
        "tokens to the dense model's loss",
    )
    arms = Table(
        columns=columns,
        rows=tuple(rows),
        caption="Mean and standard deviation over seeds, all of one dense parent; loss in nats a token, "
        f"routing as the mean of the last {LAST_STEPS} steps.",
    )
    published = Table(
        columns=("published", "figure", "smaller", "larger", "difference", "here"),
        rows=tuple(sign(config, figures, *one) for one in SIGNS if {one[2], one[3]} <= set(config.arms)),
        caption="Means of the differences within a seed, whose arms read the same text in the same order; one that is "
        "smaller than its standard error is said to be no difference. One seed has no error: its order may be chance.",
    )
    write_sections(draft, (Section(title="Upcycling: the arms", tables=(arms, published), pictures=tuple(pictures)),))
    return Report(title="Upcycling, a study")


def sign(
    config: ComparisonConfig, figures: Mapping[str, Mapping[str, float]], says: str, figure: str, small: str, large: str
) -> tuple[Any, ...]:
    """Whether the published order is found, seed by seed where both arms have the same seeds."""
    values = [
        [v for name in config.arms[arm] if (v := figures[name].get(figure)) is not None] for arm in (small, large)
    ]
    if not all(values):
        return says, figure, small, large, None, "not measured"
    differences = [larger - smaller for smaller, larger in zip(*values, strict=False)]
    difference = statistics.mean(differences)
    if len(differences) == 1:
        order = "the same order" if difference > 0 else "the other order"
        return says, figure, small, large, round(difference, 4), f"{order}, one seed"
    error = statistics.stdev(differences) / len(differences) ** 0.5
    verdict = "no difference" if abs(difference) <= error else "the same" if difference > 0 else "the other way round"
    return says, figure, small, large, round(difference, 4), verdict


def at_the_end(artifact: Artifact[Checkpoint]) -> dict[str, float]:
    """What the routers did, as means over the last steps: one batch alone is noisy."""
    lines = (artifact.dir / "log" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    mixtures = [mixture for line in lines[-LAST_STEPS:] if (mixture := json.loads(line).get("mixture"))]
    return {
        f"mixture.{name}": statistics.mean(found)
        for name in ("max1_max2", "most_load", "dead")
        if (found := [one[name] for one in mixtures if one.get(name) is not None])
    }


def curve(artifact: Artifact[Checkpoint], name: str) -> list[tuple[float, float]]:
    return next(
        (list(one.points) for section in read_sections(artifact) for one in section.curves if one.name == name), []
    )


def average(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Point by point, as far as all of them go."""
    return [(points[0][0], statistics.mean(y for _, y in points)) for points in zip(*curves, strict=False)]


def reached(points: Sequence[tuple[float, float]], target: float) -> float | None:
    """Where the curve first is at or below the target, or nowhere."""
    return next((x for x, y in points if y <= target), None)


def of_seeds(values: Sequence[float | None]) -> str | None:
    """Mean and standard deviation of what there is."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    mean, spread = statistics.mean(there), statistics.stdev(there) if len(there) > 1 else 0.0
    if mean >= 1000:
        return f"{mean:,.0f} ± {spread:,.0f}" if len(there) > 1 else f"{mean:,.0f}"
    return f"{mean:.4g} ± {spread if spread > 1e-6 else 0:.2g}" if len(there) > 1 else f"{mean:.4g}"


if __name__ == "__main__":
    main()
