"""What is looked at before ranks are started, so that nothing fails on a thousand GPUs that one stat would have told.

Every check says what it found, what is wanted, and what to do if they do not agree. All are made before anything is
refused: the table has every problem at once. The network is measured by the ranks themselves, before their first step.
"""

import io
import logging
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from bunbuku_contracts import Architecture, BunbukuError
from bunbuku_contracts.digest import hash_file
from bunbuku_contracts.launch import Local
from rich.console import Console
from rich.table import Table

from bunbuku_pretrain.devices import runs_on_gpu
from bunbuku_pretrain.indexed import CODES, MAGIC, VERSION
from bunbuku_pretrain.job import Job, saved_states, states
from bunbuku_pretrain.launching import Elastic
from bunbuku_pretrain.precision import WEIGHT_BYTES, state_bytes
from bunbuku_pretrain.pulses import own_host
from bunbuku_pretrain.reading import TokenFile

SHARED_MEMORY_BYTES = 64 << 20
"""What NCCL may take of /dev/shm for a rank; the 64 MiB of a container's default are used up by the second."""
QUICK_WRITE = 1 << 30
"""Bytes a second that no rank can be expected to write."""
_SHM = Path("/dev/shm")
_logger = logging.getLogger(__name__)


class Check(NamedTuple):
    """One line of the table."""

    what: str
    found: str
    wanted: str
    remedy: str = ""
    """What to do about it; empty if it is well."""


class Refused(BunbukuError):
    """The ranks are not started."""


def insist(job: Job, digests: dict[Path, str]) -> None:
    """Look at everything, write the table down, and refuse to start ranks that would fail.

    Args:
        job: What they are to do.
        digests: What the token files are to be, where they are to be hashed.

    Raises:
        Refused: Something is missing, with its remedy.
    """
    checks = list(look(job, digests))
    text = table(checks)
    _logger.info("before the ranks start:\n%s", text)
    (job.log / "preflight.txt").write_text(text, encoding="utf-8")
    _refuse(checks)


def insist_on_text(parts: Mapping[str, TokenFile], dtype: str) -> None:
    """Refuse token files that are not what they are said to be, before anything is planned with them.

    Raises:
        Refused: One is missing, or does not fit its index.
    """
    _refuse([check for name, file in parts.items() for check in _token_file(name, file, dtype, {})])


def _refuse(checks: Sequence[Check]) -> None:
    wrong = [check for check in checks if check.remedy]
    if wrong:
        problems = "; ".join(f"{one.what}: {one.found}, wanted: {one.wanted}" for one in wrong)
        raise Refused(f"the ranks were not started: {problems}", hint="; ".join(one.remedy for one in wrong))


def look(job: Job, digests: dict[Path, str]) -> Iterator[Check]:
    """All checks, in order."""
    for name, file in job.parts.items():
        yield from _token_file(name, file, job.dtype, digests)
    yield disk(job.architecture, job)
    if not isinstance(job.settings.launcher, Elastic):
        yield from node(job)  # the publisher may be on none of the nodes that agents run on
    if isinstance(job.settings.launcher, Local) and job.settings.excluded_hosts:
        yield _host(job)
    yield _timeouts(job)


def node(job: Job) -> Iterator[Check]:
    """What must be so on every node."""
    yield shared_memory(job)
    yield from _processes(job)


def insist_on_node(job: Job) -> None:
    """Refuse to begin on this node if it lacks something: the first rank of every node asks.

    Raises:
        Refused: naming the node.
    """
    if wrong := [check for check in node(job) if check.remedy]:
        problems = "; ".join(f"{one.what}: {one.found}, wanted: {one.wanted}" for one in wrong)
        raise Refused(f"node {own_host()} is not fit: {problems}", hint="; ".join(one.remedy for one in wrong))


def table(checks: list[Check]) -> str:
    """The checks as text."""
    shown = Table("what", "found", "wanted", "", box=None, pad_edge=False)
    for check in checks:
        shown.add_row(check.what, check.found, check.wanted, check.remedy or "well")
    buffer = io.StringIO()
    Console(file=buffer, width=160).print(shown)
    return buffer.getvalue()


def _token_file(name: str, file: TokenFile, dtype: str, digests: dict[Path, str]) -> Iterator[Check]:
    remedy = "make the tokens again: bunbuku-pretrain tokenize; or put back what was moved"
    wanted = f"{file.documents:,} documents, {file.tokens:,} tokens in {dtype}"
    try:
        found = index_facts(file.bin)
    except OSError as error:
        yield Check(f"text of {name}", f"{error.filename} cannot be read: {error.strerror}", wanted, remedy)
        return
    problem = found if isinstance(found, str) else ""
    if isinstance(found, IndexFacts):
        said = f"{found.documents:,} documents, {found.tokens:,} tokens in {found.dtype}"
        problem = "" if said == wanted else said
        if not problem and found.bin_bytes != found.tokens * np.dtype(found.dtype).itemsize:
            problem = f"{file.bin} has {found.bin_bytes:,} bytes, its index says {found.tokens:,} tokens"
    yield Check(f"text of {name}", problem or wanted, wanted, remedy if problem else "")
    for path in (file.bin, file.bin.with_suffix(".idx")):
        if not problem and path in digests:
            digest = hash_file(path)
            agrees = digest == digests[path]
            yield Check(f"hash of {path.name}", digest[:12], digests[path][:12], "" if agrees else remedy)


