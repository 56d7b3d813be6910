"""Publishing the model on its way, and asking a command what it thinks of it.

A rank leaves the weights in a folder; the publisher exports them as an artifact beside the output, runs the command of
the run settings on it while training goes on, and removes the folder when the command has ended. Cut off anywhere, the
next run finds the folder and goes on from there.
"""

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bunbuku_pretrain.job import read_state, saved_states, state_name

_logger = logging.getLogger(__name__)


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
        self._running: tuple[Path, subprocess.Popen[bytes], float] | None = None

    def done(self) -> set[int]:
        """Steps whose milestone needs nothing more."""
        return {int(path.stem.removeprefix("step-")) for path in self.folder.glob("*.done")}

    def look(self) -> None:
        """Publish what has been saved, one at a time; see whether a command has ended."""
        if self._running is not None:
            self._watch(*self._running)
            return
        for folder in saved_states(self.folder)[:1]:
            made = self._publish(folder)
            if self._command is None:
                self._finish(folder)
            else:
                self._running = (folder, self._begin(self._command, made), time.monotonic())

    def close(self) -> None:
        """Return when all that was saved is published and every command has ended."""
        while self._running is not None or saved_states(self.folder):
            self.look()
            if self._running is not None:
                time.sleep(0.1)

    def _begin(self, command: str, milestone: Path) -> subprocess.Popen[bytes]:
        with (self._log / f"{milestone.name.partition('@')[2]}.log").open("ab") as output:
            return subprocess.Popen(
                command,
                shell=True,
                env={**os.environ, "MILESTONE": str(milestone)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _watch(self, folder: Path, process: subprocess.Popen[bytes], began: float) -> None:
        if process.poll() is None and time.monotonic() - began > self._timeout:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode is not None:
            if process.returncode:
                _logger.warning("the milestone command ended with status %d at %s", process.returncode, folder.name)
            self._running = None
            self._finish(folder)

    def _finish(self, folder: Path) -> None:
        (self.folder / f"{state_name(read_state(folder).step)}.done").touch()
        shutil.rmtree(folder)
