"""A training in this process, or by several ranks under it: what they are told, and what they tell.

In the scratch folder of the draft:

- `job`             what to do, written before the ranks start
- `progress.json`   how far the first rank has come
- `failed-N.json`   what a person can mend, said by rank N
- `training`        how it went
"""

import json
import os
import pickle
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bunbuku_contracts import BunbukuError, Checkpoint, Draft, load
from bunbuku_contracts.launch import Srun

from bunbuku_align.examples import Prepared
from bunbuku_align.loading import on_gpu
from bunbuku_align.reporting import Training
from bunbuku_align.run import AlignRun, DeepSpeed
from bunbuku_align.template import ChatTokenizer
from bunbuku_align.training import DpoConfig, SftConfig
from bunbuku_align.trl import Place
from bunbuku_align.trl import train as train_here


@dataclass(frozen=True)
class Job:
    """All that a rank needs to know."""

    draft: Path
    scratch: Path
    checkpoint: Path
    run: AlignRun
    config: SftConfig | DpoConfig
    prepared: Prepared[Any]

    def train(self) -> Training:
        """Do the part of this rank."""
        draft, checkpoint = _Told(self.draft, self.scratch), load(self.checkpoint, Checkpoint)
        place = Place(draft, checkpoint, ChatTokenizer(checkpoint.dir), self.run)
        return train_here(place, self.config, self.prepared)


def train(place: Place, config: SftConfig | DpoConfig, prepared: Prepared[Any]) -> Training:
    """Train, and write what came of it into the draft.

    Raises:
        BunbukuError: A rank failed, or DeepSpeed is asked for and not there.
    """
    if place.run.ranks == 1:
        return train_here(place, config, prepared)
    if isinstance(place.run.sharding, DeepSpeed) and not (on_gpu(place.run) and find_spec("deepspeed")):
        raise BunbukuError(
            "`sharding` is deepspeed, and there is no GPU here, or no DeepSpeed",
            hint="pip install deepspeed on a machine with GPUs, or take `sharding` fsdp",
        )
    scratch = place.draft.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    for left in (progress_file(scratch), result_file(scratch), *scratch.glob("failed-*.json")):
        left.unlink(missing_ok=True)
    job = Job(place.draft.dir.resolve(), scratch, place.checkpoint.dir, place.run, config, prepared)
    job_file(scratch).write_bytes(pickle.dumps(job))
    try:
        place.draft.launch(
            [sys.executable, "-m", "bunbuku_align.rank", str(scratch)],
            ranks=place.run.ranks,
            env={"OMP_NUM_THREADS": str(_threads(place.run))},
            poll=_Shown(place.draft, progress_file(scratch)).look,
            launcher=place.run.launcher,
        )
    except BunbukuError:
        for said in sorted(scratch.glob("failed-*.json")):
            raise BunbukuError(**json.loads(said.read_bytes())) from None
        raise
    return pickle.loads(result_file(scratch).read_bytes())


def job_file(scratch: Path) -> Path:
    return scratch / "job"


def progress_file(scratch: Path) -> Path:
    return scratch / "progress.json"


def result_file(scratch: Path) -> Path:
    return scratch / "training"


def failed_file(scratch: Path, rank: int) -> Path:
    return scratch / f"failed-{rank}.json"


def _threads(run: AlignRun) -> int:
    """Of a rank, on the CPU: its share of the machine, if the settings do not say."""
    here = run.launcher.ranks_per_node if isinstance(run.launcher, Srun) else run.ranks
    return run.threads or max(1, (os.cpu_count() or 1) // here)


class _Told(Draft):
    """A draft as a rank has it: progress goes to the process that publishes."""

    def track[T](self, items: Iterable[T], *, unit: str, total: int | None = None, **_shown: Any) -> Iterator[T]:
        """The items, while the file tells how many are done."""
        every = list(items)
        for done, item in enumerate(every):
            self._tell(unit, done, len(every))
            yield item
        self._tell(unit, len(every), len(every))

    def _tell(self, unit: str, done: int, total: int) -> None:
        file = progress_file(self.scratch)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({"unit": unit, "done": done, "total": total}), encoding="utf-8")
        partial.replace(file)


class _Shown:
    """Shows what a file tells of progress."""

    def __init__(self, draft: Draft, file: Path) -> None:
        self._draft = draft
        self._file = file
        self._unit = ""
        self._done = 0
        self._bar: Iterator[int] = iter(())

    def look(self) -> None:
        """Bring what is shown to where the file is."""
        if not self._file.exists():
            return
        told = json.loads(self._file.read_bytes())
        if told["unit"] != self._unit:
            self._unit, self._done = told["unit"], 0
            self._bar = self._draft.track(range(told["total"]), unit=self._unit, total=told["total"])
            next(self._bar, None)
        while self._done < told["done"]:
            next(self._bar, None)
            self._done += 1
