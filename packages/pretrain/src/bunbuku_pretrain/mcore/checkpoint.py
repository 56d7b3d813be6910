"""Saving and loading a training state, whole or not at all.

A state is a folder `step-00000100`: Megatron's `torch_dist` files and a `state.json`. It is written under another name
and renamed when everything is on the disk, so that a folder of that name can be loaded whenever its writer died.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from megatron.core import dist_checkpointing

from bunbuku_pretrain.job import STATE, TrainState, saved_states, state_name
from bunbuku_pretrain.mcore import shims
from bunbuku_pretrain.mcore.runtime import Runtime
from bunbuku_pretrain.mcore.weights import sharding
from bunbuku_pretrain.torch_dist import forget_origin


def save(folder: Path, state: TrainState, *, model: Any, optimizer: Any | None, runtime: Runtime) -> Path:
    """Write the state of this step into `folder`; without an optimizer, the weights alone."""
    final = folder / state_name(state.step)
    partial = folder / f"{state_name(state.step)}.partial"
    if runtime.leads:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    runtime.wait()
    dist_checkpointing.save(_described(model, optimizer, loading=False), str(partial))
    if runtime.leads:
        forget_origin(partial)
        (partial / STATE).write_text(state.model_dump_json() + "\n", encoding="utf-8")
        _sync(partial)
        partial.rename(final)
        _sync_folder(folder)
    runtime.wait()
    return final


def load(folder: Path, *, model: Any, optimizer: Any | None) -> None:
    """Set the weights, and the optimizer if one is given, to what they were, under whatever layout this is."""
    if optimizer is not None:
        shims.give_adam_its_zeros(optimizer)
    state: Any = dist_checkpointing.load(_described(model, optimizer, loading=True), str(folder))
    model.load_state_dict(state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])


def prune(folder: Path, *, keep: int) -> None:
    """Remove all but the newest states."""
    for old in saved_states(folder)[:-keep]:
        shutil.rmtree(old)


def _described(model: Any, optimizer: Any | None, *, loading: bool) -> dict[str, Any]:
    weights = model.sharded_state_dict(metadata=sharding())
    if optimizer is None:
        return {"model": weights}
    described = optimizer.sharded_state_dict(weights, is_loading=loading, metadata=sharding())
    return {"model": weights, "optimizer": described}


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
