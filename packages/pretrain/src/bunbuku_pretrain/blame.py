"""Hosts that cost a run its ranks: counted at every failure, kept in the scratch folder, left out of further starts.

A host is to blame for a failure if one of its ranks died or was the first to say nothing. After so many failures it is
excluded, if there is another that can take its place: for `srun` a node of the allocation that is not used, for agents as
many hosts as `least_nodes` wants.
"""

import os
import re
from pathlib import Path

from bunbuku_contracts import BunbukuError, Config
from bunbuku_contracts.launch import Srun
from pydantic import Field, PositiveInt, ValidationError

from bunbuku_pretrain.launching import AnyLauncher, Elastic
from bunbuku_pretrain.lines import replace
from bunbuku_pretrain.pulses import Pulse
from bunbuku_pretrain.training import TrainRun

_DIED = re.compile(r"\brank (\d+) of\b|/rank-(\d+)\.log")
_HUNG = re.compile(r"the longest rank ([^:]*):")


class Blamed(Config):
    """What a run holds against its hosts."""

    failures: dict[str, PositiveInt] = Field(default={})
    excluded: tuple[str, ...] = ()


def blamed_file(scratch: Path) -> Path:
    return scratch / "hosts.json"


def read_blamed(scratch: Path) -> Blamed:
    try:
        return Blamed.model_validate_json(blamed_file(scratch).read_bytes())
    except (FileNotFoundError, ValidationError):
        return Blamed()


def excluded(scratch: Path, settings: TrainRun) -> tuple[str, ...]:
    """Hosts on which nothing is started: those that the settings name, and those that were to blame too often."""
    return tuple(dict.fromkeys((*settings.excluded_hosts, *read_blamed(scratch).excluded)))


def culprit(error: BunbukuError, pulses: list[Pulse]) -> str | None:
    """The host of the ranks that a failure names; `None` if it names none, or ranks of several hosts."""
    said = str(error).splitlines()[0]
    if hung := _HUNG.search(said):
        ranks = {int(number) for number in re.findall(r"(\d+) on ", hung[1])}
    elif died := _DIED.search(f"{said} {error.hint or ''}"):
        ranks = {int(died[1] or died[2])}
    else:
        return None
    hosts = {pulse.host for pulse in pulses if pulse.rank in ranks}
    return hosts.pop() if len(hosts) == 1 else None


def blame(scratch: Path, settings: TrainRun, error: BunbukuError, pulses: list[Pulse]) -> str | None:
    """Count a failure against the host that it names; what to tell if that host is excluded from now on, or cannot be."""
    host, most = culprit(error, pulses), settings.exclude_after_failures
    if host is None or not most:
        return None
    known = read_blamed(scratch)
    failures = {**known.failures, host: known.failures.get(host, 0) + 1}
    told = None
    out = known.excluded
    if failures[host] >= most and host not in out:
        told = f"ranks on {host} died or hung {failures[host]} times: "
        gone = {*settings.excluded_hosts, *out, host}
        if _can_do_without(settings, gone, {*failures, *(pulse.host for pulse in pulses)}):
            out, told = (*out, host), told + "no rank is started there any more"
        else:
            told += "no other host can take its place"
    replace(blamed_file(scratch), Blamed(failures=failures, excluded=out).model_dump_json())
    return told


def _can_do_without(settings: TrainRun, gone: set[str], known: set[str]) -> bool:
    match settings.launcher:
        case Elastic(least_nodes=least):
            return len(known - gone) >= least
        case Srun(ranks_per_node=each):
            return int(os.environ.get("SLURM_JOB_NUM_NODES", "0")) - len(gone) >= settings.ranks // each
        case _:
            return False


def without(launcher: AnyLauncher, hosts: tuple[str, ...]) -> AnyLauncher:
    """The launcher with these hosts left out. Agents look for themselves whether theirs is one of them."""
    if isinstance(launcher, Srun) and hosts:
        return launcher.model_copy(update={"options": (*launcher.options, f"--exclude={','.join(hosts)}")})
    return launcher
