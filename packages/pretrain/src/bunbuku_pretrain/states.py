"""The training states of a run: which are whole, which are kept, which is gone on from.

A state is a folder `step-00000100`. It gets this name when everything in it is on the disk, so that a folder of this name
was written to its end; `hashes.json` in it says whether it still is what was written. One that is not is set aside under
another name, and an older one serves.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bunbuku_contracts.digest import hash_file

from bunbuku_pretrain import observations
from bunbuku_pretrain.detours import Detour, is_of_this_course
from bunbuku_pretrain.job import STATE, read_state, saved_states

HASHES = "hashes.json"
_logger = logging.getLogger(__name__)


def seal(folder: Path, digests: Mapping[str, str]) -> None:
    """Write down what the files of a state are."""
    facts = {name: [(folder / name).stat().st_size, digest] for name, digest in sorted(digests.items())}
    (folder / HASHES).write_text(json.dumps(facts, indent=0) + "\n", encoding="utf-8")


def damage(folder: Path, *, share: int = 0, shares: int = 1) -> str:
    """What is wrong with a state, nothing if it is what was written.

    Args:
        folder: The state.
        share: Which of the files to read: those whose number, divided by `shares`, leaves this.
        shares: Among how many readers the files are divided.
    """
    try:
        facts = json.loads((folder / HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{HASHES} is missing or cut off"
    for number, (name, (size, digest)) in enumerate(facts.items()):
        if number % shares != share:
            continue
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if hash_file(path) != digest:
            return f"{name} is not what was written"
    return ""


def set_aside(scratch: Path, folder: Path, problem: str) -> None:
    """Take a damaged state out of the row of those that can be gone on from, and tell."""
    aside = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    text = f"the state {folder.name} is damaged ({problem}); the one before it serves"
    _logger.warning("%s", text)
    observations.note(scratch, "damaged", text, step=int(folder.name.removeprefix("step-")))


def candidates(folder: Path, detours: Sequence[Detour]) -> list[Path]:
    """States to go on from, the newest first, without those of a course that was given up."""
    found: list[Path] = []
    for path in reversed(saved_states(folder)):
        if not (path / STATE).is_file():
            found.append(path)  # damaged: whoever looks closer sets it aside
        else:
            state = read_state(path)
            if is_of_this_course(state.step, state.detours, detours):
                found.append(path)
    return found


def newest_whole(scratch: Path, folder: Path, detours: Sequence[Detour]) -> Path | None:
    """The newest state that is what was written; damaged ones before it are set aside."""
    for path in candidates(folder, detours):
        if not (problem := damage(path)):
            return path
        set_aside(scratch, path, problem)
    return None


def drop_given_up(folder: Path, detours: Sequence[Detour]) -> None:
    """Remove the states of a course that was given up, and those whose writer died."""
    kept = set(candidates(folder, detours))
    for path in folder.glob("step-*.partial"):
        shutil.rmtree(path)
    for path in saved_states(folder):
        if path not in kept:
            shutil.rmtree(path)


def retained(steps: Sequence[int], *, keep: int, every: int | None, reach: int) -> set[int]:
    """Which of the saved steps are kept.

    Args:
        steps: Saved ones, in their order.
        keep: As many of the newest.
        every: Multiples of this, too.
        reach: A bad step to come must find a state so many steps before it.

    >>> sorted(retained([10, 20, 30, 40], keep=1, every=20, reach=0))
    [20, 40]
    >>> sorted(retained([10, 20, 30, 40], keep=1, every=None, reach=15))
    [20, 30, 40]
    """
    kept = set(steps[-keep:]) | {step for step in steps if every and step % every == 0}
    if reach and steps:
        needed = [step for step in steps if step <= steps[-1] + 1 - reach]
        kept |= {step for step in steps if step >= (needed[-1] if needed else 0)}
    return kept


def prune(folder: Path, *, keep: int, every: int | None, reach: int) -> None:
    """Remove the states that need not be kept, and what was set aside before them."""
    found = {int(path.name.removeprefix("step-")): path for path in saved_states(folder)}
    kept = retained(list(found), keep=keep, every=every, reach=reach)
    for step, path in found.items():
        if step not in kept:
            shutil.rmtree(path)
    for path in folder.glob("step-*.damaged"):
        if not found or int(path.name[5:13]) < max(found):
            shutil.rmtree(path)
