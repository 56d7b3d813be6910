"""A run as it is seen while it goes: all that was written of it so far, and the numbers that people ask for.

A `Story` follows the files of a run. A run that goes on or rolls back writes some of them anew; then what was read of
that file is forgotten and read again, and `begun_anew` says so.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import median

from bunbuku_contracts import Architecture, Config

from bunbuku_pretrain import observations as seen
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.job import Job, StepRecord, history_file
from bunbuku_pretrain.observations import Evaluation, Event, Sample, Statistics

RECENT_STEPS = 20
"""How fast a run goes is the median of so many steps."""


class Tail[T: Config]:
    """The lines of a file, each once; all again if the file was written anew."""

    def __init__(self, path: Path, cls: type[T]) -> None:
        self._path, self._cls = path, cls
        self._file: tuple[int, int] = (0, 0)
        """Which file it was, and how much of it has been read."""
        self.lines: list[T] = []

    def look(self) -> bool:
        """Take in what is new; true if the file was written anew."""
        if not self._path.is_file():
            return False
        with self._path.open("rb") as file:
            status = self._path.stat()
            was, read = self._file
            anew = bool(was) and (was != status.st_ino or status.st_size < read)
            if anew:
                read = 0
                self.lines.clear()
            file.seek(read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._file = (status.st_ino, read + len(whole) + len(newline))
        self.lines += seen.parse(self._cls, whole.decode(errors="replace").splitlines())
        return anew


@dataclass
class Story:
    """One run."""

    name: str
    job: Job
    began: float = field(default_factory=time.monotonic)
    ended: str = ""
    """How it ended; empty while it goes."""

    def __post_init__(self) -> None:
        scratch = self.job.scratch
        self._history = Tail(history_file(scratch), StepRecord)
        self._statistics = Tail(seen.statistics_file(scratch), Statistics)
        self._samples = Tail(seen.samples_file(scratch), Sample)
        self._events = Tail(seen.events_file(scratch), Event)
        self._evaluations = Tail(seen.evaluations_file(scratch), Evaluation)

    def look(self) -> bool:
        """Take in what was written since the last look; true if a part was written anew."""
        tails = (self._history, self._statistics, self._samples, self._events, self._evaluations)
        anew = [tail.look() for tail in tails]
        return any(anew)

    @property
    def records(self) -> list[StepRecord]:
        return self._history.lines

    @property
    def statistics(self) -> list[Statistics]:
        return self._statistics.lines

    @property
    def samples(self) -> list[Sample]:
        return self._samples.lines

    @property
    def events(self) -> list[Event]:
        return self._events.lines

    @property
    def evaluations(self) -> list[Evaluation]:
        """The last of each milestone: one that was cut off is made again."""
        return list({one.step: one for one in self._evaluations.lines}.values())

    @cached_property
    def course(self) -> Course:
        return self.job.course

    @property
    def architecture(self) -> Architecture:
        return self.job.architecture

    @property
    def step(self) -> int:
        return self.records[-1].step if self.records else 0

    @property
    def tokens(self) -> int:
        return self.records[-1].tokens if self.records else 0

    @property
    def steps(self) -> list[StepRecord]:
        """The records of steps: without the one before the first."""
        return self.records[1:] if self.records and not self.records[0].step else self.records

    @property
    def skipped(self) -> list[StepRecord]:
        """Steps that were passed without an update."""
        return [record for record in self.records if record.skipped]

    @property
    def phase(self) -> str:
        """Name of the phase that the run is in, empty if there is but one."""
        phases = self.course.phases
        return phases[self.course.step(max(1, self.step)).phase].name if len(phases) > 1 else ""

    def speeds(self, *, backwards: bool = False) -> Iterator[tuple[StepRecord, float]]:
        """Tokens a second of each step that was trained on."""
        for record in reversed(self.records) if backwards else self.records:
            if record.seconds and record.loss is not None:
                yield record, record.batch_tokens / record.seconds

    @property
    def tokens_per_second(self) -> float | None:
        rates = [rate for _, rate in islice(self.speeds(backwards=True), RECENT_STEPS)]
        return median(rates) if rates else None

    def mfu(self, tokens_per_second: float) -> float | None:
        """Share of what the devices could compute; `None` if nobody said what that is.

        For sequences of the length that they have now.
        """
        peak = self.job.settings.watch.device_peak_tflops
        if peak is None:
            return None
        needed = self.architecture.flops_per_token(self.course.step(max(1, self.step)).sequence_length)
        return tokens_per_second * needed / (peak * 1e12 * self.job.settings.ranks)

    @property
    def seconds_left(self) -> float | None:
        rate = self.tokens_per_second
        return (self.course.tokens - self.tokens) / rate if rate else None

    def count(self, *kinds: str) -> int:
        return sum(event.kind in kinds for event in self.events)

    def tokens_at(self, step: int) -> float:
        """Tokens behind the run after a step, whether or not it is in the history."""
        return float(self.course.tokens_after(max(0, min(step, self.course.steps))))

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of the statistics."""
        return ("embed", *(str(layer) for layer in range(1, self.architecture.layers + 1)), "head")


def incidents(story: Story) -> Iterator[tuple[str, int]]:
    """How often what went wrong."""
    yield "spikes", story.count("spike")
    yield "NaN", story.count("nan")
    yield "skipped steps", len(story.skipped)
    yield "rollbacks", story.count("rollback")
    yield "restarts", story.count("restart")
