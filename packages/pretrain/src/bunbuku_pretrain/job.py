"""What the publisher tells its ranks and what they tell it: files in the scratch folder of the draft.

- `job.json`        what to do, written before the ranks start
- `history.jsonl`   a line a step, written by the first rank; a run that goes on drops what lies after its state
- `packings/`       documents put together into sequences, if they are packed
- `states/`         training states to go on from
- `milestones/`     weights on the way, until the publisher has published them
- `outcome.json`    how it ended

What is seen of the run besides, events among it, is in files of `observations`.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from bunbuku_contracts import Architecture, Config
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from bunbuku_pretrain import observations
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.laps import Lap, stints
from bunbuku_pretrain.lines import read_until_cut, replace, until_cut
from bunbuku_pretrain.reading import HeldOut, Reading, Sampler, TokenFile
from bunbuku_pretrain.spikes import Memory
from bunbuku_pretrain.training import TrainConfig, TrainRun

STATE = "state.json"
DEAD = 0.01
"""An expert with less than this share of an even load is called dead."""


class Start(Config):
    """A checkpoint to begin from."""

    folder: Path
    format: Literal["hf", "megatron"]
    max_positions: NonNegativeInt = 0
    """Tokens of the longest sequence it was trained on."""


class Job(Config):
    """All that a rank needs to know."""

    config: TrainConfig
    settings: TrainRun
    architecture: Architecture
    vocabulary: int
    """Ids of the tokenizer, without padding."""
    parts: dict[str, TokenFile]
    """What is read, by the names of the parts."""
    train_part: str
    """The part that phases without a mix read."""
    laps: tuple[Lap, ...]
    """In which the parts are read."""
    sampler: Sampler
    """What was read before the run."""
    held_out: tuple[HeldOut, ...] = ()
    dtype: str
    """Number format of the token files."""
    schedule_before: NonNegativeInt = 0
    """Tokens that the schedule had behind it when the run began."""
    start: Start | None
    resume: Path | None
    """State of this run to go on from."""
    milestone_steps: tuple[int, ...]
    """Those that are still to be saved."""
    scratch: Path
    log: Path
    """For what people look at when something went wrong."""

    @property
    def course(self) -> Course:
        return Course(self.config, schedule_before=self.schedule_before)

    @property
    def reading(self) -> Reading:
        return Reading(
            self.course,
            default=self.train_part,
            laps=self.laps,
            before=self.sampler.read,
            seed=self.config.seed,
            packings=packings(self.scratch),
        )

    def standing(self, step: int) -> dict[str, Any]:
        """What a state after this step says about the course of the run: fields of `TrainState`."""
        course, passed = self.course, list(self.reading.read_after(step))
        read = tuple(stint for part in self.parts for stint in stints(s for s in passed if s.part == part))
        return {
            "step": step,
            "tokens": course.tokens_after(step),
            "rope_theta": course.rope_theta_after(step, self.architecture.rope_theta),
            "max_positions": max(self.start.max_positions if self.start else 0, course.longest_until(step)),
            "schedule_tokens": self.schedule_before + course.tokens_after(step),
            "sampler": self.sampler.model_copy(update={"read": read}),
        }


class TrainState(Config):
    """Where in a run a state is. Everything else is in Megatron's files, or follows from the config."""

    step: NonNegativeInt
    tokens: NonNegativeInt
    """Tokens of this run behind it."""
    rope_theta: float | None = None
    """Base of the rotary positions it was trained with."""
    max_positions: NonNegativeInt = 0
    """Tokens of the longest sequence it was trained on."""
    schedule_tokens: NonNegativeInt = 0
    """Tokens that the schedule has behind it."""
    sampler: Sampler | None = None
    """What was read of every part, by this run and by those whose reading it goes on with."""
    shared_optimizer: bool = False
    """Whether the optimizer's state is the distributed one: Megatron reads each kind only as what it was."""
    memory: Memory = Memory()
    """What the policy for bad steps knows."""
    detours: NonNegativeInt = 0
    """How many detours had been decided; see `detours`."""


