"""SHA-256 over canonical JSON, files and folders.

Files are hashed by a few threads, since `hashlib` releases the GIL. What lies outside any artifact is hashed once and
remembered by device, inode, size and times, so that a pipeline over a large input starts at once the second time.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from bunbuku_contracts.errors import ArtifactError

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

_THREADS = min(8, os.cpu_count() or 1)
_SETTLED_NANOSECONDS = 2_000_000_000
"""A file changed more recently than this may change again within one tick of its clock: not remembered."""


def hash_json(value: object) -> str:
    """Digest of `value` as canonical JSON: sorted keys, no spaces, no NaN.

    >>> hash_json({"b": 1, "a": [2.5, "狸"]}) == hash_json({"a": [2.5, "狸"], "b": 1})
    True

    Raises:
        TypeError: `value` holds something JSON cannot spell. Falling back to `str()` would let
            a memory address fork the digest from one run to the next.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_file(path: Path) -> str:
    """Digest of a file's bytes, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_and_hash(path: Path) -> str:
    """Digest of a file whose bytes are on the disk when this returns."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(paths: Iterable[Path], *, sync: bool = False) -> list[str]:
    """Digests of several files in their order, computed by a few threads."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(sync_and_hash if sync else hash_file, paths))


def walk(root: Path, *, follow: bool) -> Iterator[Path]:
    """Every file under `root`, in order of name, the same on every machine.

    Args:
        root: A folder.
        follow: Whether links are followed; if not, a link is an error, since its target would not travel along.

    Raises:
        ArtifactError: There is a link where none may be, or links that lead back to where they came from.
    """
    yield from _walk(root, follow, ())


def _walk(folder: Path, follow: bool, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise ArtifactError(f"{folder} leads back into itself", hint="remove the symbolic link that closes the loop")
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_symlink() and not follow:
            raise ArtifactError(f"{path} is a symbolic link", hint="an artifact holds its own files: copy the target")
        if entry.is_symlink() and not path.exists():
            raise ArtifactError(f"{path} is a symbolic link to nothing", hint="mend or remove the link")
        if entry.is_dir():
            yield from _walk(path, follow, (*above, here))
        else:
            yield path


def hash_tree(path: Path) -> str:
    """Digest of a file, or of every file under a folder with its relative path. Remembered between calls.

    Raises:
        ArtifactError: There is nothing at `path`, or its links form a loop.
    """
    try:
        if path.is_file():
            return _remembered([path])[0]
        if not path.exists():
            raise ArtifactError(f"there is nothing at {str(path)!r}", hint="give the path of a file or folder")
        found = list(walk(path, follow=True))
    except OSError as error:
        raise ArtifactError(
            f"{str(path)!r} cannot be read: {error.strerror}", hint="is it a link to itself?"
        ) from error
    names = [child.relative_to(path).as_posix() for child in found]
    return hash_json(list(zip(names, _remembered(found), strict=True)))


def cache_dir() -> Path:
    """Where bunbuku keeps what it can make again: `$BUNBUKU_CACHE`, else `$XDG_CACHE_HOME/bunbuku`."""
    if named := os.environ.get("BUNBUKU_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "bunbuku"


def _remembered(paths: list[Path]) -> list[str]:
    keys = [_identity(path) for path in paths]
    with _memory() as memory:
        known = [_recall(memory, key) for key in keys]
    missing = [index for index, digest in enumerate(known) if digest is None]
    fresh = hash_files([paths[index] for index in missing])
    with _memory() as memory:
        for index, digest in zip(missing, fresh, strict=True):
            known[index] = digest
            if memory and keys[index] == _identity(paths[index]) and _settled(paths[index]):
                memory.execute("INSERT OR REPLACE INTO digests VALUES (?, ?)", (keys[index], digest))
    return [digest for digest in known if digest is not None]


def _identity(path: Path) -> str:
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _settled(path: Path) -> bool:
    status = path.stat()
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NANOSECONDS


def _recall(memory: sqlite3.Connection | None, key: str) -> str | None:
    found = memory and memory.execute("SELECT sha256 FROM digests WHERE file = ?", (key,)).fetchone()
    return found[0] if found else None


@contextlib.contextmanager
def _memory() -> Generator[sqlite3.Connection | None]:
    """The remembered digests, or `None` where no cache can be kept: then everything is simply hashed again."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        memory = sqlite3.connect(cache_dir() / "digests.sqlite", timeout=10)
        memory.execute("CREATE TABLE IF NOT EXISTS digests (file TEXT PRIMARY KEY, sha256 TEXT NOT NULL)")
    except (OSError, sqlite3.Error):
        yield None
        return
    with contextlib.closing(memory), memory:
        yield memory
