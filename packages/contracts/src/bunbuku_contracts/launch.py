"""Ranks under one publisher: start them, pass on the draft's lock, end all when one fails.

The lock's descriptor is inherited, so that orphans of a killed publisher keep the next run out until they are gone;
a rank that calls `follow_parent` goes as soon as its publisher does.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bunbuku_contracts.errors import BunbukuError

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
_TAIL_LINES = 15


def run_ranks(
    command: Sequence[str],
    *,
    ranks: int,
    log: Path,
    lock: int,
    env: Mapping[str, str] | None = None,
    poll: Callable[[], None] | None = None,
) -> None:
    """Run `ranks` processes of `command` to their end.

    Each finds `RANK`, `LOCAL_RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` in its environment, as
    `torch.distributed` wants them, and writes what it says into `log/rank-N.log`.

    Args:
        command: Program and arguments.
        ranks: How many processes.
        log: Folder of the logs.
        lock: Descriptor that every rank inherits.
        env: Added to the environment.
        poll: Called a few times a second while they run, and once after.

    Raises:
        BunbukuError: A rank failed; the others were ended. The message has the end of its log.
    """
    log.mkdir(parents=True, exist_ok=True)
    shared = {**os.environ, **(env or {}), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
    shared["MASTER_PORT"] = str(_free_port())
    logs = [log / f"rank-{rank}.log" for rank in range(ranks)]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for rank, path in enumerate(logs):
            own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            with path.open("ab") as output:
                started.append(
                    subprocess.Popen(
                        command,
                        env=own,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        pass_fds=(lock,),
                        start_new_session=True,
                    )
                )
        _wait(started, poll)
    finally:
        _end(started)
    failed = [rank for rank, process in enumerate(started) if process.returncode]
    if failed:
        # The first to fail took the others along: theirs is SIGTERM's status.
        first = next((rank for rank in failed if started[rank].returncode != -signal.SIGTERM), failed[0])
        status = started[first].returncode
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise BunbukuError(
            f"rank {first} of {ranks} {how}:\n{_tail(logs[first])}", hint=f"the whole log: {logs[first]}"
        )


def follow_parent() -> None:
    """End this process when the one that started it is gone. Call it first thing in a rank."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="follow-parent").start()


def _wait(started: Sequence[subprocess.Popen[bytes]], poll: Callable[[], None] | None) -> None:
    while None in (statuses := [process.poll() for process in started]):
        if any(statuses):
            return
        if poll:
            poll()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started[statuses.index(None)].wait(_POLL_SECONDS)
    if poll:
        poll()


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
