"""Which items stand in the training text, as an audit of the corpus found: a flag an item."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError

from bunbuku_eval.tasks import Question


def flags_of(audit: Artifact[Any], questions: Sequence[Question], *, task: str) -> dict[str, bool | None]:
    """For each question's id whether it is contaminated; `None` where the audit could not tell.

    Audited items are joined by their ids. An audit of a file whose rows have no `id` counts its lines from 1; then that
    is what they are joined by.

    Raises:
        BunbukuError: There is no such column, or no item of the audit is one of the task's.
    """
    path = audit.dir / "items.parquet"
    wanted = ["id", "method", "contaminated"]
    if not path.is_file() or not set(wanted) <= set(pq.read_schema(path).names):
        raise BunbukuError(
            f"{audit.dir} is no audit of contamination: it has no items.parquet with {', '.join(wanted)}",
            hint="bunbuku-corpus contamination makes one",
        )
    rows = pq.read_table(path, columns=wanted).to_pylist()
    found = {row["id"]: None if row["method"] == "not judged" else bool(row["contaminated"]) for row in rows}
    by_id = {one.id: found.get(one.id) for one in questions}
    lines = [str(at) for at in range(1, len(rows) + 1)]
    if [row["id"] for row in rows] == lines and not {one.id for one in questions} <= set(lines):
        return {one.id: found.get(str(one.line)) for one in questions}
    if not any(id in found for id in by_id):
        raise BunbukuError(
            f"no item of {audit.dir} is one of the task {task!r}: it knows {rows[0]['id']!r}, the task "
            f"{questions[0].id!r}",
            hint="audit the very file that the task reads",
        )
    return by_id


def known(flags: Mapping[str, bool | None]) -> int:
    """How many are flagged."""
    return sum(flag is True for flag in flags.values())
