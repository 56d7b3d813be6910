"""Files from outside the pipeline: which there are, in an order of their own, and what is in compressed ones."""

from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
from bunbuku_contracts import BunbukuError

_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}


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
def open_stream(path: Path) -> Generator[IO[bytes]]:
    """The file's bytes, decompressed if its name ends in `.gz` or `.zst`. Iterating gives lines that end in LF alone.

    Raises:
        BunbukuError: It is damaged or cut off.
    """
    compression = _COMPRESSION.get(path.suffix)
    try:
        with pa.input_stream(str(path), compression=compression) as stream:
            # pyarrow and not zstandard, whose reader takes a file that was cut off for a whole one.
            yield cast(IO[bytes], BufferedReader(cast(IO[bytes], stream), 1 << 20))  # pyright: ignore[reportArgumentType]
    except (pa.ArrowException, OSError) as error:
        raise BunbukuError(f"{path} cannot be read: {error}", hint="is it whole? Fetch or write it anew") from error
