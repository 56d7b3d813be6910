"""What the publisher does so that a run survives its ranks: start them again, end them when they hang, stop them in order.

Ranks that die are started again from the newest whole state, after a while that doubles, so often within a window of
time. Two failures in a row at the same step that say the same are no accident: then the run stops, and says so.
"""

import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import FrameType

import psutil
from bunbuku_contracts import BunbukuError, Unfinished

from bunbuku_pretrain import observations
from bunbuku_pretrain.blame import blame
from bunbuku_pretrain.job import Job, Outcome, StepRecord, outcome_file, read_history
from bunbuku_pretrain.pulses import (
    Pulse,
    ask_to_stop,
    asked_to_stop,
    forget_pulses,
    own_host,
    read_pulses,
    stop_file,
)
from bunbuku_pretrain.training import TrainRun

USUAL_STEPS = 50
"""So many of the last steps say how long one usually takes, as soon as there are a fifth of them."""
FROZEN_SECONDS = 5.0
"""A process dates its pulse every second, whatever it waits for: one that has not for so long does not run."""
_DUMP_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 300.0
_FROM_OUTSIDE = re.compile(r"was killed by signal (9|15):")
"""A death that says nothing about the run itself."""


class Hung(BunbukuError):
    """Ranks said nothing for too long."""


@dataclass
class Restarts:
    """How often the ranks of a run may be started again."""

    settings: TrainRun
    times: list[float] = field(default_factory=list[float])
    last: tuple[int, str] | None = None
    """Where the last failure was and what it said."""

    def after(self, error: BunbukuError, *, step: int, now: float) -> float:
        """How long to wait before the next start.

        Raises:
            BunbukuError: There is none, and why.
        """
        said = _gist(str(error))
        if self.last == (step, said) and not _FROM_OUTSIDE.search(str(error)):
            raise BunbukuError(
                f"the ranks failed twice in the same way after step {step}: {error}",
                hint=f"that is no accident, and the states before it are kept; {error.hint}",
            ) from error
        self.last = (step, said)
        self.times = [time for time in self.times if now - time < self.settings.restart_window_seconds]
        if len(self.times) >= self.settings.restarts:
            if not self.settings.restarts:
                raise error
            raise BunbukuError(
                f"the ranks failed {len(self.times) + 1} times within {self.settings.restart_window_seconds:g} s, "
                f"now after step {step}: {error}",
                hint=f"the same command goes on; {error.hint}",
            ) from error
        self.times.append(now)
        return min(_LONGEST_DELAY_SECONDS, self.settings.restart_delay_seconds * 2 ** (len(self.times) - 1))


def _gist(text: str) -> str:
    """What a failure says: its first and last line, without numbers that differ each time."""
    lines = text.splitlines() or [""]
    return re.sub(r"0x[0-9a-f]+|\d+", "N", f"{lines[0]} {lines[-1]}")


class Watchdog:
    """Sees from their pulses that ranks hang."""

    def __init__(self, settings: TrainRun) -> None:
        self._limits = {
            "start": max(settings.step_timeout_seconds, settings.collective_timeout_seconds),
            "step": settings.step_timeout_seconds,
            "validate": settings.step_timeout_seconds,
            "save": settings.save_timeout_seconds,
        }

    def silent(self, pulses: list[Pulse], now: float) -> str:
        """Which ranks hang, nothing if none does. Those are named that do not even run, or else stopped first."""
        late = [pulse for pulse in pulses if now - pulse.time > self._limits[pulse.doing]]
        if not late:
            return ""
        frozen = [pulse for pulse in late if pulse.alive and now - pulse.alive > FROZEN_SECONDS]
        first = min(frozen or late, key=lambda pulse: (pulse.step, pulse.time))
        stopped = [pulse for pulse in late if pulse.step == first.step and pulse.time - first.time < 1.5]
        named = frozen or stopped
        ranks = ", ".join(f"{pulse.rank} on {pulse.host}" for pulse in named)
        return (
            f"{len(late)} of {len(pulses)} ranks say nothing any more, the longest rank {ranks}: "
            f"{now - first.time:.0f} s in `{first.doing}` after step {first.step}, "
            f"more than the {self._limits[first.doing]:g} s of `{_LIMIT_NAMES[first.doing]}`"
        )


_LIMIT_NAMES = {
    "start": "collective_timeout_seconds",
    "step": "step_timeout_seconds",
    "validate": "step_timeout_seconds",
    "save": "save_timeout_seconds",
}


