"""Files from outside the pipeline: which there are, in an order of their own, and what is in compressed ones."""

import zlib
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import Any

import pyarrow as pa
from bunbuku_contracts import BunbukuError

_COMPRESSION = {".zst": "zstd"}
_BUFFER, _STEP = 1 << 20, 1 << 13
_GZIP = zlib.MAX_WBITS | 16


def needed(root: Path | None) -> Path:
    """The folder or file that `--source` named.

    Raises:
        BunbukuError: It was not given.
    """
    if root is None:
        raise BunbukuError("the config has a source that reads files, and no --source was given", hint="--source PATH")
    return root


def find_files(root: Path | None, pattern: str) -> list[Path]:
    """Files that match the pattern under a folder, sorted by their path inside it; a file is itself.

    Raises:
        BunbukuError: There are none.
    """
    root = needed(root)
    if root.is_file():
        return [root]
    found = sorted((path for path in root.glob(pattern) if path.is_file()), key=lambda path: path.as_posix())
    if not found:
        raise BunbukuError(f"no file under {root} matches {pattern!r}", hint="correct `files` or --source")
    return found


@contextmanager
def open_stream(path: Path) -> "Generator[BufferedReader[Any]]":
    """The file's bytes, decompressed if its name ends in `.gz` or `.zst`. Iterating gives lines that end in LF alone.

    What stands before the place where a file breaks off is read before that is an error.

    Raises:
        BunbukuError: It is damaged or cut off.
    """
    try:
        if path.suffix == ".gz":
            with path.open("rb", buffering=0) as packed, BufferedReader(_Gunzip(packed), _BUFFER) as stream:
                yield stream
        else:
            # pyarrow and not zstandard, whose reader takes a file that was cut off for a whole one.
            with BufferedReader(_InSmallSteps(path, _COMPRESSION.get(path.suffix)), _BUFFER) as stream:
                yield stream
    except (pa.ArrowException, OSError, zlib.error) as error:
        raise BunbukuError(f"{path} cannot be read: {error}", hint="is it whole? Fetch or write it anew") from error


class _InSmallSteps(RawIOBase):
    """Reads a few bytes at a time. Where a read fails, all that it would have given is lost: it is read anew, byte by byte."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self._open = partial(pa.input_stream, str(path), compression=compression)
        self._stream: pa.NativeFile = self._open()
        self._place, self._step = 0, _STEP

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            read = self._stream.read(min(len(buffer), self._step))
        except (pa.ArrowException, OSError):
            if self._step == 1:
                raise
            self._begin_again()
            return self.readinto(buffer)
        self._place += len(read)
        buffer[: len(read)] = read
        return len(read)

    def _begin_again(self) -> None:
        """Go to the same place, to read single bytes from there on."""
        self._stream.close()
        self._stream, self._step = self._open(), 1
        for begin in range(0, self._place, _STEP):
            self._stream.read(min(_STEP, self._place - begin))

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Gunzip(RawIOBase):
    """Decompresses gzip, one member after another. That the last one is cut off is an error once all before it was read."""

    def __init__(self, packed: FileIO) -> None:
        self._packed = packed
        self._inflate = zlib.decompressobj(_GZIP)
        self._begun = False
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while True:
            if self._inflate.eof:
                self._input = self._inflate.unused_data or self._packed.read(_BUFFER)
                if not self._input.strip(b"\0"):  # some writers fill the last block of a tape
                    return 0
                self._inflate = zlib.decompressobj(_GZIP)
            else:
                self._input = self._inflate.unconsumed_tail or self._packed.read(_BUFFER)
            if not self._input and not self._begun:
                return 0
            self._begun = True
            read = self._inflate.decompress(self._input, len(buffer))
            if not (read or self._input or self._inflate.eof):
                raise OSError("the compressed file breaks off")
            if read:
                buffer[: len(read)] = read
                return len(read)
