"""Steps that a run passes without training on them: those that its config names, and those it rolled back over.

A detour is decided at a bad step: the run goes back before `first_step` and then passes over the steps up to
`last_step`. `detours.jsonl` in the scratch folder has all of them in the order in which they were decided. A state says
how many there were when it was saved; one that lies within a later detour belongs to a course that was given up.

`skips.jsonl` has the steps that were passed, with the reason, cut like the history by a run that goes on.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bunbuku_contracts import Config
from pydantic import PositiveInt

from bunbuku_pretrain.lines import read_until_cut, replace


class Detour(Config):
    """Steps to be passed over because of a bad one."""

    at_step: PositiveInt
    """The bad step."""
    first_step: PositiveInt
    last_step: PositiveInt
    reason: str


class Passed(Config):
    """Steps that were passed without an update. Their text was left behind exactly as if it had been trained on."""

    first_step: PositiveInt
    last_step: PositiveInt
    reason: str


def detours_file(scratch: Path) -> Path:
    return scratch / "detours.jsonl"


def skips_file(scratch: Path) -> Path:
    return scratch / "skips.jsonl"


def read_detours(scratch: Path) -> tuple[Detour, ...]:
    return tuple(read_until_cut(Detour, detours_file(scratch)))


def read_skips(scratch: Path) -> tuple[Passed, ...]:
    """What was passed, by what is written: neighbours of one reason are one."""
    joined: list[Passed] = []
    for line in read_until_cut(Passed, skips_file(scratch)):
        last = joined[-1] if joined else None
        if last and last.last_step + 1 == line.first_step and last.reason == line.reason:
            joined[-1] = last.model_copy(update={"last_step": line.last_step})
        else:
            joined.append(line)
    return tuple(joined)


def add_detour(scratch: Path, detour: Detour) -> None:
    _add(detours_file(scratch), detour)


def add_skip(scratch: Path, step: int, reason: str) -> None:
    _add(skips_file(scratch), Passed(first_step=step, last_step=step, reason=reason))


def cut_skips(scratch: Path, *, after_step: int) -> None:
    """Drop what was passed after a step."""
    kept = [line for line in read_until_cut(Passed, skips_file(scratch)) if line.last_step <= after_step]
    replace(skips_file(scratch), "".join(line.model_dump_json() + "\n" for line in kept))


def is_of_this_course(step: int, known: int, detours: Sequence[Detour]) -> bool:
    """Whether a state saved after `step`, when `known` detours had been decided, lies on the course as it is now."""
    return all(step < detour.first_step for detour in detours[known:])


def why_passed(step: int, named: Iterable[tuple[int, int]], detours: Iterable[Detour]) -> str | None:
    """Why a step is passed over, `None` if it is not.

    >>> why_passed(5, [(3, 7)], ()), why_passed(8, [(3, 7)], ())
    ('named in the config', None)
    """
    if any(first <= step <= last for first, last in named):
        return "named in the config"
    found = (detour for detour in detours if detour.first_step <= step <= detour.last_step)
    return next((f"rolled back from step {detour.at_step}: {detour.reason}" for detour in found), None)


def _add(path: Path, line: Config) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line.model_dump_json() + "\n")
        file.flush()
        os.fsync(file.fileno())
