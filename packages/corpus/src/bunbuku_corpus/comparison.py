"""Texts as they are compared: NFKC and no white space, a whole batch of them in one buffer of code points.

`comparable` says what is meant, a text at a time. `Buffer.of` gives the same for a batch many times faster: nearly every
character of a text is normalized by itself, so a table over all code points does it. Only texts with characters that
join or reorder, such as combining voicing marks, go through `comparable`.

Voicing marks and digits stay what they are: ガ is not カ, and 2024 is not 2025.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_CODE_POINTS = 0x110000
_CHANGING = 0x30000
"""From here on nothing is normalized, joined or white: a test looks at every one."""
_REMOVED = np.uint32(0xFFFFFFFF)
_EXPANDS = np.uint32(0xFFFFFFFE)
_JOINS = np.uint32(0xFFFFFFFD)


def comparable(text: str) -> str:
    r"""The text as it is compared.

    >>> comparable("ｶﾞｿﾘﾝ　１００ 円\n"), comparable("です") == comparable("てす")
    ('ガソリン100円', False)
    """
    return "".join(unicodedata.normalize("NFKC", text).split())


class Buffer(NamedTuple):
    """Texts one after the other, as code points."""

    points: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    """Where each begins, and the end of the last."""

    @classmethod
    def of(cls, texts: pa.StringArray | pa.LargeStringArray | Sequence[str]) -> "Buffer":
        """The texts as they are compared.

        >>> "".join(map(chr, Buffer.of(["１㍍…", "か\u3099 "]).points))
        '1メートル...が'
        """
        array: Any = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
        return _compared(_decoded(array.cast(pa.large_string())))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def texts(self) -> Iterator[NDArray[np.uint32]]:
        """The code points of each text."""
        for begin, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.points[begin:end]


class _Table(NamedTuple):
    """What becomes of each code point."""

    points: NDArray[np.uint32]
    expansions: dict[int, NDArray[np.uint32]]


@cache
def _table() -> _Table:
    """Made once a process, in an eighth of a second."""
    points = np.arange(_CODE_POINTS, dtype=np.uint32)
    expansions: dict[int, NDArray[np.uint32]] = {}
    joins = _joining()
    for point in range(_CHANGING):
        if 0xD800 <= point < 0xE000:
            continue
        char = chr(point)
        compared = comparable(char)
        if any(part in joins for part in unicodedata.normalize("NFKC", char)):
            points[point] = _JOINS
        elif not compared:
            points[point] = _REMOVED
        elif len(compared) == 1:
            points[point] = ord(compared)
        else:
            points[point] = _EXPANDS
            expansions[point] = np.array([*map(ord, compared)], np.uint32)
    return _Table(points, expansions)


def _joining() -> frozenset[str]:
    """Characters that may change with what stands before them: marks, and the later parts of a canonical composition."""
    found = {chr(point) for point in (*range(0x1100, 0x1200), *range(0xA960, 0xA980), *range(0xD7B0, 0xD800))}
    for point in range(_CHANGING):
        char = chr(point)
        if unicodedata.combining(char):
            found.add(char)
        elif (decomposition := unicodedata.decomposition(char)) and not decomposition.startswith("<"):
            found.update(chr(int(part, 16)) for part in decomposition.split()[1:])
    return frozenset(found)


def _decoded(array: pa.LargeStringArray) -> Buffer:
    """Code points as they stand. The bytes of all texts are decoded in one go."""
    if not len(array):
        return Buffer(np.empty(0, np.uint32), np.zeros(1, np.int64))
    _, places, data = array.buffers()
    ends = np.frombuffer(places, np.int64)[array.offset : array.offset + len(array) + 1]
    octets = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    points = np.frombuffer(octets.tobytes().decode("utf-8").encode("utf-32-le"), np.uint32)
    begun = np.concatenate([np.zeros(1, np.int64), np.cumsum((octets & 0xC0) != 0x80)])
    return Buffer(points, begun[ends - ends[0]])


def _compared(raw: Buffer) -> Buffer:
    table = _table()
    mapped = table.points[raw.points]
    joins = np.flatnonzero(mapped == _JOINS)
    if len(joins):
        return _apart(raw, np.unique(np.searchsorted(raw.offsets, joins, side="right") - 1))
    counts = (mapped != _REMOVED).astype(np.int64)
    expanding = np.flatnonzero(mapped == _EXPANDS)
    which = raw.points[expanding]
    for point in np.unique(which).tolist():
        counts[expanding[which == point]] = len(table.expansions[point])
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    points = np.repeat(mapped, counts) if len(expanding) else mapped[mapped != _REMOVED]
    for point in np.unique(which).tolist():
        places = starts[expanding[which == point]]
        for shift, part in enumerate(table.expansions[point]):
            points[places + shift] = part
    return Buffer(points, starts[raw.offsets])


def _apart(raw: Buffer, joining: NDArray[np.int64]) -> Buffer:
    """Those texts one by one, and what lies between them together."""
    pieces: list[Buffer] = []
    done = 0
    for index in [*joining.tolist(), len(raw)]:
        if index > done:
            begin, end = raw.offsets[done], raw.offsets[index]
            pieces.append(_compared(Buffer(raw.points[begin:end], raw.offsets[done : index + 1] - begin)))
        if index < len(raw):
            text = raw.points[raw.offsets[index] : raw.offsets[index + 1]].tobytes().decode("utf-32-le")
            points = np.frombuffer(comparable(text).encode("utf-32-le"), np.uint32)
            pieces.append(Buffer(points, np.array([0, len(points)])))
        done = index + 1
    points = np.concatenate([piece.points for piece in pieces])
    lengths = np.concatenate([piece.lengths() for piece in pieces])
    return Buffer(points, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))
