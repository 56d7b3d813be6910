"""Tokens as Megatron keeps them: a `.bin` of token ids end to end, and an `.idx` that says where documents begin.

The index is little-endian: nine bytes of magic, a version, a code for the tokens' type, the numbers of sequences and
of document boundaries, then three arrays: tokens in each sequence, byte offset of each sequence in the `.bin`, and the
sequence at which each document begins (with the end as the last entry). It is read here by itself, so that evaluation
needs neither Megatron nor torch.

The layout is Megatron-core's `megatron/core/datasets/indexed_dataset.py` (class `_IndexReader`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray

MAGIC = b"MMIDIDX\x00\x00"
_HEADER_BYTES = len(MAGIC) + 8 + 1 + 8 + 8
_TYPES: dict[int, Any] = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}


class Span(NamedTuple):
    """Some whole documents end to end."""

    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]
    """Where in `tokens` each document begins."""


@dataclass(frozen=True)
class IndexedTokens:
    """One `.bin` and its `.idx`, mapped, not read."""

    tokens: NDArray[Any]
    offsets: NDArray[np.int64]
    """First token of each document, and the end of the last one."""

    @classmethod
    def open(cls, bin_path: Path, idx_path: Path) -> Self:
        """Map the pair, refusing an index that is none, is cut short, or does not fit its `.bin`."""
        raw = np.memmap(idx_path, mode="r", dtype=np.uint8) if idx_path.stat().st_size else np.zeros(0, np.uint8)
        if len(raw) < _HEADER_BYTES or raw[: len(MAGIC)].tobytes() != MAGIC:
            raise BunbukuError(f"{idx_path} is not a Megatron index", hint="make the tokens artifact again")
        version, sequences, boundaries = (
            int(raw[at : at + 8].view("<u8")[0]) for at in (len(MAGIC), len(MAGIC) + 9, len(MAGIC) + 17)
        )
        code = int(raw[len(MAGIC) + 8])
        if version != 1 or code not in _TYPES:
            raise BunbukuError(f"{idx_path} is of version {version} with tokens of type {code}; version 1 is read here")
        if len(raw) < _HEADER_BYTES + 12 * sequences + 8 * boundaries:
            raise BunbukuError(f"{idx_path} is cut short", hint="make the tokens artifact again")
        lengths, at = _array(raw, _HEADER_BYTES, "<i4", sequences)
        pointers, at = _array(raw, at, "<i8", sequences)
        documents, at = _array(raw, at, "<i8", boundaries)
        dtype = np.dtype(_TYPES[code]).newbyteorder("<")
        size = int(lengths.sum(dtype=np.int64))
        if bin_path.stat().st_size != size * dtype.itemsize:
            raise BunbukuError(f"{bin_path} does not hold the {size} tokens of {idx_path.name}")
        ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        if not np.array_equal(pointers, ends[:-1] * dtype.itemsize):
            raise BunbukuError(f"{idx_path} does not place its sequences end to end, which is all that is read here")
        tokens = np.memmap(bin_path, mode="r", dtype=dtype) if size else np.zeros(0, dtype)
        return cls(tokens, ends[documents])

    @property
    def documents(self) -> int:
        return max(len(self.offsets) - 1, 0)

    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each document."""
        return np.diff(self.offsets)

    def spans(self, documents: NDArray[np.int64], *, span_tokens: int = 1 << 24) -> Iterator[Span]:
        """The chosen documents, in the order given, some `span_tokens` tokens at a time and never part of one."""
        begun: list[NDArray[np.int64]] = []
        held = 0
        for document in documents.tolist():
            begun.append(self.tokens[self.offsets[document] : self.offsets[document + 1]].astype(np.int64))
            held += len(begun[-1])
            if held >= span_tokens:
                yield _joined(begun)
                begun, held = [], 0
        if begun:
            yield _joined(begun)


def _joined(documents: list[NDArray[np.int64]]) -> Span:
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    return Span(np.concatenate(documents), np.cumsum(lengths) - lengths)


class _Read(NamedTuple):
    values: NDArray[Any]
    end: int


def _array(raw: NDArray[np.uint8], at: int, dtype: str, count: int) -> _Read:
    end = at + np.dtype(dtype).itemsize * count
    return _Read(np.frombuffer(raw[at:end].tobytes(), dtype=dtype), end)
