"""What is seen of a training while it goes: progress, curves, and held-out rows measured on the way."""

import math
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from bunbuku_contracts import BunbukuError, Draft
from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bunbuku_align.ranks import first, wait
from bunbuku_align.reporting import Point, Sample
from bunbuku_align.run import disk_bytes
from bunbuku_align.samples import Sampler

COMPLETE = "complete"
"""A file in a trainer's state that is written last: a state without it was cut off."""

type Measure = Callable[[], Point]


class Watch(TrainerCallback):
    """Shows progress, measures held-out rows on the way, keeps curves, and marks states that are whole.

    Every rank of a training has one, and measures, since a divided model answers to all of them at once; the first writes.
    """

    def __init__(self, draft: Draft, measured_at: Collection[int], measure: Measure, sampler: Sampler) -> None:
        self.draft = draft
        self.measure = measure
        self.measured_at = measured_at
        self.sampler = sampler
        self.seconds = 0.0
        self.most_disk_bytes = 0
        """Under the scratch folder when a state was just written, what it replaces included."""
        self._disk_bytes = 0
        self._clock = 0.0
        self._progress: Iterator[int] = iter(())
        self._writer: SummaryWriter | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        done = state.global_step
        if first():
            self._disk_bytes = disk_bytes(self.draft.scratch)
            self._writer = SummaryWriter(self.draft.log, purge_step=done + 1 if done else None)
            self._progress = self.draft.track(range(done, state.max_steps), unit="steps", total=state.max_steps - done)
            next(self._progress, None)
        if not done:
            self.keep(state, self.measure())
            self.sampler.ask_before()
        self._clock = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        next(self._progress, None)
        if state.global_step == state.max_steps:
            control.should_log = True
        if state.global_step in self.measured_at:
            self.seconds += time.perf_counter() - self._clock
            self.keep(state, self.measure())
            self._clock = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        found = logs or {}
        self._write(state.global_step, {f"train/{name}": value for name, value in found.items()})
        if not math.isfinite(found.get("loss", 0.0)):
            raise BunbukuError(
                f"training diverged: the loss is {found['loss']} at step {state.global_step} of {state.max_steps}",
                hint="take a lower `learning_rate`, or a longer warm-up",
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        wait()  # each rank writes a part of a state
        if not first():
            return
        written = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        (written / COMPLETE).touch()
        # The state that is one too many went after this one was written.
        self.most_disk_bytes = max(self.most_disk_bytes, self._disk_bytes + disk_bytes(written))
        self._disk_bytes = disk_bytes(self.draft.scratch)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.seconds += time.perf_counter() - self._clock
        for _ in self._progress:
            pass
        if self._writer:
            self._writer.close()

    def keep(self, state: TrainerState, values: Point) -> None:
        """Add a point to the history that is saved with the trainer's state."""
        if not values:
            return
        state.log_history.append({**values, "step": state.global_step})
        self._write(state.global_step, values)

    def compare(self) -> list[Sample]:
        """Answers before and after the training, which are put beside the curves too."""
        samples = self.sampler.compare()
        if first():
            with SummaryWriter(self.draft.log) as writer:
                for number, sample in enumerate(samples):
                    text = "\n\n".join(f"**{name}**\n\n    {value!r}" for name, value in sample._asdict().items())
                    writer.add_text(f"samples/{number}", text)
        return samples

    def _write(self, step: int, values: Point) -> None:
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
