"""Arrow's compute functions, which are made while pyarrow is imported, where no type checker sees them; and reading Parquet."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

compute: Any = pyarrow.compute


def batches_of(shard: pq.ParquetFile, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The file's rows, so many at a time, row group by row group: of a whole file Arrow holds the more the larger it is."""
    for group in range(shard.num_row_groups):
        yield from shard.iter_batches(rows, row_groups=[group], columns=None if columns is None else list(columns))
