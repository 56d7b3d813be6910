"""Signs of life of the ranks, and what the publisher asks of them: small files in the scratch folder.

- `pulses/rank-N.json`  what a rank is doing, since when, on which host; written at most once a second
- `stop`                there once the run is to save its state and end, with the reason in it
"""

import os
import re
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from bunbuku_contracts import Config
from pydantic import NonNegativeInt, ValidationError

from bunbuku_pretrain.lines import replace

Doing = Literal["start", "step", "validate", "save"]
_LEAST_SECONDS = 1.0


class Pulse(Config):
    """What a rank last said."""

    rank: NonNegativeInt
    host: str
    pid: NonNegativeInt
    doing: Doing
    step: NonNegativeInt
    time: float
    """Seconds since 1970."""
    alive: float = 0.0
    """When its process last ran at all: one that waits for others does, one that is frozen does not."""


def own_host() -> str:
    """What this host is called: by its agent, by Slurm, or by itself."""
    return os.environ.get("BUNBUKU_HOST") or os.environ.get("SLURMD_NODENAME") or socket.gethostname()


class Heart:
    """Says what a rank is doing."""

    def __init__(self, scratch: Path, rank: int) -> None:
        self._path = scratch / "pulses" / f"rank-{rank}.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._rank = rank
        self._host = own_host()
        self._last: tuple[Doing, float] | None = None
        threading.Thread(target=self._live, daemon=True, name="heart").start()

    def _live(self) -> None:
        """Date the pulse anew as long as this process runs, whatever its work waits for."""
        while True:
            time.sleep(_LEAST_SECONDS)
            now = time.time()
            with suppress(FileNotFoundError):
                os.utime(self._path, (now, now))

    def beat(self, doing: Doing, step: int) -> None:
        now = time.time()
        if self._last is not None and self._last[0] == doing and now - self._last[1] < _LEAST_SECONDS:
            return
        self._last = (doing, now)
        pulse = Pulse(rank=self._rank, host=self._host, pid=os.getpid(), doing=doing, step=step, time=now)
        replace(self._path, pulse.model_dump_json())


def read_pulses(scratch: Path) -> list[Pulse]:
    """What all ranks last said, in the order of their numbers."""
    found: list[Pulse] = []
    for path in (scratch / "pulses").glob("rank-*.json"):
        if re.fullmatch(r"rank-\d+\.json", path.name):
            try:
                pulse = Pulse.model_validate_json(path.read_bytes())
                found.append(pulse.model_copy(update={"alive": path.stat().st_mtime}))
            except (FileNotFoundError, ValidationError):
                continue
    return sorted(found, key=lambda pulse: pulse.rank)


def forget_pulses(scratch: Path) -> None:
    for path in (scratch / "pulses").glob("rank-*.json"):
        path.unlink(missing_ok=True)


def stop_file(scratch: Path) -> Path:
    return scratch / "stop"


def ask_to_stop(scratch: Path, reason: str) -> None:
    replace(stop_file(scratch), reason)


def asked_to_stop(scratch: Path) -> str | None:
    """Why the run is to end, `None` if it is not."""
    try:
        return stop_file(scratch).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
