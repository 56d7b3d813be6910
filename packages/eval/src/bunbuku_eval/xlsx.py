"""Rows of an Excel workbook."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from bunbuku_contracts import BunbukuError
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException


def read_sheet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of the first sheet under the names in its first row; rows with nothing in them are left out.

    Raises:
        BunbukuError: It is no workbook, or a column with values has no name.
    """
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, OSError) as error:
        raise BunbukuError(f"{path} is no Excel workbook: {error}", hint="save it as .xlsx, or as CSV") from error
    try:
        rows = book.worksheets[0].iter_rows(values_only=True)
        head = [str(name).strip() if name is not None else "" for name in next(rows, ())]
        for number, row in enumerate(rows, start=2):
            values = dict(zip(head, row, strict=False))
            if any(value is not None for value in row):
                if values.pop("", None) is not None:
                    raise BunbukuError(f"row {number} of {path} has a value in a column without a name")
                yield values
    finally:
        book.close()
