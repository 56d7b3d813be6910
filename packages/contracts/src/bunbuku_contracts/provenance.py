"""Where the code that ran came from: package, version, commit, host."""

import os
import platform
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

LOCK = "uv.lock"
"""Filled in by uv when it syncs, so a change of it alone does not make a checkout dirty."""


class Source(NamedTuple):
    """The package a stage's code is in."""

    package: str
    version: str
    commit: str | None


def source(body: Callable[..., Any]) -> Source:
    """Package, version and commit of the module that defines `body`."""
    package = body.__module__.partition(".")[0].replace("_", "-")
    try:
        found = version(package)
    except PackageNotFoundError:
        found = "unpackaged"
    file = getattr(sys.modules.get(body.__module__), "__file__", None)
    return Source(package, found, commit(Path(file)) if file else None)


def commit(file: Path) -> str | None:
    """The commit of the checkout that tracks `file`, `+dirty` appended if it has changes; `None` outside one."""
    tracked = _git(file.parent, "ls-files", "--error-unmatch", file.name)
    head = _git(file.parent, "rev-parse", "HEAD")
    if tracked is None or head is None:
        return None
    changes = _git(file.parent, "status", "--porcelain", "--untracked-files=no", "--", ":/", f":(exclude,top){LOCK}")
    return head + ("+dirty" if changes else "")


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def host() -> str:
    return socket.gethostname()


def python() -> str:
    return platform.python_version()


def peak_bytes() -> int:
    """Largest resident set so far of this process or of the largest of its ended children, in bytes."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage.ru_maxrss for usage in usages) * 1024
