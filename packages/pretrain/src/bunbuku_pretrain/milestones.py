"""Publishing the model on its way, and asking a command what it thinks of it.

A rank leaves the weights in a folder; the publisher exports them as an artifact beside the output, runs the command of
the run settings on it while training goes on, and removes the folder when the command has ended. Cut off anywhere, the
next run finds the folder and goes on from there.

The command finds `MILESTONE`, the artifact's path, and `MILESTONE_OUT`, a path beside it that is not there yet, for what
it makes. Its findings are numbers: the metrics of a report at `MILESTONE_OUT`, those of reports in it (named after their
folders), and a JSON object of numbers, if that is the last line it prints. They become curves of the run.
"""

import logging
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bunbuku_contracts import BunbukuError, Report, Spec, load
from bunbuku_contracts.artifact import MANIFEST
from pydantic import TypeAdapter, ValidationError

from bunbuku_pretrain.job import TrainState, read_state, saved_states, state_name
from bunbuku_pretrain.observations import Evaluation, append, evaluations_file, note

_logger = logging.getLogger(__name__)
_NUMBERS = TypeAdapter(dict[str, float])


class Milestones:
    """The milestones of a run, from `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        publish: Callable[[Path], Path],
        command: str | None,
        timeout_seconds: float,
        log: Path,
    ) -> None:
        self.folder = folder
        self._publish = publish
        self._command = command
        self._timeout = timeout_seconds
        self._log = log
        self._running: _Running | None = None

    def done(self) -> set[int]:
        """Steps whose milestone needs nothing more."""
        return {int(path.stem.removeprefix("step-")) for path in self.folder.glob("*.done")}

    def look(self) -> None:
        """Publish what has been saved, one at a time; see whether a command has ended."""
        if self._running is not None:
            self._watch(self._running)
            return
        for folder in saved_states(self.folder)[:1]:
            made = self._publish(folder)
            if self._command is None:
                self._finish(folder, f"published as {made.name}")
            else:
                self._running = self._begin(self._command, folder, made)

    def close(self, poll: Callable[[], None] | None = None) -> None:
        """Return when all that was saved is published and every command has ended."""
        while self._running is not None or saved_states(self.folder):
            self.look()
            if poll:
                poll()
            if self._running is not None:
                time.sleep(0.1)

    def _begin(self, command: str, folder: Path, milestone: Path) -> "_Running":
        log = self._log / f"{milestone.name.partition('@')[2]}.log"
        out = milestone.with_name(f"{milestone.name}.out")
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                shell=True,
                env={**os.environ, "MILESTONE": str(milestone), "MILESTONE_OUT": str(out)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return _Running(folder, process, time.monotonic(), log=log, out=out)

    def _watch(self, running: "_Running") -> None:
        process, seconds = running.process, time.monotonic() - running.began
        if process.poll() is None and seconds > self._timeout:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode is None:
            return
        state, metrics = read_state(running.folder), findings(running.out, running.log)
        if process.returncode:
            _logger.warning("the milestone command ended with status %d at %s", process.returncode, running.folder.name)
        found = Evaluation(
            step=state.step, tokens=state.tokens, status=process.returncode, seconds=seconds, metrics=metrics
        )
        append(evaluations_file(self.folder.parent), found)
        failed = f"the command ended with status {process.returncode}" if process.returncode else ""
        # Of all numbers a few that are no counts and no ends of intervals.
        few = [name for name in metrics if name.rpartition(".")[2] not in ("low", "high")]
        few.sort(key=lambda name: metrics[name].is_integer())
        told = ", ".join(f"{name} {metrics[name]:.4g}" for name in few[:3])
        self._running = None
        self._finish(running.folder, "; ".join(filter(None, (failed, told))) or "the command found no numbers")

    def _finish(self, folder: Path, text: str) -> None:
        state: TrainState = read_state(folder)
        note(self.folder.parent, "milestone", text, step=state.step)
        (self.folder / f"{state_name(state.step)}.done").touch()
        shutil.rmtree(folder)


@dataclass(frozen=True)
class _Running:
    """A command that has not ended."""

    folder: Path
    process: subprocess.Popen[bytes]
    began: float
    log: Path
    out: Path


def findings(out: Path, log: Path) -> dict[str, float]:
    """The numbers that a command found: in reports at or in `out`, and in the last line of what it said."""
    metrics = dict(_metrics(out))
    if out.is_dir():
        for folder in sorted(path for path in out.iterdir() if path.is_dir()):
            metrics |= {f"{folder.name}.{name}": value for name, value in _metrics(folder).items()}
    last = next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "")
    with suppress(ValidationError):
        metrics |= _NUMBERS.validate_json(last)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _metrics(folder: Path) -> Mapping[str, float]:
    """The metrics of a report, none of anything else."""
    if not (folder / MANIFEST).is_file():
        return {}
    try:
        artifact = load(folder, Spec)
    except BunbukuError as error:
        _logger.warning("what the milestone command left at %s does not read: %s", folder, error)
        return {}
    return artifact.manifest.metrics if isinstance(artifact.spec, Report) else {}
