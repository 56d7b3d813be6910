"""Changing some tensors of a safetensors file and nothing else.

The format (https://huggingface.co/docs/safetensors) is a header's length, the header as JSON, and the tensors' bytes end
to end. A changed tensor keeps its type and shape, so header and layout stay as they were, every other byte is copied as
it is, and memory holds one tensor at a time.
"""

import json
import shutil
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import IO, Any

import torch
from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, Draft, File

_COPY_BYTES = 16 * 2**20
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


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
            if entry["dtype"] not in _DTYPES:
                raise ArtifactError(f"{source}: {name!r} is of type {entry['dtype']!r}, which no adapter can change")
            data = bytearray(_read(reader, end - start, source))
            before = torch.frombuffer(data, dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])
            after = change(name, before)
            if after.dtype != before.dtype or after.shape != before.shape:
                raise ValueError(f"{name} became {after.dtype} {tuple(after.shape)}")
            writer.write(after.contiguous().view(torch.uint8).numpy().tobytes())
            changed.append(name)
    return changed


def _header(reader: IO[bytes], source: Path) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """The header's bytes with its length, and what it says of each tensor."""
    length = _read(reader, 8, source)
    text = _read(reader, int.from_bytes(length, "little"), source)
    try:
        tensors = json.loads(text)
    except ValueError as error:
        raise _damaged(source) from error
    tensors.pop("__metadata__", None)
    return length + text, tensors


def _copy(reader: IO[bytes], writer: IO[bytes], count: int, source: Path) -> None:
    while count:
        data = _read(reader, min(count, _COPY_BYTES), source)
        writer.write(data)
        count -= len(data)


def _read(reader: IO[bytes], count: int, source: Path) -> bytes:
    data = reader.read(count)
    if len(data) != count:
        raise _damaged(source)
    return data


def _damaged(source: Path) -> ArtifactError:
    return ArtifactError(f"{source} does not read as safetensors", hint="make the checkpoint again")