class LayerMixture(Config):
    """How one layer of a mixture fared in a step."""

    load: tuple[float, ...]
    """Tokens of each expert, over an even share."""
    entropy: float
    max1_max2: float
    dropped: float | None = None
    """Share of the choices beyond what experts could take; see `Mixture.dropped`."""
    coefficient: float | None = None
    """Of the load-balancing loss in the next step, where it is adaptive."""

    @property
    def dead(self) -> int:
        """Experts with less than a hundredth of an even share."""
        return sum(one < DEAD for one in self.load)


class Mixture(Config):
    """How a mixture of experts fared in a step, averaged over its layers."""

    balance: float
    """Load-balancing loss before its coefficient; 1 is even."""
    z_loss: float
    """Mean square of the log of the sum of the exponentials of the raw router logits. Measured, not trained on."""
    least_load: float
    """Tokens of the least used expert of any layer, over an even share."""
    most_load: float
    entropy: float | None = None
    """Of a token's gates over all experts before the choice, in nats; the logarithm of their number if all are even."""
    max1_max2: float | None = None
    """A token's largest gate over the next one (Skywork-MoE, arXiv:2406.06563), as a geometric mean over tokens."""
    dead: NonNegativeInt | None = None
    """Experts of all layers with less than a hundredth of an even share of the step's tokens."""
    dropped: float | None = None
    """Share of the step's choices beyond `adaptive_balance.capacity_factor` times an even share, 1 where none is given: what
    experts of that capacity would drop. None is dropped here."""
    layers: tuple[LayerMixture, ...] = ()
    """Those with experts, in their order."""

    @property
    def figures(self) -> dict[str, float]:
        """What is one number for the whole model."""
        return self.model_dump(exclude={"layers"}, exclude_none=True)


class Measured(Config):
    """A held-out part."""

    loss: float
    """Nats a token."""
    bits_per_byte: float | None = None
    tokens: NonNegativeInt


class StepRecord(Config):
    """One line of the history. Step 0 is before the first one, and has a validation loss only."""

    step: NonNegativeInt
    tokens: NonNegativeInt
    batch_tokens: NonNegativeInt = 0
    """Tokens of this step alone."""
    counted_tokens: NonNegativeInt | None = None
    """Of them, those that the loss is of: without what packed sequences are filled up with."""
    loss: float | None = None
    gradient_norm: float | None = None
    learning_rate: float | None = None
    seconds: NonNegativeFloat = 0.0
    """Wall time of the step alone."""
    validation_loss: float | None = None
    """Mean over the tokens of all parts that are held out."""
    bits_per_byte: float | None = None
    """The same for a byte of their text, where it is known how many there are."""
    validation: dict[str, Measured] = Field(default={})
    """By part."""
    skipped: str | None = None
    """Why nothing was updated."""
    mixture: Mixture | None = None


class Outcome(Config):
    """How the ranks ended."""

    status: Literal["done", "stopped", "failed"]
    step: NonNegativeInt
    problem: str = ""
    hint: str = ""


def history_file(scratch: Path) -> Path:
    return scratch / "history.jsonl"


def packings(scratch: Path) -> Path:
    return scratch / "packings"


def job_file(scratch: Path) -> Path:
    return scratch / "job.json"


def outcome_file(scratch: Path) -> Path:
    return scratch / "outcome.json"


def states(scratch: Path) -> Path:
    return scratch / "states"


def milestones(scratch: Path) -> Path:
    return scratch / "milestones"


def state_name(step: int) -> str:
    return f"step-{step:08d}"


def saved_states(folder: Path) -> list[Path]:
    """Whole states in `folder`, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"step-\d{8}", path.name))


def read_state(folder: Path) -> TrainState:
    return TrainState.model_validate_json((folder / STATE).read_bytes())


def parse_history(lines: Iterable[str]) -> Iterator[StepRecord]:
    """The records of whole lines; one that was cut off at the end is left out."""
    return until_cut(StepRecord, lines)


def read_history(scratch: Path) -> list[StepRecord]:
    return read_until_cut(StepRecord, history_file(scratch))


def cut_history(scratch: Path, *, after_step: int | None) -> None:
    """Drop the records after a step, all of them if there is none to go on from."""
    kept = [record for record in read_history(scratch) if after_step is not None and record.step <= after_step]
    replace(history_file(scratch), "".join(f"{line_of(record)}\n" for record in kept))
    observations.cut(scratch, after_step=after_step)


def line_of(record: StepRecord) -> str:
    return record.model_dump_json(exclude_none=True)