class Pace:
    """Sees that a step takes much longer than is usual."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._seconds: deque[float] = deque(maxlen=USUAL_STEPS)
        self._slow = False

    def look(self, record: StepRecord) -> str:
        """What to say of a step: when the pace falls, not at every slow step after."""
        if record.skipped is not None or not record.seconds:
            return ""
        usual = median(self._seconds) if len(self._seconds) >= USUAL_STEPS // 5 else None
        slow = usual is not None and record.seconds > self._factor * usual
        self._seconds.append(record.seconds)
        fell, self._slow = slow and not self._slow, slow
        if not fell or usual is None:
            return ""
        return f"a step took {record.seconds:.3g} s, {record.seconds / usual:.1f} times the usual {usual:.3g} s"


def supervise(
    job: Job,
    launch: Callable[[Callable[[], None]], None],
    look: Callable[[], None],
    *,
    before: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run ranks to the end of the run, or until it is asked to stop, starting them again when they fail.

    Args:
        job: What they do.
        launch: Starts the ranks and returns when they have ended; calls what it is given a few times a second.
        look: What the publisher does meanwhile.
        before: Looks whether the ranks can be started. What it raises is not answered by another start.

    Raises:
        BunbukuError: They cannot go on by themselves.
    """
    restarts = Restarts(job.settings)
    stop_file(job.scratch).unlink(missing_ok=True)
    with _stop_signals(job.scratch):
        while True:
            before()
            try:
                _attempt(job, launch, look)
                return _outcome(job) or Outcome(status="done", step=job.course.steps)
            except BunbukuError as error:
                outcome = _outcome(job)
                if outcome is not None and outcome.status == "failed":
                    raise BunbukuError(outcome.problem, hint=outcome.hint) from None
                if outcome is not None:
                    return outcome  # an agent or a rank complained after the work was done
                step = last_step(job.scratch)
                _insist_on_going_on(job, step, error)
                if told := blame(job.scratch, job.settings, error, read_pulses(job.scratch)):
                    observations.note(job.scratch, "host", told, step=step)
                    restarts.last = None  # that it failed there twice says nothing about the run
                delay = restarts.after(error, step=step, now=time.monotonic())
                count = f"restart {len(restarts.times)} of {job.settings.restarts} in {delay:g} s"
                observations.note(
                    job.scratch, "failure", f"{str(error).splitlines()[0].rstrip(':')}: {count}", step=step
                )
                _wait(job, delay)


def last_step(scratch: Path) -> int:
    """The last step in the history."""
    history = read_history(scratch)
    return history[-1].step if history else 0


def _attempt(job: Job, launch: Callable[[Callable[[], None]], None], look: Callable[[], None]) -> None:
    forget_pulses(job.scratch)
    outcome_file(job.scratch).unlink(missing_ok=True)
    watchdog = Watchdog(job.settings)

    def poll() -> None:
        look()
        pulses = read_pulses(job.scratch)
        if problem := watchdog.silent(pulses, time.time()):
            problem += _stuck(pulses)
            _dump_stacks(pulses)
            raise Hung(problem, hint=f"where each rank was is at the end of its log in {job.log}")

    launch(poll)


def _stuck(pulses: list[Pulse]) -> str:
    """Which ranks of this machine do not even run: stopped, dead, or waiting for a disk."""
    found: list[str] = []
    for pulse in pulses:
        if pulse.host == own_host():
            with suppress(psutil.Error):
                status = psutil.Process(pulse.pid).status()
                if status in (
                    psutil.STATUS_STOPPED,
                    psutil.STATUS_DISK_SLEEP,
                    psutil.STATUS_ZOMBIE,
                    psutil.STATUS_DEAD,
                ):
                    found.append(f"rank {pulse.rank} is in state {status!r}")
    return f"; {', '.join(found)}" if found else ""


def _dump_stacks(pulses: list[Pulse]) -> None:
    """Have the ranks of this machine write into their logs where they are."""
    here = [pulse for pulse in pulses if pulse.host == own_host()]
    for pulse in here:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pulse.pid, signal.SIGUSR2)
    if here:
        time.sleep(_DUMP_SECONDS)


def _outcome(job: Job) -> Outcome | None:
    path = outcome_file(job.scratch)
    return Outcome.model_validate_json(path.read_bytes()) if path.is_file() else None


def _insist_on_going_on(job: Job, step: int, error: BunbukuError) -> None:
    reason = asked_to_stop(job.scratch)
    if reason is not None:
        raise Unfinished(
            f"stopped by {reason} after step {step}, while ranks failed: {str(error).splitlines()[0]}",
            hint="give the same command again to go on from the newest state",
        ) from error


def _wait(job: Job, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and asked_to_stop(job.scratch) is None:
        time.sleep(min(0.2, seconds))


@contextmanager
def _stop_signals(scratch: Path) -> Iterator[None]:
    """While this lasts, SIGTERM and SIGUSR1 ask the ranks to save and end. A second one has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        ask_to_stop(scratch, signal.Signals(number).name)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
