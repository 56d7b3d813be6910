"""Where the numbers of a run go besides its page: TensorBoard always, Weights & Biases if it is asked for.

Everything comes from the story of the run. When a part of that is written anew, as after a rollback, TensorBoard's files
are written again from the beginning; Weights & Biases keeps what it was told.
"""

import math
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bunbuku_contracts import BunbukuError

from bunbuku_pretrain.job import Job, StepRecord
from bunbuku_pretrain.observations import QUANTILES, Statistics

type Scalars = Mapping[str, float]


class Outlet(Protocol):
    """Somebody who is told."""

    def scalars(self, found: Scalars, *, step: int) -> None: ...

    def text(self, name: str, text: str, *, step: int) -> None: ...

    def begin_anew(self) -> None: ...

    def close(self) -> None: ...


def of_step(record: StepRecord) -> Scalars:
    """The numbers of a step."""
    found: dict[str, float | None] = {
        "train/loss": record.loss,
        "train/gradient_norm": record.gradient_norm,
        "train/learning_rate": record.learning_rate,
        "train/tokens_per_second": record.batch_tokens / record.seconds if record.seconds else None,
        "validation/loss": record.validation_loss,
    }
    for part, measured in record.validation.items():
        found |= {
            f"validation/{part}/loss": measured.loss,
            f"validation/{part}/bits_per_byte": measured.bits_per_byte,
        }
    if record.mixture is not None:
        found |= {f"mixture/{name}": value for name, value in record.mixture.figures.items()}
    return {name: value for name, value in found.items() if value is not None}


def of_statistics(one: Statistics, rows: Sequence[str]) -> Scalars:
    """The largest over all rows, and the rows one by one."""
    found: dict[str, float] = {"statistics/memory_gib": one.memory_bytes / 2**30}
    by_row = {
        "gradient_norm": one.gradient_norm,
        "update_ratio": one.update_ratio,
        "activation_rms": one.activation_rms,
        "activation_max": one.activation_max,
        "root_moment_max": one.root_moment_max,
        "steep_share": one.steep_share,
    }
    for name, values in by_row.items():
        if name != "gradient_norm":  # whose largest says nothing that its norm does not
            found[f"statistics/{name}"] = max(values)
        width = len(rows[-2])
        found |= {f"layers/{name}/{row.zfill(width)}": value for row, value in zip(rows, values, strict=True)}
    for share, value in zip(QUANTILES, one.root_moment_quantiles, strict=True):
        found[f"statistics/root_moment_{share:.0%}"] = value
    return {name: value for name, value in found.items() if math.isfinite(value)}


class TensorBoard:
    """Event files in a folder, without those of a run that was cut off: its history is told again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = self._open()

    def scalars(self, found: Scalars, *, step: int) -> None:
        from tensorboard.compat.proto import summary_pb2

        summaries: Any = summary_pb2  # generated at import, without types
        self._write([summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in found.items()], step)

    def text(self, name: str, text: str, *, step: int) -> None:
        from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2
        from tensorboard.plugins.text.metadata import create_summary_metadata

        summaries: Any = summary_pb2
        tensors: Any = tensor_pb2
        types: Any = types_pb2
        # The plugin reads Markdown: an indented block is shown as it is.
        shown = "\n".join(f"    {line}" for line in text.splitlines())
        tensor = tensors.TensorProto(dtype=types.DT_STRING, string_val=[shown.encode()])
        metadata = create_summary_metadata(display_name=name, description="")
        self._write([summaries.Summary.Value(tag=name, metadata=metadata, tensor=tensor)], step)

    def begin_anew(self) -> None:
        self._writer.close()
        self._writer = self._open()

    def close(self) -> None:
        self._writer.close()

    def _open(self) -> Any:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        shutil.rmtree(self._folder, ignore_errors=True)
        return EventFileWriter(str(self._folder))

    def _write(self, values: list[Any], step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        events: Any = event_pb2
        summaries: Any = summary_pb2
        self._writer.add_event(events.Event(wall_time=time.time(), step=step, summary=summaries.Summary(value=values)))


class WeightsAndBiases:
    """A run of Weights & Biases, found again by a run that goes on. `WANDB_MODE=offline` needs no network."""

    def __init__(self, project: str, name: str, job: Job, folder: Path) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            raise BunbukuError(
                f"`watch.wandb_project` is {project!r}, and wandb is not installed",
                hint='pip install "bunbuku-pretrain[wandb]", or leave `wandb_project` out',
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project=project,
            name=name,
            id=re.sub(r"[^A-Za-z0-9_-]+", "-", job.scratch.name).strip("-"),  # the recipe is in it
            resume="allow",
            dir=str(folder),
            config=job.config.model_dump(mode="json") | {"model": job.architecture.model_dump(mode="json")},
            settings=wandb.Settings(console="off", silent=True),
        )

    def scalars(self, found: Scalars, *, step: int) -> None:
        # Its own steps only ever grow: the one of the training is a number like any other, and the x axis.
        self._run.log({**found, "step": step})

    def text(self, name: str, text: str, *, step: int) -> None:
        self._run.log({name: text, "step": step})

    def begin_anew(self) -> None:
        """Nothing: what was logged stays."""

    def close(self) -> None:
        self._run.finish()
