"""Ranks under one publisher: start them, pass on the draft's lock, end all when one fails.

The lock's descriptor is inherited, so that orphans of a killed publisher keep the next run out until they are gone;
a rank that calls `follow_parent` goes as soon as its publisher does.

A *launcher* says where ranks are started: on this machine, or as tasks of a Slurm allocation. It is a run setting.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, PositiveInt

from bunbuku_contracts.errors import BunbukuError
from bunbuku_contracts.manifest import RunSettings

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
_TAIL_LINES = 15
_FOLLOW_SECONDS = 0.2


@dataclass(frozen=True)
class Process:
    """One process that a launcher starts."""

    name: str
    """What an error calls it."""
    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    blames: re.Pattern[str] | None = None
    """What in its log names the number of the rank that failed first, if it starts ranks itself."""
    expendable: bool = False
    """Whether the others go on when it fails."""
    holds: object = None
    """Kept alive while it runs."""

    @property
    def telling_log(self) -> Path:
        """The log that says why it failed."""
        blamed = self.blames.search(_tail(self.log)) if self.blames else None
        return self.log.with_name(f"rank-{blamed[1]}.log") if blamed else self.log


class Launcher(Protocol):
    """Says which processes are to be started."""

    def processes(self, command: Sequence[str], *, ranks: int, log: Path) -> list[Process]: ...


class Local(RunSettings):
    """Ranks are processes of this machine."""

    type: Literal["local"] = "local"

    def processes(self, command: Sequence[str], *, ranks: int, log: Path) -> list[Process]:
        """A process for each rank, the variables of `torch.distributed` in its environment."""
        shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        return [
            Process(
                name=f"rank {rank} of {ranks}",
                command=command,
                log=log / f"rank-{rank}.log",
                env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(ranks)
        ]


class Srun(RunSettings):
    """Ranks are tasks of the Slurm allocation in which the command was given; rank 0 is on the first node.

    The output folder has to be on a file system that all nodes see.
    """

    type: Literal["srun"] = "srun"
    ranks_per_node: PositiveInt
    options: tuple[str, ...] = ()
    """More options of `srun`, such as `--cpu-bind=cores`."""

    def processes(self, command: Sequence[str], *, ranks: int, log: Path) -> list[Process]:
        """One `srun`; its tasks find their numbers by `slurm_rank`.

        Raises:
            BunbukuError: There is no allocation, or `ranks` is not a multiple of `ranks_per_node`.
        """
        if "SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None:
            raise BunbukuError(
                "`launcher` is srun, and this is not a Slurm job",
                hint="give the command in a script for sbatch, or set `launcher` to local",
            )
        if ranks % self.ranks_per_node:
            raise BunbukuError(
                f"`ranks` {ranks} is not a multiple of `ranks_per_node` {self.ranks_per_node}",
                hint="every node runs as many ranks",
            )
        srun = ["srun", f"--ntasks={ranks}", f"--ntasks-per-node={self.ranks_per_node}", "--kill-on-bad-exit=1"]
        output = [f"--output={log}/rank-%t.log", f"--error={log}/rank-%t.log", "--open-mode=append", "--mpi=none"]
        return [
            Process(
                name=f"srun of {ranks} ranks",
                command=[*srun, *output, *self.options, *command],
                log=log / "srun.log",
                env={"MASTER_PORT": str(_free_port())},
                blames=re.compile(r"error: \S+ tasks? (\d+)"),
            )
        ]


AnyLauncher = Annotated[Local | Srun, Field(discriminator="type")]
_HERE = Local()


def run_ranks(
    command: Sequence[str],
    *,
    ranks: int,
    log: Path,
    lock: int,
    env: Mapping[str, str] | None = None,
    poll: Callable[[], None] | None = None,
    launcher: Launcher = _HERE,
) -> None:
    """Run `ranks` processes of `command` to their end.

    Each finds `RANK`, `LOCAL_RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` in its environment, as
    `torch.distributed` wants them (on Slurm after `slurm_rank`), and writes what it says into `log/rank-N.log`.

    Args:
        command: Program and arguments.
        ranks: How many processes.
        log: Folder of the logs.
        lock: Descriptor that every process started here inherits.
        env: Added to the environment.
        poll: Called a few times a second while they run, and once after.
        launcher: Where they run.

    Raises:
        BunbukuError: A rank failed; the others were ended. The message has the end of its log. Of processes that are
            expendable, all failed.
    """
    log.mkdir(parents=True, exist_ok=True)
    processes = launcher.processes(command, ranks=ranks, log=log)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for process in processes:
            with process.log.open("ab") as output:
                started.append(
                    subprocess.Popen(
                        process.command,
                        env={**os.environ, **(env or {}), **process.env},
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        pass_fds=(lock,),
                        start_new_session=True,
                    )
                )
        at_first = _wait(started, [process.expendable for process in processes], poll)
    finally:
        _end(started)
    failed = [at for at, process in enumerate(started) if process.returncode]
    if len(failed) == len(started) or any(not processes[at].expendable for at in failed):
        # The first to fail took the others along, by SIGTERM or because they heard no more of it. Of those found at once,
        # one that was killed is the cause, and one that says something went wrong may only have missed it.
        first = min(
            (at for at in failed if at_first[at]), key=lambda at: started[at].returncode >= 0, default=failed[0]
        )
        status = started[first].returncode
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        log = processes[first].telling_log
        raise BunbukuError(f"{processes[first].name} {how}:\n{_tail(log)}", hint=f"the whole log: {log}")


def slurm_rank() -> None:
    """Let a task of `srun` find itself where `torch.distributed` looks. Elsewhere this does nothing."""
    task = os.environ
    if "RANK" in task or "SLURM_PROCID" not in task:
        return
    os.environ |= {
        "RANK": task["SLURM_PROCID"],
        "LOCAL_RANK": task["SLURM_LOCALID"],
        "WORLD_SIZE": task["SLURM_NTASKS"],
        "MASTER_ADDR": task["SLURM_LAUNCH_NODE_IPADDR"],
    }


def follow_parent() -> None:
    """End this process when the one that started it is gone. Call it first thing in a rank."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_FOLLOW_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="follow-parent").start()


def _wait(
    started: Sequence[subprocess.Popen[bytes]], expendable: Sequence[bool], poll: Callable[[], None] | None
) -> list[int | None]:
    """Return when all have ended, or one that may not has failed: the statuses then."""
    while None in (statuses := [process.poll() for process in started]):
        if any(status and not extra for status, extra in zip(statuses, expendable, strict=True)):
            return statuses
        if poll:
            poll()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started[statuses.index(None)].wait(_POLL_SECONDS)
    if poll:
        poll()
    return statuses


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask what still runs to stop, then make it, with whatever it started."""
    for process in started:
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in started:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _tail(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return "".join(deque(lines, maxlen=_TAIL_LINES)).rstrip() or "(it said nothing)"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
