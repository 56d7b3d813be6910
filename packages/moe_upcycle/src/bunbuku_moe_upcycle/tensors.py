"""Safetensors files, read and written a tensor at a time, so that memory holds a few tensors and never a model.

A file is eight bytes with the length of a JSON header, the header (name -> type, shape, offsets), then the data. A
`TensorFolder` is what the `*.safetensors` files of one checkpoint hold together; `write_tensors` writes one file while its
tensors are being made. Arithmetic is done on float32 arrays: `decode` widens F32, BF16 and F16 to them without loss, `encode`
rounds back to the nearest, ties to even.

The `safetensors` library has no writer that takes tensors one by one, and reads BF16 only with torch at hand; it is the
oracle of this module's tests.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from bunbuku_contracts import ArtifactError
from numpy.typing import NDArray

type Floats = NDArray[np.float32]

BYTES = {"F32": 4, "BF16": 2, "F16": 2}
"""Number types that weights are stored in here, with their size."""
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000


class Stored(NamedTuple):
    """Where a tensor lies."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte, counted from the start of the file."""

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * BYTES[self.dtype]


class TensorFolder:
    """The tensors of a checkpoint by name, over however many files."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.stored: dict[str, Stored] = {}
        for path in paths:
            self.stored |= _read_header(path)

    def raw(self, name: str) -> bytes:
        """The tensor's bytes as they are stored."""
        stored = self.stored[name]
        return _read(stored.path, stored.begin, stored.bytes)

    def read(self, name: str) -> Floats:
        """The tensor in float32."""
        stored = self.stored[name]
        return decode(self.raw(name), stored.dtype).reshape(stored.shape)

    def read_rows(self, name: str, first: int, last: int) -> Floats:
        """Rows `first` to `last` (left out) of a matrix, flattened, in float32."""
        stored = self.stored[name]
        row = stored.bytes // stored.shape[0]
        last = min(last, stored.shape[0])
        return decode(_read(stored.path, stored.begin + first * row, (last - first) * row), stored.dtype)


class Planned(Protocol):
    """What must be known of a tensor before it is made."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def planned_bytes(tensor: Planned) -> int:
    """Size of the tensor's data in a file."""
    return math.prod(tensor.shape) * BYTES[tensor.dtype]


def write_tensors(path: Path, tensors: Sequence[Planned], data: Iterator[bytes]) -> None:
    """Write one safetensors file, taking each tensor's bytes from `data` when its turn comes.

    Wider number types have to come first: then every tensor begins at a multiple of its width, as readers that map the file
    want it.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + planned_bytes(tensor)
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _LENGTH_BYTES)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(_LENGTH_BYTES, "little"))
        file.write(encoded)
        for tensor in tensors:
            # Not kept in a variable: it would live on while the next one is made.
            if (written := file.write(next(data))) != planned_bytes(tensor):
                raise ValueError(f"{tensor.name}: {written} bytes were made, {planned_bytes(tensor)} are needed")


def decode(data: bytes, dtype: str) -> Floats:
    """Stored bytes as float32, exactly.

    >>> decode(bytes.fromhex("803f20c0"), "BF16").tolist()
    [1.0, -2.5]
    """
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32)


def encode(values: Floats, dtype: str) -> bytes:
    """float32 as stored bytes, rounded to the nearest, ties to even.

    >>> encode(np.array([1.0, -2.5], np.float32), "BF16").hex()
    '803f20c0'
    """
    if dtype != "BF16":
        return values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
    # Rounding would carry a NaN's bits over into infinity.
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype("<u2").tobytes()


def _read(path: Path, begin: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(length)


def _read_header(path: Path) -> dict[str, Stored]:
    """Every tensor of a file, after checking that the file holds all of them."""
    size = path.stat().st_size
    length = int.from_bytes(_read(path, 0, _LENGTH_BYTES), "little")
    if not 0 < length <= min(size - _LENGTH_BYTES, _LONGEST_HEADER):
        raise _broken(path, "its header is cut off")
    try:
        header = json.loads(_read(path, _LENGTH_BYTES, length))
        header.pop("__metadata__", None)
        found = {name: _stored(path, name, entry, _LENGTH_BYTES + length) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, f"its header does not read ({error})") from error
    if any(stored.begin + stored.bytes > size for stored in found.values()):
        raise _broken(path, f"it ends after {size} bytes, before its last tensor")
    return found


def _stored(path: Path, name: str, entry: dict[str, Any], data: int) -> Stored:
    if entry["dtype"] not in BYTES:
        raise ArtifactError(
            f"{path}: {name!r} is stored as {entry['dtype']!r}, not as one of {', '.join(BYTES)}",
            hint="convert the checkpoint to bfloat16 first",
        )
    begin, end = entry["data_offsets"]
    stored = Stored(path, entry["dtype"], tuple(entry["shape"]), data + begin)
    if end - begin != stored.bytes:
        raise ValueError(f"{name!r} is {end - begin} bytes long, {stored.bytes} by its shape")
    return stored


def _broken(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path} is not a whole safetensors file: {why}", hint=f"bunbuku verify {path.parent}")
