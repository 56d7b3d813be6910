"""Saving and loading a training state, whole or not at all.

A state is a folder of Megatron's `torch_dist` files, `state.json` and `hashes.json`. It is written under another name and
renamed when everything is on the disk. A `Saver` copies what is to be written into memory and writes it in a thread while
training goes on; all ranks agree between two steps on whether it is done, and then commit it together.
"""

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from bunbuku_contracts import ArtifactError
from bunbuku_contracts.digest import hash_file
from megatron.core import dist_checkpointing

from bunbuku_pretrain import states
from bunbuku_pretrain.detours import Detour
from bunbuku_pretrain.job import STATE, TrainState, state_name
from bunbuku_pretrain.mcore import shims
from bunbuku_pretrain.mcore.runtime import Runtime
from bunbuku_pretrain.mcore.weights import described, set_weights, sharding
from bunbuku_pretrain.torch_dist import forget_origin


@dataclass
class _Write:
    """A state on its way to the disk."""

    state: TrainState
    partial: Path
    finalize: tuple[Callable[[], None], ...]
    thread: threading.Thread
    digests: dict[str, str] = field(default_factory=dict[str, str])
    """Of the files that this rank wrote."""
    problem: str = ""


class Progress(NamedTuple):
    """How a rank's part of the state being written stands."""

    pending: bool
    failed: bool


class Saver:
    """Writes states into a folder, one at a time. Every rank has one and calls it alike."""

    def __init__(self, folder: Path, *, model: Any, optimizer: Any | None, runtime: Runtime) -> None:
        self.folder = folder
        self._model, self._optimizer, self._runtime = model, optimizer, runtime
        self._write: _Write | None = None

    @property
    def busy(self) -> bool:
        """Whether a state has been begun and not committed. The same on every rank."""
        return self._write is not None

    @property
    def progress(self) -> Progress:
        """Of this rank alone."""
        if self._write is None:
            return Progress(pending=False, failed=False)
        return Progress(pending=self._write.thread.is_alive(), failed=bool(self._write.problem))

    def begin(self, state: TrainState) -> None:
        """Copy the state as it is now, and begin to write it."""
        self.finish()
        partial = self.folder / f"{state_name(state.step)}.partial"
        if self._runtime.leads:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._runtime.wait()
        if self._optimizer is not None:
            # Before the first step there are no moments, and loading asks for them.
            shims.give_adam_its_zeros(self._optimizer)
        described = _described(self._model, self._optimizer, loading=False)
        request: Any = dist_checkpointing.save(described, str(partial), async_sharded_save=True, async_strategy="mcore")
        write: _Write
        work = shims.copied(request)

        def run() -> None:
            try:
                work.write()
                write.digests = {path.name: hash_file(path) for path in work.files}
            except (OSError, RuntimeError, AssertionError) as error:  # Megatron asserts what its threads said
                write.problem = str(error) or type(error).__name__

        thread = threading.Thread(target=run, name="save", daemon=True)
        write = _Write(state, partial, (work.hand_over, *request.finalize_fns), thread)
        self._write = write
        thread.start()

    def commit(self) -> Path:
        """Make the written state one that can be gone on from. Every rank is done with its part.

        Raises:
            ArtifactError: A rank could not write its part.
        """
        write = self._write
        assert write is not None
        write.thread.join()
        self._write = None
        parts: list[tuple[str, Mapping[str, str]]] = [(write.problem, write.digests)]
        if self._runtime.world > 1:
            parts = [("", {})] * self._runtime.world
            dist.all_gather_object(parts, (write.problem, write.digests))
        if problems := [problem for problem, _ in parts if problem]:
            self._give_up(write, problems[0])
        for finalize in write.finalize:
            finalize()
        final = self.folder / state_name(write.state.step)
        if self._runtime.leads:
            _seal(write.partial, write.state, {name: digest for _, some in parts for name, digest in some.items()})
            shutil.rmtree(final, ignore_errors=True)  # of a course that was given up
            write.partial.rename(final)
            _sync_folder(self.folder)
        self._runtime.wait()
        return final

    def finish(self) -> Path | None:
        """Return when nothing is being written any more: the state that was, if any."""
        return self.commit() if self._write is not None else None

    def _give_up(self, write: _Write, problem: str) -> None:
        if self._runtime.leads:
            shutil.rmtree(write.partial, ignore_errors=True)
        raise ArtifactError(
            f"the state of step {write.state.step} cannot be written in {self.folder}: {problem}",
            hint="free some space, or keep fewer states; the states before it are kept, the same command goes on",
        )


def save(folder: Path, state: TrainState, *, model: Any, optimizer: Any | None, runtime: Runtime) -> Path:
    """Write the state of this step into `folder`; without an optimizer, the weights alone."""
    saver = Saver(folder, model=model, optimizer=optimizer, runtime=runtime)
    saver.begin(state)
    return saver.commit()


def load(folder: Path, *, model: Any, optimizer: Any | None) -> None:
    """Set the weights, and the optimizer if one is given, to what they were, under whatever layout this is."""
    if optimizer is not None:
        shims.give_adam_its_zeros(optimizer)
    state: Any = dist_checkpointing.load(_described(model, optimizer, loading=True), str(folder))
    set_weights(model, state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])


def newest_whole(scratch: Path, folder: Path, detours: tuple[Detour, ...], runtime: Runtime) -> Path | None:
    """The newest state that is what was written, read by all ranks together; damaged ones are set aside."""
    while True:
        found: list[Path | None] = [next(iter(states.candidates(folder, detours)), None) if runtime.leads else None]
        if runtime.world > 1:
            dist.broadcast_object_list(found, src=0)
        newest = found[0]
        if newest is None:
            return None
        problem = states.damage(newest, share=runtime.rank, shares=runtime.world)
        flag = torch.tensor(float(bool(problem)), device=runtime.device)
        if runtime.total(flag).item() == 0:
            return newest
        problems: list[str] = [problem]
        if runtime.world > 1:
            problems = [""] * runtime.world
            dist.all_gather_object(problems, problem)
        if runtime.leads:
            states.set_aside(scratch, newest, next(filter(None, problems)))
        runtime.wait()


def _described(model: Any, optimizer: Any | None, *, loading: bool) -> dict[str, Any]:
    weights = described(model)
    if optimizer is None:
        return {"model": weights}
    moments = optimizer.sharded_state_dict(weights, is_loading=loading, metadata=sharding())
    return {"model": weights, "optimizer": moments}


def _seal(partial: Path, state: TrainState, digests: dict[str, str]) -> None:
    forget_origin(partial)
    (partial / STATE).write_text(state.model_dump_json() + "\n", encoding="utf-8")
    rest = [path for path in partial.iterdir() if path.name not in digests]
    states.seal(partial, {**digests, **{path.name: hash_file(path) for path in rest}})
    for path in (*rest, partial / states.HASHES):  # ranks have synced what they wrote
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(partial)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
