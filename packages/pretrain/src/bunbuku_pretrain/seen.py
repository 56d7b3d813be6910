"""What a run read, for whoever asks afterwards: `seen.parquet` of its artifact.

A row is a run of neighbouring tokens of one part, read in some steps of one phase and one epoch:

- `first_step`, `last_step`   the steps: at most a hundred ranges a phase, fewer steps a range the shorter the phase
- `phase`, `part`, `epoch`    of the run, of the tokens artifact, of the part
- `begin`, `end`              the tokens, counted from the beginning of the part; the last one is a label alone
- `first_document`, `last_document`  that they lie in, counted as in the part: the order of the rows of the corpus
- `skipped`                   whether the steps were passed without an update

The table is exact. It is computed from the job when the run ends, and no rank writes anything down.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Draft, Section, Table

from bunbuku_pretrain.course import Course
from bunbuku_pretrain.detours import Passed, read_skips
from bunbuku_pretrain.job import Job
from bunbuku_pretrain.packing import Pieces
from bunbuku_pretrain.reading import lengths_of
from bunbuku_pretrain.sampling import Whole

FILE, PART = "seen.parquet", "seen"
RANGES = 100
"""Ranges of steps that a phase is divided into."""
SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in ("first_step", "last_step")),
        *((name, pa.dictionary(pa.int32(), pa.string())) for name in ("phase", "part")),
        *((name, pa.int64()) for name in ("epoch", "begin", "end", "first_document", "last_document")),
        ("skipped", pa.bool_()),
    ]
)


class Range(NamedTuple):
    """Neighbouring steps of one phase, all taken or all passed."""

    phase: int
    first_step: int
    last_step: int
    skipped: bool


class Run(NamedTuple):
    """Neighbouring tokens, read in the same steps and the same epoch."""

    epoch: int
    begins: Whole
    ends: Whole


def write_seen(draft: Draft, job: Job) -> tuple[Section, ...]:
    """Write the table of a finished run; what it says in short."""
    totals: dict[tuple[str, str, bool], list[int]] = {}
    path = draft.dir / FILE
    whole = [name for name in SCHEMA.names if pa.types.is_int64(SCHEMA.field(name).type)]
    rows = 0
    with pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        use_dictionary=["phase", "part"],  # pyright: ignore[reportArgumentType]
        column_encoding=dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
    ) as writer:
        for batch in _batches(job):
            writer.write_batch(batch, row_group_size=1 << 20)
            rows += batch.num_rows
            _add(totals, batch)
    draft.count(path, rows=rows, part=PART)
    for (_, part, skipped), (tokens, _) in totals.items():
        name = f"seen.{part}.{'skipped' if skipped else 'tokens'}"
        draft.metrics[name] = draft.metrics.get(name, 0.0) + tokens
    lines = tuple(
        (phase, part, "passed" if skipped else "trained on", tokens, documents)
        for (phase, part, skipped), (tokens, documents) in totals.items()
    )
    columns = ("phase", "part", "", "tokens", "stretches of documents")
    return (Section(title="What was seen", tables=(Table(columns=columns, rows=lines),)),)


def ranges(course: Course, skips: Sequence[Passed]) -> Iterator[Range]:
    """The ranges of steps that rows are of."""
    for phase, (first, last) in enumerate(course.phase_steps):
        size = -(-(last - first + 1) // RANGES)
        edges = {*range(first, last + 1, size), last + 1}
        for skip in skips:
            edges |= {edge for edge in (skip.first_step, skip.last_step + 1) if first <= edge <= last}
        begins = sorted(edges)
        for begin, end in pairwise(begins):
            skipped = any(skip.first_step <= begin <= skip.last_step for skip in skips)
            yield Range(phase, begin, end - 1, skipped)


def _batches(job: Job) -> Iterator[pa.RecordBatch]:
    course, reading = job.course, job.reading
    begins = {}
    for part, file in job.parts.items():
        lengths = lengths_of(file).astype(np.int64)
        begins[part] = np.cumsum(lengths) - lengths
    for one in ranges(course, read_skips(job.scratch)):
        for part, (first, last) in reading.numbers(one.first_step, one.last_step).items():
            for run in _runs(reading.tracks[part].read(first, last)):
                yield _batch(one, course.phases[one.phase].name, part, run, begins[part])


def _runs(read: Iterator[tuple[int, Pieces]]) -> Iterator[Run]:
    for epoch, pieces in read:
        order = np.argsort(pieces.begins)
        begins = pieces.begins[order]
        ends = begins + pieces.lengths[order] + 1
        starts = np.flatnonzero(np.concatenate([[True], begins[1:] > ends[:-1]]))
        yield Run(epoch, begins[starts], np.append(ends[starts[1:] - 1], ends[-1]))


def _batch(one: Range, phase: str, part: str, run: Run, documents: Whole) -> pa.RecordBatch:
    count = len(run.begins)

    def same(value: int) -> Whole:
        return np.full(count, value, dtype=np.int64)

    def named(name: str) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([name]))

    columns = [
        same(one.first_step),
        same(one.last_step),
        named(phase),
        named(part),
        same(run.epoch),
        run.begins,
        run.ends,
        np.searchsorted(documents, run.begins, side="right") - 1,
        np.searchsorted(documents, run.ends - 1, side="right") - 1,
        np.full(count, one.skipped),
    ]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=SCHEMA)


def _add(totals: dict[tuple[str, str, bool], list[int]], batch: pa.RecordBatch) -> None:
    phase, part, skipped = (batch[name][0].as_py() for name in ("phase", "part", "skipped"))
    begin, end, first, last = (batch[name].to_numpy() for name in ("begin", "end", "first_document", "last_document"))
    total = totals.setdefault((phase, part, skipped), [0, 0])
    total[0] += int((end - begin).sum())
    total[1] += int((last - first + 1).sum())
