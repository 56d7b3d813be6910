"""Small files that others read while they are written: replaced as a whole, or grown line by line."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bunbuku_contracts import Config
from pydantic import ValidationError


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader or a kill finds the whole of the old one or of the new."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def until_cut[C: Config](cls: type[C], lines: Iterable[str]) -> Iterator[C]:
    """What whole lines say; one that was cut off at the end is left out."""
    for line in lines:
        try:
            yield cls.model_validate_json(line)
        except ValidationError:
            return


def read_until_cut[C: Config](cls: type[C], path: Path) -> list[C]:
    """What the whole lines of a file say; nothing if it is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as lines:
        return list(until_cut(cls, lines))
