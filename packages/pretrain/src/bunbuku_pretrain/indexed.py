"""Megatron's indexed dataset: documents of token ids in a `.bin`, and where each begins in an `.idx`.

Written as `IndexedDatasetBuilder` of megatron-core 0.19.2 writes it (`megatron/core/datasets/indexed_dataset.py`, class
`_IndexWriter`): one sequence a document, lengths in tokens, positions in bytes. Megatron need not be installed.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from bunbuku_contracts import ArtifactError
from numpy.typing import NDArray

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
type TokenDtype = Literal["uint16", "int32"]
CODES: dict[TokenDtype, int] = {"uint16": 8, "int32": 4}
LARGEST_UINT16_VOCABULARY = 65_500
"""Megatron's own bound, `DType.optimal_dtype`: from here on it takes int32."""


def dtype_for(vocabulary: int) -> TokenDtype:
    """The number format for so many ids.

    >>> dtype_for(65_000), dtype_for(128_000)
    ('uint16', 'int32')
    """
    return "uint16" if vocabulary < LARGEST_UINT16_VOCABULARY else "int32"


class IndexedWriter:
    """Writes `<prefix>.bin` document by document, and `<prefix>.idx` when all went well."""

    def __init__(self, prefix: Path, dtype: TokenDtype) -> None:
        self.bin = prefix.with_name(prefix.name + ".bin")
        self.idx = prefix.with_name(prefix.name + ".idx")
        self.dtype: TokenDtype = dtype
        self._lengths: list[NDArray[np.int32]] = []

    def __enter__(self) -> Self:
        self._file = self.bin.open("wb")
        return self

    def add(self, tokens: NDArray[np.integer], lengths: NDArray[np.int32]) -> None:
        """Append documents: their tokens one after the other, and how many each has."""
        self._file.write(tokens.astype(self.dtype, copy=False).tobytes())
        self._lengths.append(lengths.astype(np.int32, copy=False))

    @property
    def documents(self) -> int:
        return sum(len(lengths) for lengths in self._lengths)

    @property
    def tokens(self) -> int:
        return sum(int(lengths.sum(dtype=np.int64)) for lengths in self._lengths)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            self._write_index()

    def _write_index(self) -> None:
        lengths = np.concatenate([np.zeros(0, np.int32), *self._lengths])
        ends = np.cumsum(lengths, dtype=np.int64) * np.dtype(self.dtype).itemsize
        begins = np.concatenate([np.zeros(1, np.int64), ends])[:-1] if len(lengths) else ends
        documents = np.arange(len(lengths) + 1, dtype=np.int64)
        with self.idx.open("wb") as file:
            file.write(MAGIC)
            file.write(struct.pack("<QBQQ", VERSION, CODES[self.dtype], len(lengths), len(documents)))
            for array in (lengths, begins, documents):
                file.write(array.tobytes())


class IndexedFile:
    """Reads what `IndexedWriter`, or Megatron, wrote; the tokens stay on the disk."""

    def __init__(self, prefix: Path) -> None:
        idx = prefix.with_name(prefix.name + ".idx")
        raw = idx.read_bytes()
        head = struct.calcsize("<QBQQ")
        if not raw.startswith(MAGIC) or len(raw) < len(MAGIC) + head:
            raise ArtifactError(f"{idx} is not an index of Megatron: it begins with {raw[: len(MAGIC)]!r}")
        _, code, count, _ = struct.unpack_from("<QBQQ", raw, len(MAGIC))
        dtypes: dict[int, TokenDtype] = {code: dtype for dtype, code in CODES.items()}
        if code not in dtypes:
            raise ArtifactError(f"{idx} has number format {code}, known are {sorted(dtypes)}")
        self.dtype: TokenDtype = dtypes[code]
        begin = len(MAGIC) + head
        self.lengths = np.frombuffer(raw, dtype=np.int32, count=count, offset=begin)
        self._begins = np.frombuffer(raw, dtype=np.int64, count=count, offset=begin + 4 * count)
        self._tokens = np.memmap(prefix.with_name(prefix.name + ".bin"), dtype=self.dtype, mode="r")

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> NDArray[np.integer]:
        """The tokens of document `index`."""
        begin = int(self._begins[index]) // np.dtype(self.dtype).itemsize
        return self._tokens[begin : begin + int(self.lengths[index])]

    def documents(self) -> Iterable[NDArray[np.integer]]:
        return (self[index] for index in range(len(self)))
