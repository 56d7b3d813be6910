"""What the publisher does while its ranks train: progress, TensorBoard, milestones.

Everything it shows comes from the history that the first rank writes, so a run that goes on shows one curve.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bunbuku_contracts import Draft

from bunbuku_pretrain.job import StepRecord, history_file, parse_history

Scalars = dict[str, float]


class Watcher:
    """Follows a run's history."""

    def __init__(self, draft: Draft, scratch: Path, *, steps: int, batch_tokens: int) -> None:
        self._history = history_file(scratch)
        self._read = 0
        self._done = 0
        self._bar: Iterator[int] = draft.track(range(steps), unit="steps", total=steps, label="train")
        self._batch_tokens = batch_tokens
        self._events = _fresh_events(draft.log / "tensorboard")

    def look(self) -> None:
        """Take in what was written since the last look."""
        for record in self._new_records():
            for name, value in scalars(record, self._batch_tokens).items():
                self._events.add_scalar(name, value, record.step)
            while self._done < record.step:
                next(self._bar, None)
                self._done += 1

    def close(self) -> None:
        self.look()
        self._events.close()
        for _ in self._bar:
            pass

    def _new_records(self) -> Iterator[StepRecord]:
        if not self._history.is_file():
            return
        with self._history.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        yield from parse_history(whole.decode().splitlines())


def scalars(record: StepRecord, batch_tokens: int) -> Scalars:
    """What TensorBoard shows of a step."""
    found: dict[str, float | None] = {
        "train/loss": record.loss,
        "train/gradient_norm": record.gradient_norm,
        "train/learning_rate": record.learning_rate,
        "train/tokens_per_second": batch_tokens / record.seconds if record.seconds else None,
        "validation/loss": record.validation_loss,
    }
    if record.mixture is not None:
        found |= {f"mixture/{name}": value for name, value in record.mixture.model_dump().items()}
    return {name: value for name, value in found.items() if value is not None}


def _fresh_events(folder: Path) -> Any:
    """A writer of TensorBoard events, without those of a run that was cut off: its history is shown again."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    return SummaryWriter(str(folder))
