"""What a training run leaves behind for people: metrics in the manifest, curves and a table in `sections.json`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bunbuku_contracts import Curve, Draft, Section, Table, write_sections

from bunbuku_align.mix import Mix
from bunbuku_align.page import write_page

_SHOWN = {
    "loss": "training loss",
    "held_out/loss": "held-out loss",
    "held_out/accuracy": "held-out accuracy",
    "held_out/margin": "held-out reward margin",
    "held_out/logratio_chosen": "held-out log-ratio to the reference, chosen",
    "held_out/logratio_rejected": "held-out log-ratio to the reference, rejected",
    "held_out/kl": "held-out KL from the start, nats a token",
    "rewards/margins": "training reward margin",
    "rewards/accuracies": "training reward accuracy",
    "rewards/chosen": "training reward, chosen",
    "rewards/rejected": "training reward, rejected",
    "logps/chosen": "log-probability, chosen",
    "logps/rejected": "log-probability, rejected",
    "kl": "KL to the reference",
    "learning_rate": "learning rate",
    "aux_loss": "load-balancing loss",
}
_ROWS = ("seen", "train", "held_out", "truncated", "dropped.no_answer", "dropped.too_long")

type Point = dict[str, float]


class Sample(NamedTuple):
    """A prompt that is not trained on, and what is answered to it."""

    prompt: str
    data: str
    before: str
    after: str
    tokens_before: int
    """Length of that answer, its end token included."""
    tokens_after: int


@dataclass
class Training:
    """How a training run went: points in their order, each with its `step`."""

    steps: int
    seconds: float
    """Spent on steps by the process that ended it, evaluations left out."""
    points: list[Point] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    most_disk_bytes: int = 0
    """Most that the states took on disk at once, as far as this process saw."""

    def curve(self, name: str) -> tuple[tuple[float, float], ...]:
        """Step and value of every point of one quantity.

        >>> Training(2, 1.0, [{"step": 1, "loss": 3.5}, {"step": 2, "held_out/loss": 3.0}]).curve("loss")
        ((1, 3.5),)
        """
        return tuple((point["step"], point[name]) for point in self.points if name in point)


def report(
    draft: Draft, training: Training, counts: Counter[str], tokens: Mapping[str, int], *, mix: Mix, title: str
) -> None:
    """Put the run's numbers into the draft's metrics, and tables and curves into `sections.json` and a page."""
    draft.metrics |= {f"rows.{name}": float(counts[name]) for name in _ROWS}
    draft.metrics |= {f"tokens.{name}": float(count) for name, count in tokens.items()}
    draft.metrics |= {"steps": float(training.steps)} | _ends(training) | _speed(training)
    draft.metrics["disk_bytes.most"] = float(training.most_disk_bytes)
    sections = [_section(training, counts, tokens, title), mix.section()]
    if training.samples:
        draft.metrics |= _lengths(training.samples)
        sections.append(_told(training.samples))
    write_sections(draft, sections)
    write_page(draft.log / "report.html", title, sections)


def _told(samples: list[Sample]) -> Section:
    return Section(
        title="Answers before and after",
        paragraphs=("Of held-out rows: what the data says, and what the model said before the training and after it.",),
        tables=(
            Table(
                columns=("prompt", "data", "before", "after", "tokens before", "tokens after"),
                rows=tuple(tuple(sample) for sample in samples),
            ),
        ),
    )


def _lengths(samples: list[Sample]) -> dict[str, float]:
    """Mean tokens of the answers before and after."""
    return {
        "samples.tokens.start": sum(sample.tokens_before for sample in samples) / len(samples),
        "samples.tokens.end": sum(sample.tokens_after for sample in samples) / len(samples),
    }


def _ends(training: Training) -> dict[str, float]:
    """The first and the last value of every curve that is shown."""
    found: dict[str, float] = {}
    for name in _SHOWN:
        if curve := training.curve(name):
            dotted = name.replace("/", ".")
            found |= {f"{dotted}.start": curve[0][1], f"{dotted}.end": curve[-1][1]}
    return found


def _speed(training: Training) -> dict[str, float]:
    """Tokens a second, padding not counted; the trainer counts those of its own process."""
    counted = training.curve("num_tokens")
    return {"seconds": training.seconds} | (
        {"tokens_per_second": counted[-1][1] / training.seconds} if counted and training.seconds else {}
    )


def _section(training: Training, counts: Counter[str], tokens: Mapping[str, int], title: str) -> Section:
    rows = [("rows " + name.replace("_", " ").replace(".", ": "), counts[name]) for name in _ROWS]
    rows += [("tokens " + name.replace("_", " "), count) for name, count in tokens.items()]
    rows += [("steps", training.steps)]
    curves = [
        Curve(name=label, x_label="step", y_label=label, points=training.curve(name))
        for name, label in _SHOWN.items()
        if training.curve(name)
    ]
    table = Table(columns=("what", "count"), rows=tuple(rows), caption="What was read and what was trained on")
    return Section(title=title, tables=(table,), curves=tuple(curves))