class IndexFacts(NamedTuple):
    """What an index and the size of its tokens say."""

    documents: int
    tokens: int
    dtype: str
    bin_bytes: int


def index_facts(bin: Path) -> IndexFacts | str:
    """What a pair of token files holds, read from the head and the end of the index; or what is wrong with it.

    Raises:
        OSError: One of them cannot be read.
    """
    idx = bin.with_suffix(".idx")
    head = struct.Struct("<QBQQ")
    with idx.open("rb") as file:
        magic, raw = file.read(len(MAGIC)), file.read(head.size)
        if magic != MAGIC:
            return f"{idx} is not an index of Megatron: it begins with {magic!r}"
        if len(raw) < head.size:
            return f"{idx} is cut off"
        version, code, count, _ = head.unpack(raw)
        dtypes = {code: dtype for dtype, code in CODES.items()}
        if version != VERSION or code not in dtypes:
            return f"{idx} has version {version} and number format {code}, known are {VERSION} and {sorted(dtypes)}"
        size, wanted = idx.stat().st_size, len(MAGIC) + head.size + 12 * count + 8 * (count + 1)
        if size != wanted:
            return f"{idx} has {size:,} bytes, {count:,} documents need {wanted:,}"
        tokens = 0
        if count:
            begin = len(MAGIC) + head.size
            file.seek(begin + 4 * (count - 1))
            (last,) = struct.unpack("<i", file.read(4))
            file.seek(begin + 4 * count + 8 * (count - 1))
            (offset,) = struct.unpack("<q", file.read(8))
            tokens = offset // np.dtype(dtypes[code]).itemsize + last
    return IndexFacts(count, tokens, dtypes[code], bin.stat().st_size)


def disk(architecture: Architecture, job: Job) -> Check:
    """Whether the states that are kept, the one being written and two milestones fit."""
    precision, settings = job.config.precision, job.settings
    each = architecture.parameters * state_bytes(precision)
    steps = job.course.steps
    kept = min(settings.keep_checkpoints + 1, -(-steps // settings.checkpoint_interval_steps) + 1)
    kept += steps // settings.keep_every_steps if settings.keep_every_steps else 0
    kept = max(0, kept - len(saved_states(states(job.scratch))))
    milestones = 2 * min(2, len(job.milestone_steps))
    needed = kept * each + milestones * architecture.parameters * WEIGHT_BYTES[precision]
    free = shutil.disk_usage(job.scratch).free
    remedy = f"free {_size(needed - free)} where {job.scratch} is, lower `keep_checkpoints`, or give another --out"
    wanted = f"{_size(needed)} for {kept} more states of {_size(each)}" + (" and milestones" if milestones else "")
    return Check("free disk", _size(free), wanted, remedy if free < needed else "")


def shared_memory(job: Job) -> Check:
    """Whether /dev/shm holds what the ranks of a machine share. Text is read from mapped files and needs none."""
    on_gpu = runs_on_gpu(job.settings)
    launcher = job.settings.launcher
    here = job.settings.ranks // getattr(launcher, "most_nodes", 1)
    here = getattr(launcher, "ranks_per_node", here)
    needed = here * SHARED_MEMORY_BYTES if on_gpu and here > 1 else 0
    size = shutil.disk_usage(_SHM).total if _SHM.is_dir() else 0
    remedy = f"give the container more, such as --shm-size={-(-needed >> 30)}g, or remount {_SHM}"
    wanted = f"{_size(needed)} for {here} ranks" if needed else "nothing: no NCCL on one machine"
    return Check("shared memory", _size(size), wanted, remedy if size < needed else "")


def _processes(job: Job) -> Iterator[Check]:
    if not job.settings.required_processes:
        return
    running = {process.info["name"] for process in psutil.process_iter(["name"])}
    for name in job.settings.required_processes:
        there = name in running
        remedy = f"start {name} on every node: without it the network is slow or absent"
        yield Check(f"process {name}", "runs" if there else "does not run", "runs", "" if there else remedy)


def _host(job: Job) -> Check:
    name = own_host()
    excluded = name in job.settings.excluded_hosts
    remedy = "give the command on another host, or take this one out of `excluded_hosts`"
    return Check("host", name, f"none of {', '.join(job.settings.excluded_hosts)}", remedy if excluded else "")


def _timeouts(job: Job) -> Check:
    settings = job.settings
    found = (
        f"step {settings.step_timeout_seconds:g} s, save {settings.save_timeout_seconds:g} s, "
        f"collective {settings.collective_timeout_seconds:g} s"
    )
    whole = job.architecture.parameters * state_bytes(job.config.precision)
    speed = whole / settings.ranks / settings.save_timeout_seconds
    remedy = "raise `save_timeout_seconds`" if speed > QUICK_WRITE else ""
    return Check("time-outs", found, f"a rank writes its part of a state at {_size(speed)}/s or faster", remedy)


def _size(count: float) -> str:
    """A number of bytes for people.

    >>> _size(3 << 30), _size(1500)
    ('3.0 GiB', '1.5 KiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    return f"{count:.1f} TiB"
