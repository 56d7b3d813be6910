"""What the rows of an embedding matrix for new pieces begin as: the means of rows that are there."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

EMBEDDINGS = "embeddings.parquet"

_SCHEMA = pa.schema([("id", pa.int32()), ("piece", pa.string()), ("old_ids", pa.list_(pa.int32()))])


class NewRow(NamedTuple):
    """One row to be made."""

    id: int
    piece: str
    """As the vocabulary writes it."""
    old_ids: tuple[int, ...]
    """The rows whose mean it is; one that is there twice counts twice."""


def write_plan(path: Path, rows: Iterable[NewRow]) -> None:
    """Write the plan as Parquet: `id`, `piece`, `old_ids`."""
    columns = zip(*rows, strict=True)
    pq.write_table(
        pa.Table.from_arrays(
            [pa.array(column, each.type) for column, each in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
        ),
        path,
    )


def read_plan(path: Path) -> list[NewRow]:
    """The plan in a file, or in the folder of an extended tokenizer."""
    rows = pq.read_table(path / EMBEDDINGS if path.is_dir() else path).to_pylist()
    return [NewRow(row["id"], row["piece"], tuple(row["old_ids"])) for row in rows]


def initialise[T: np.floating](old: NDArray[T], plan: Iterable[NewRow]) -> NDArray[T]:
    """An embedding or output matrix, a row an id, with the rows of `plan`; all others are those of `old`.

    Rows that `old` has beyond its vocabulary, for padding, are taken by the first new pieces.

    >>> initialise(np.array([[1.0, 3.0], [3.0, 5.0]]), [NewRow(2, "猫", (0, 1))]).tolist()
    [[1.0, 3.0], [3.0, 5.0], [2.0, 4.0]]

    Raises:
        ValueError: The plan is for a larger matrix.
    """
    rows = list(plan)
    needed = max((id for row in rows for id in row.old_ids), default=-1) + 1
    first = min((row.id for row in rows), default=0)
    if len(old) < max(needed, first):
        raise ValueError(f"the plan is for a matrix of at least {max(needed, first)} rows, this one has {len(old)}")
    size = max([len(old), *(row.id + 1 for row in rows)])
    made = np.empty((size, *old.shape[1:]), dtype=old.dtype)
    made[: len(old)] = old
    for row in rows:
        made[row.id] = old[list(row.old_ids)].mean(axis=0, dtype=np.float64 if old.dtype == np.float64 else np.float32)
    return made
