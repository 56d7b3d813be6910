"""Running programs that nobody vouches for: another process, with no files, network or children, and limits on all the rest.

What the right results are never enters the sandbox: the program's function is called there with given arguments, and what it
returns is compared here. So there is nothing in there that would help to cheat.
"""

import contextlib
import json
import os
import platform
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunbuku_contracts import BunbukuError, Config
from pydantic import PositiveFloat, PositiveInt

_TIME_SIGNALS = (-signal.SIGKILL, -signal.SIGXCPU)
_INSIDE = Path(__file__).with_name("confined.py")


class Limits(Config):
    """What one program may use."""

    cpu_seconds: PositiveInt = 2
    wall_seconds: PositiveFloat = 20.0
    """From the start of its process to its end, a busy machine's delays included."""
    memory_mebibytes: PositiveInt = 512
    output_kibibytes: PositiveInt = 256


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a program."""

    values: tuple[Any, ...] = ()
    """What its function returned, a value a call, as JSON has it; up to the first call that gave none."""
    problem: str | None = None
    """Why there are not more: what was raised, or `time`, `died`, `output`."""

    def passes(self, expected: Sequence[Any]) -> bool:
        """Whether every call gave what was expected, by value and type."""
        ours = [json.dumps(value) for value in self.values]
        return self.problem is None and ours == [json.dumps(value) for value in expected]


def run_program(source: str, function: str, calls: Sequence[Sequence[Any]], limits: Limits | None = None) -> Ran:
    r"""Call a program's function with each of the given arguments, in a sandbox.

    >>> run_program("def twice(x):\n    return 2 * x", "twice", [[1], ["狸"]]).values
    (2, '狸狸')
    >>> run_program("def peek():\n    return open('/etc/passwd').read()", "peek", [[]]).problem
    "PermissionError: [Errno 1] Operation not permitted: '/etc/passwd'"

    Raises:
        BunbukuError: This machine gives no sandbox. Nothing was run.
    """
    limits = limits or Limits()
    job = {
        "source": source,
        "function": function,
        "calls": [list(arguments) for arguments in calls],
        "memory_bytes": limits.memory_mebibytes * 2**20,
        "cpu_seconds": limits.cpu_seconds,
    }
    said, how = _communicate(json.dumps(job).encode(), limits)
    lines = [_parsed(line) for line in said.split(b"\n")[:-1]]
    if not lines or lines[0] != {"locked": True}:
        raise BunbukuError(
            f"programs cannot be run safely on this machine ({platform.system()} {platform.machine()}): {how}",
            hint="the sandbox needs Linux on x86-64 with seccomp; leave out the tasks that run programs",
        )
    return _outcome(lines[1:], len(calls), how)


def _communicate(job: bytes, limits: Limits) -> tuple[bytes, str]:
    """What the sandbox wrote, and how it ended."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return b"", "another system"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_INSIDE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        start_new_session=True,
    )
    with process:
        assert process.stdin and process.stdout and process.stderr
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(job)
            process.stdin.close()
        said, how = _read(process.stdout.fileno(), limits)
        if how:
            process.kill()
            return said, how
        complaint = process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
    if process.returncode:
        return said, "time" if process.returncode in _TIME_SIGNALS else complaint or "died"
    return said, "ended"


def _read(descriptor: int, limits: Limits) -> tuple[bytes, str]:
    """What comes out, and which limit it met, if any. No more is held than may come out."""
    deadline = time.monotonic() + limits.wall_seconds
    said, waiting = b"", select.poll()
    waiting.register(descriptor, select.POLLIN)
    while len(said) <= limits.output_kibibytes * 1024:
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return said, "time"
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return said, ""
        said += chunk
    return said, "output"


def _outcome(lines: Sequence[Any], calls: int, how: str) -> Ran:
    values: list[Any] = []
    if how == "output":
        return Ran(problem=how)
    for line in lines[:calls]:
        if not isinstance(line, dict) or line.keys() != {"value"}:
            error = line.get("error", "died") if isinstance(line, dict) else "died"
            return Ran(tuple(values), str(error))
        values.append(line["value"])
    if len(values) < calls:
        return Ran(tuple(values), how if how != "ended" else "died")
    return Ran(tuple(values))


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
