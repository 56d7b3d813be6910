"""Reading tensors of a safetensors file one by one, and changing some and nothing else.

The format (https://huggingface.co/docs/safetensors) is a header's length, the header as JSON, and the tensors' bytes end
to end. A changed tensor keeps its type and shape, so header and layout stay as they were, every other byte is copied as
it is, and memory holds one tensor at a time.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Container, Iterator
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

import torch
from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, Draft, File

_COPY_BYTES = 16 * 2**20
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Tensors:
    """The tensors of a file, each read when it is asked for, into memory of its own.

    A file that is mapped counts for the process as far as it was touched, and what is changed in it once more, until it is closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as reader:
            header, self._entries = _header(reader, path)
        self._start = len(header)

    @property
    def names(self) -> set[str]:
        return set(self._entries)

    def floating(self, name: str) -> bool:
        """Whether a tensor is of floating point."""
        return self._entries[name]["dtype"] in _DTYPES

    def read(self, name: str) -> torch.Tensor:
        """A tensor of floating point, as it is on disk."""
        entry = self._entries[name]
        with self.path.open("rb") as reader:
            reader.seek(self._start + entry["data_offsets"][0])
            return _tensor(reader, name, entry, self.path)


def copied(draft: Draft, checkpoint: Artifact[Checkpoint]) -> Iterator[tuple[File, Path]]:
    """Copy a checkpoint's files into the draft, all but those of weights: these come back, with where they belong."""
    files = [file for file in checkpoint.files() if file.path != "sections.json"]  # those tell of another stage
    for file in draft.track(files, unit="files"):
        target = draft.dir / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.path.endswith(".safetensors"):
            yield file, target
        else:
            shutil.copyfile(checkpoint.path(file), target)


def rewrite(
    source: Path, target: Path, names: Container[str], change: Callable[[str, torch.Tensor], torch.Tensor]
) -> list[str]:
    """Write `source` as `target` with each tensor in `names` changed, and say which ones were there.

    Raises:
        ArtifactError: `source` does not read as safetensors, or a tensor to change is not of floating point.
    """
    changed: list[str] = []
    with source.open("rb") as reader, target.open("wb") as writer:
        header_bytes, tensors = _header(reader, source)
        writer.write(header_bytes)
        for name, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
            start, end = entry["data_offsets"]
            if name not in names:
                _copy(reader, writer, end - start, source)
                continue
            before = _tensor(reader, name, entry, source)
            after = change(name, before)
            if after.dtype != before.dtype or after.shape != before.shape:
                raise ValueError(f"{name} became {after.dtype} {tuple(after.shape)}")
            writer.write(after.contiguous().flatten().view(torch.uint8).numpy())
            changed.append(name)
    return changed


def _header(reader: BufferedReader, source: Path) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """The header's bytes with its length, and what it says of each tensor."""
    length = _read(reader, 8, source)
    count = int.from_bytes(length, "little")
    if count > os.fstat(reader.fileno()).st_size:
        raise _damaged(source)
    text = _read(reader, count, source)
    try:
        tensors = json.loads(text)
    except ValueError as error:
        raise _damaged(source) from error
    if not isinstance(tensors, dict):
        raise _damaged(source)
    tensors.pop("__metadata__", None)
    return length + text, tensors


def _tensor(reader: BufferedReader, name: str, entry: dict[str, Any], source: Path) -> torch.Tensor:
    """The tensor whose bytes come next."""
    if entry["dtype"] not in _DTYPES:
        raise ArtifactError(f"{source}: {name!r} is of type {entry['dtype']!r}, which no adapter or merge can change")
    dtype, (start, end) = _DTYPES[entry["dtype"]], entry["data_offsets"]
    count = math.prod(entry["shape"]) * dtype.itemsize
    data = torch.empty(count, dtype=torch.uint8)
    if count != end - start or reader.readinto(data.numpy()) != count:
        raise _damaged(source)
    return data.view(dtype).reshape(entry["shape"])


def _copy(reader: BufferedReader, writer: BufferedWriter, count: int, source: Path) -> None:
    while count:
        data = _read(reader, min(count, _COPY_BYTES), source)
        writer.write(data)
        count -= len(data)


def _read(reader: BufferedReader, count: int, source: Path) -> bytes:
    data = reader.read(count)
    if len(data) != count:
        raise _damaged(source)
    return data


def _damaged(source: Path) -> ArtifactError:
    return ArtifactError(f"{source} does not read as safetensors", hint="make the checkpoint again")
