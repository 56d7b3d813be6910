"""Where a run came from: its licences, the code that ran, and the machines it ran on."""

from dataclasses import dataclass
from typing import NamedTuple

from bunbuku_eval.ancestry import Ancestry


class Licence(NamedTuple):
    name: str
    brought_by: tuple[str, ...]
    """Artifacts with it whose inputs do not have it."""
    carried_by: int
    """How many artifacts have it."""


class Code(NamedTuple):
    package: str
    version: str
    commit: str
    stages: tuple[str, ...]


class Machine(NamedTuple):
    host: str
    python: str
    artifacts: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Origin:
    licences: tuple[Licence, ...]
    code: tuple[Code, ...]
    machines: tuple[Machine, ...]


def origin(ancestry: Ancestry) -> Origin:
    """Licences with what brought them in, packages with their commits, machines with what they did."""
    return Origin(_licences(ancestry), _code(ancestry), _machines(ancestry))


def _licences(ancestry: Ancestry) -> tuple[Licence, ...]:
    carried: dict[str, list[str]] = {}
    brought: dict[str, list[str]] = {}
    for entry in ancestry:
        if entry.manifest is None:
            continue
        inherited = {
            licence
            for one in entry.inputs
            if (below := ancestry[one.key]).manifest
            for licence in below.manifest.spec.licences
        }
        for licence in entry.manifest.spec.licences:
            carried.setdefault(licence, []).append(entry.name)
            if licence not in inherited:
                brought.setdefault(licence, []).append(entry.name)
    return tuple(
        Licence(name, tuple(sorted(set(brought.get(name, ())))), len(carried[name])) for name in sorted(carried)
    )


def _code(ancestry: Ancestry) -> tuple[Code, ...]:
    stages: dict[tuple[str, str, str], set[str]] = {}
    for entry in ancestry:
        if entry.manifest:
            run = entry.manifest.run
            stages.setdefault((run.package, run.version, run.commit or "not from a checkout"), set()).add(entry.stage)
    return tuple(Code(*key, tuple(sorted(stages[key]))) for key in sorted(stages))


def _machines(ancestry: Ancestry) -> tuple[Machine, ...]:
    found: dict[tuple[str, str], Machine] = {}
    for entry in ancestry:
        if entry.manifest:
            run = entry.manifest.run
            key = (run.host, run.python)
            before = found.get(key, Machine(*key, 0, 0.0, 0))
            found[key] = before._replace(
                artifacts=before.artifacts + 1,
                seconds=before.seconds + (0 if entry.manifest.recipe.milestone else run.seconds),
                peak_bytes=max(before.peak_bytes, run.peak_bytes),
            )
    return tuple(found[key] for key in sorted(found))
