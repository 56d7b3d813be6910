"""An artifact being made, and the one way it becomes an artifact.

A draft is a locked folder beside the destination, named by the recipe it is for. The stage's body writes there;
publishing hashes and syncs what it finds, writes the manifest last, and renames the folder. A crash at any point leaves
a draft and no artifact, or the whole artifact.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from bunbuku_contracts import progress
from bunbuku_contracts.artifact import MANIFEST, Artifact
from bunbuku_contracts.digest import hash_files, walk
from bunbuku_contracts.errors import ArtifactError, BunbukuError
from bunbuku_contracts.launch import Launcher, Local, run_ranks
from bunbuku_contracts.manifest import LOG, OUTSIDE_CONTENT, File, Manifest, Spec

_ORPHAN_SECONDS = 3.0
_UNWRITABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing there is not permitted",
    errno.EPERM: "writing there is not permitted",
}


@dataclass
class Draft:
    """An artifact being made: write files under `dir`, count what can be counted."""

    dir: Path
    scratch: Path
    """Intermediate state: found again by the next run of a resumable stage, never published. Made on first use."""
    label: str = ""
    """What progress is reported as: the stage's name."""
    lock: int = -1
    """Descriptor of the lock, for processes that work under this draft."""
    inputs: Mapping[str, object] = field(default_factory=dict[str, object])
    """Role to what the stage was given."""
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    _counts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    _milestone: "Callable[[str, Callable[[Draft], Spec]], Artifact[Any]] | None" = None

    @property
    def log(self) -> Path:
        """A folder for TensorBoard events and terminal logs: published and verified, outside the content."""
        path = self.dir / LOG
        path.mkdir(exist_ok=True)
        return path

    def count(self, path: Path, *, rows: int | None = None, tokens: int | None = None, part: str | None = None) -> None:
        """State facts of a file in the draft: how many rows and tokens it has, which part it belongs to.

        What was said of the file before stays, unless it is said anew.
        """
        facts = {"rows": rows, "tokens": tokens, "part": part}
        known = self._counts.setdefault(path.relative_to(self.dir).as_posix(), {})
        known |= {name: value for name, value in facts.items() if value is not None}

    def track[T](
        self,
        items: Iterable[T],
        *,
        unit: str,
        total: int | None = None,
        label: str | None = None,
        done: int = 0,
        note: Callable[[], str] | None = None,
        panel: Callable[[], RenderableType] | None = None,
    ) -> Iterator[T]:
        """`items`, one by one, with progress for people. See `bunbuku_contracts.progress`."""
        return progress.track(
            items, unit=unit, total=total, label=label or self.label, done=done, note=note, panel=panel
        )

    def launch(
        self,
        command: Sequence[str],
        *,
        ranks: int,
        env: Mapping[str, str] | None = None,
        poll: Callable[[], None] | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        """Run `ranks` processes of `command` under this draft's lock. See `bunbuku_contracts.launch.run_ranks`."""
        run_ranks(command, ranks=ranks, log=self.log, lock=self.lock, env=env, poll=poll, launcher=launcher or Local())

    def milestone[S: Spec](self, name: str, make: "Callable[[Draft], S]") -> Artifact[S]:
        """A whole artifact `OUT@name`, published beside the output while the stage goes on; found again if made.

        Args:
            name: Lower-case letters, digits and hyphens, such as `step-000200`.
            make: Writes it into a draft of its own and states its spec.
        """
        if self._milestone is None:
            raise ValueError("milestones are published by a stage's own draft, not by a milestone's")
        return self._milestone(name, make)

    def files(self) -> tuple[File, ...]:
        """Everything under `dir`, synced and hashed. What is in the folder is in the artifact."""
        paths = [path for path in walk(self.dir, follow=False) if path != self.dir / MANIFEST]
        digests = hash_files(paths, sync=True)
        return tuple(self._file(path, digest) for path, digest in zip(paths, digests, strict=True))

    def _file(self, path: Path, digest: str) -> File:
        name = path.relative_to(self.dir).as_posix()
        top = name.partition("/")[0]
        facts: dict[str, Any] = {"part": top} if top in OUTSIDE_CONTENT else {}
        facts |= self._counts.get(name, {})
        if facts.get("rows") == 0:
            hint = "an empty shard hides a loss: write no file for what is not there"
            raise ArtifactError(f"{name} has 0 rows", hint=hint)
        return File(path=name, bytes=path.stat().st_size, sha256=digest, **facts)


def draft_dir(out: Path, recipe: str) -> Path:
    return out.parent / f".{out.name}.{recipe[:12]}.draft"


def scratch_dir(out: Path, recipe: str) -> Path:
    return out.parent / f".{out.name}.{recipe[:12]}.scratch"


@contextmanager
def drafting(out: Path, recipe: str, *, resumable: bool) -> Generator[Draft]:
    """A locked draft beside `out`, named by the recipe it is for.

    A draft outlives a crash. The next run of the same recipe finds it: a resumable stage goes on from it, any other
    starts it afresh.

    Raises:
        ArtifactError: Another process is making `out`, or nothing can be written there.
    """
    dir, scratch = draft_dir(out, recipe), scratch_dir(out, recipe)
    with clear_errors(out):
        handle = _lock(dir, out, patience=_ORPHAN_SECONDS if resumable else 0.0)
        try:
            (dir / MANIFEST).unlink(missing_ok=True)  # of a publication that was cut off
            if not resumable:
                _empty(dir)
                shutil.rmtree(scratch, ignore_errors=True)
            yield Draft(dir, scratch, lock=handle)
        finally:
            os.close(handle)


def publish[S: Spec](draft: Draft, manifest: Manifest[S], out: Path) -> Artifact[S]:
    """Commit `draft` as `out`: the files are synced, then the manifest, then one rename.

    The rename fails if `out` has appeared meanwhile, so of two publishers one wins whole.

    Raises:
        ArtifactError: There is something at `out`.
    """
    write_synced(draft.dir / MANIFEST, manifest.model_dump_json(indent=2, exclude_none=True) + "\n")
    for folder in {path.parent for path in walk(draft.dir, follow=False)} | {draft.dir}:
        sync_folder(folder)
    try:
        draft.dir.rename(out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        hint = "another run may have made it meanwhile: run the same command again, or give another --out"
        raise ArtifactError(f"{out} is already there", hint=hint) from error
    sync_folder(out.parent)
    shutil.rmtree(draft.scratch, ignore_errors=True)
    return Artifact(out, manifest)


def write_synced(path: Path, text: str) -> None:
    """Write a small file whose bytes are on the disk when this returns."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """See to it that the names in `folder` are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def clear_errors(out: Path) -> Generator[None]:
    """Turn a full disk, a read-only target and the like into one sentence that names the place."""
    try:
        yield
    except BunbukuError:
        raise
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        where = error.filename or out
        hint = "free some space or give another --out; nothing that was published is lost"
        raise ArtifactError(f"{where} cannot be written: {_UNWRITABLE[error.errno]}", hint=hint) from error


def is_locked(dir: Path) -> bool:
    """Whether a process holds the draft at `dir`."""
    with contextlib.suppress(FileNotFoundError):
        handle = os.open(dir, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


def _lock(dir: Path, out: Path, *, patience: float) -> int:
    """Lock a draft. Processes that a killed publisher left behind end by themselves: they are waited for a while."""
    deadline = time.monotonic() + patience
    while True:
        dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(dir, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            hint = "wait for it, or end it; processes that it left behind keep it locked until they are gone"
            raise ArtifactError(f"another process is making {out}", hint=hint) from error
        # Between opening and locking, the one that held it may have published: then this is the artifact's folder.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), dir.stat()):
                return handle
        os.close(handle)


def _empty(dir: Path) -> None:
    for path in dir.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
