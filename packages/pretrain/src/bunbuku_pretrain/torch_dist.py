"""Reading and writing a Megatron checkpoint (format `torch_dist`) without Megatron, one slice at a time.

Such a checkpoint is a folder of `__<rank>_<n>.distcp` files, in which tensors lie one after the other as `torch.save`
wrote them, and a pickled `.metadata` that says where each chunk of each tensor lies.
"""

import io
import json
import pickle
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType
from torch.distributed.checkpoint.state_dict_saver import save

METADATA = ".metadata"
_COMMON = "common_state/shard_0_1"


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

    def names(self) -> set[str]:
        """Everything that is stored, moments of the optimizer included."""
        return set(self._metadata.state_dict_metadata)

    def is_tensor(self, key: str) -> bool:
        """Whether it is numbers, not other facts of a run."""
        return hasattr(self._metadata.state_dict_metadata[key], "size")

    def dtype(self, key: str) -> torch.dtype:
        return self._metadata.state_dict_metadata[key].properties.dtype

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


class Slice(NamedTuple):
    """A part of a tensor of a checkpoint that is yet to be read."""

    key: str
    whole: tuple[int, ...]
    """Shape of the whole tensor."""
    offset: tuple[int, ...]
    """Where the part begins in it."""
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], torch.Tensor]


def write(folder: Path, slices: Iterable[Slice]) -> None:
    """Write weights as Megatron's `dist_checkpointing` would, without it, one slice in memory at a time."""
    writer = FileSystemWriter(folder, sync_files=False)
    # Streaming is torch's own idea of a planner: it lists what is to be written, and is asked for it piece by piece.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # on purpose
        save({}, storage_writer=writer, planner=_Streaming(slices), no_dist=True)
    described = {"sharded_backend": "torch_dist", "sharded_backend_version": 1}
    (folder / "metadata.json").write_text(json.dumps(described), encoding="utf-8")
    forget_origin(folder)


class _Streaming(DefaultSavePlanner):
    def __init__(self, slices: Iterable[Slice]) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._slices = list(slices)

    def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
        self.is_coordinator = is_coordinator

    def create_local_plan(self) -> SavePlan:
        items = [
            WriteItem(
                index=MetadataIndex(part.key, torch.Size(part.offset)),
                type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    chunk=ChunkStorageMetadata(torch.Size(part.offset), torch.Size(part.shape)),
                    properties=TensorProperties(dtype=part.dtype),
                    size=torch.Size(part.whole),
                ),
            )
            for part in self._slices
        ]
        self._by_place = {(part.key, part.offset): part for part in self._slices}
        # What Megatron calls the common state; weights alone have none.
        items.append(WriteItem(index=MetadataIndex(_COMMON), type=WriteItemType.BYTE_IO))
        self.plan = SavePlan(items)
        return self.plan

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        if write_item.type == WriteItemType.BYTE_IO:
            written = io.BytesIO()
            torch.save([{}], written)
            return written
        index = write_item.index
        assert index.offset is not None
        part = self._by_place[index.fqn, tuple(index.offset)]
        return part.read().reshape(part.shape).contiguous()
