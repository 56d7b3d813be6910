"""Reading a Megatron checkpoint (format `torch_dist`) without Megatron, one slice at a time.

Such a checkpoint is a folder of `__<rank>_<n>.distcp` files, in which tensors lie one after the other as `torch.save`
wrote them, and a pickled `.metadata` that says where each chunk of each tensor lies.
"""

import io
import pickle
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

METADATA = ".metadata"


class TorchDistFolder:
    """A checkpoint's tensors by Megatron's keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _metadata(self) -> Any:
        with (self.folder / METADATA).open("rb") as file:
            return pickle.load(file)

    @cached_property
    def _places(self) -> dict[tuple[str, tuple[int, ...]], Any]:
        """Where the chunk of a tensor that begins at some offset lies."""
        stored = self._metadata.storage_data
        return {(index.fqn, tuple(index.offset)): place for index, place in stored.items() if index.offset is not None}

    def tensor(self, key: str, stacked: Sequence[int] = ()) -> torch.Tensor:
        """The tensor at the place `stacked` of the first axes, whole along all others."""
        described = self._metadata.state_dict_metadata[key]
        depth = len(stacked)
        whole = torch.empty(described.size[depth:], dtype=described.properties.dtype)
        for chunk in described.chunks:
            offset, sizes = tuple(chunk.offsets), tuple(chunk.sizes)
            if any(not begin <= at < begin + size for at, begin, size in zip(stacked, offset, sizes, strict=False)):
                continue
            inside = tuple(at - begin for at, begin in zip(stacked, offset, strict=False))
            target = tuple(
                slice(begin, begin + size) for begin, size in zip(offset[depth:], sizes[depth:], strict=True)
            )
            whole[target] = self._chunk(key, offset)[inside]
        return whole

    def _chunk(self, key: str, offset: tuple[int, ...]) -> torch.Tensor:
        place = self._places[key, offset]
        with (self.folder / place.relative_path).open("rb") as file:
            file.seek(place.offset)
            return torch.load(io.BytesIO(file.read(place.length)), weights_only=True)


def forget_origin(folder: Path) -> None:
    """Take out of the metadata what differs between two equal checkpoints: the path it was saved to and a random id."""
    path = folder / METADATA
    with path.open("rb") as file:
        metadata = pickle.load(file)
    metadata.storage_meta = None
    with path.open("wb") as file:
        pickle.dump(metadata, file)
