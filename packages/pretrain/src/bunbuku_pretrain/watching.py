"""What the publisher does while its ranks train: progress, TensorBoard, milestones.

Everything it shows comes from the history that the first rank writes, so a run that goes on shows one curve.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bunbuku_contracts import Draft

from bunbuku_pretrain.job import StepRecord, history_file, parse_history, read_history

Scalars = dict[str, float]


class Watcher:
    """Follows a run's history."""

    def __init__(self, draft: Draft, scratch: Path, *, steps: int) -> None:
        self._history = history_file(scratch)
        self._read = 0
        self._done = 0
        before = len(read_history(scratch))
        self._bar: Iterator[int] = draft.track(range(steps), unit="steps", total=steps, label="train", done=before)
        self._events = Events(draft.log / "tensorboard")

    def look(self) -> None:
        """Take in what was written since the last look."""
        for record in self._new_records():
            self._events.add(scalars(record), step=record.step)
            while self._done < record.step:
                next(self._bar, None)
                self._done += 1

    def close(self) -> None:
        self.look()
        self._events.close()
        self._bar = iter(())  # of a run that was cut off, the bar is not filled up

    def _new_records(self) -> Iterator[StepRecord]:
        if not self._history.is_file():
            return
        with self._history.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        yield from parse_history(whole.decode().splitlines())


def scalars(record: StepRecord) -> Scalars:
    """What TensorBoard shows of a step."""
    found: dict[str, float | None] = {
        "train/loss": record.loss,
        "train/gradient_norm": record.gradient_norm,
        "train/learning_rate": record.learning_rate,
        "train/tokens_per_second": record.batch_tokens / record.seconds if record.seconds else None,
        "validation/loss": record.validation_loss,
    }
    if record.mixture is not None:
        found |= {f"mixture/{name}": value for name, value in record.mixture.model_dump().items()}
    return {name: value for name, value in found.items() if value is not None}


class Events:
    """TensorBoard's events in a folder, without those of a run that was cut off: its history is told again."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = EventFileWriter(str(folder))

    def add(self, found: Scalars, *, step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        events: Any = event_pb2  # generated at import, without types
        summaries: Any = summary_pb2
        values = [summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in found.items()]
        summary = summaries.Summary(value=values)
        self._writer.add_event(events.Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        self._writer.close()
