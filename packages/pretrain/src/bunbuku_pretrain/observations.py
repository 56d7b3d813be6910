"""What is seen of a run besides its history: files of lines in the scratch folder, published in the artifact's `log/`.

- `statistics.jsonl`  weights, gradients, activations and moments of AdamW layer by layer, every so many steps
- `samples.jsonl`     what the model wrote when it was validated
- `evaluations.jsonl` what the milestones' command found
- `events.jsonl`      what happened to the run: spikes, skipped batches, restarts, rollbacks

The first two belong to steps: a run that goes on from a state drops what lies after it, as of the history. The other two
are of the run as it went, and nothing is ever dropped from them. Times are in here and nowhere in the content.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bunbuku_contracts import Config
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from bunbuku_pretrain.lines import replace


class Watch(Config):
    """How closely a run is looked at. None of it changes what is trained."""

    statistics_interval_steps: PositiveInt = 20
    """Steps between two looks at every layer's gradients, activations and moments."""
    page_interval_seconds: PositiveFloat = 20.0
    """Seconds between two drawings of `log/run.html`; it waits longer where drawing takes more than a fiftieth of that."""
    device_peak_tflops: PositiveFloat | None = None
    """What one device could compute, in 10^12 operations a second and the number format trained in: gives the MFU."""
    sample_prompts: tuple[str, ...] = ()
    """Texts that the model goes on with whenever it is validated, always with its likeliest token."""
    sample_tokens: PositiveInt = 48
    """How far it goes on."""
    wandb_project: str | None = None
    """Project of Weights & Biases to log to as well. Needs `bunbuku-pretrain[wandb]`; its own environment variables hold."""


class Observation(Config):
    """One line of such a file."""

    step: NonNegativeInt


class Event(Observation):
    """Something that happened to a run. `step` is the one it was at."""

    time: float
    """Seconds since 1970."""
    kind: str
    """`start`, `failure`, `restart`, `spike`, `nan`, `skip`, `rollback`, `damaged`, `slow`, `milestone`, or another word."""
    text: str
    """One sentence for people."""


class Statistics(Observation):
    """The model at a step, row by row: the embedding, every layer from the first on, the head (last norm and output).

    Norms are over all ranks. Moments are those of AdamW with their bias corrected, as its step used them.
    """

    tokens: NonNegativeInt
    gradient_norm: tuple[float, ...]
    """Before clipping; the root of the sum of their squares is the gradient norm of the step."""
    weight_norm: tuple[float, ...]
    update_ratio: tuple[float, ...]
    """Norm of the step that AdamW took, weight decay included, over the norm of the weights."""
    activation_rms: tuple[float, ...]
    """Root of the mean square of what the row puts out, over tokens and channels."""
    activation_max: tuple[float, ...]
    """Largest magnitude among them."""
    root_moment_max: tuple[float, ...]
    """Largest sqrt(v): where it jumps, a gradient far from the usual came by."""
    steep_share: tuple[float, ...]
    """Share of weights with |m| > sqrt(v): their last gradients point all the same way."""
    root_moment_quantiles: tuple[float, ...]
    """Quantiles of sqrt(v) over all weights, at `QUANTILES`."""
    memory_bytes: NonNegativeInt
    """Most memory that a rank has had so far: of its GPU, or of its process where there is none."""
    seconds: NonNegativeFloat
    """Time it took the first rank to gather all this, the time in forward passes aside."""


QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)


class Prompt(Config):
    """A text to go on with, as ids too: ranks know no tokenizer."""

    text: str
    ids: tuple[NonNegativeInt, ...]


class Prompts(Config):
    """What the model is to go on with; written by the publisher."""

    prompts: tuple[Prompt, ...]
    end: NonNegativeInt
    """The id that ends a text."""


class Sample(Observation):
    """How the model went on from a prompt, always with its likeliest token."""

    prompt: str
    ids: tuple[NonNegativeInt, ...]


class Evaluation(Observation):
    """What a milestone's command found."""

    tokens: NonNegativeInt
    status: int
    """Exit status of the command; not 0 if it failed."""
    seconds: NonNegativeFloat
    metrics: Mapping[str, float] = Field(default_factory=dict)


def statistics_file(scratch: Path) -> Path:
    return scratch / "statistics.jsonl"


def prompts_file(scratch: Path) -> Path:
    return scratch / "prompts.json"


def samples_file(scratch: Path) -> Path:
    return scratch / "samples.jsonl"


def evaluations_file(scratch: Path) -> Path:
    return scratch / "evaluations.jsonl"


def events_file(scratch: Path) -> Path:
    return scratch / "events.jsonl"


def append(path: Path, observation: Observation) -> None:
    """Add a line, in one write, so that a reader or a kill finds it whole or at the end of the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(observation.model_dump_json() + "\n")


def note(scratch: Path, kind: str, text: str, *, step: int) -> None:
    """Add an event of now."""
    append(events_file(scratch), Event(time=time.time(), step=step, kind=kind, text=text))


def parse[O: Config](cls: type[O], lines: Iterable[str]) -> Iterator[O]:
    """The observations of whole lines; a line that a kill cut off is left out."""
    for line in lines:
        try:
            yield cls.model_validate_json(line)
        except ValidationError:
            continue


def read[O: Config](cls: type[O], path: Path) -> list[O]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as lines:
        return list(parse(cls, lines))


def cut(scratch: Path, *, after_step: int | None) -> None:
    """Drop what was seen of steps that will be taken again."""
    for cls, path in ((Statistics, statistics_file(scratch)), (Sample, samples_file(scratch))):
        if path.is_file():
            kept = [one for one in read(cls, path) if after_step is not None and one.step <= after_step]
            replace(path, "".join(f"{one.model_dump_json()}\n" for one in kept))
