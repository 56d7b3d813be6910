"""What judges' verdicts are published as: a log, a page to browse it, ratings or votes, and how sure all that is."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Draft, Report, Section, Table, write_sections
from bunbuku_contracts.intervals import wilson
from numpy.typing import NDArray

from bunbuku_eval import browse
from bunbuku_eval.agreement import agreement
from bunbuku_eval.intervals import bootstrap_ratio
from bunbuku_eval.judges import JudgeConfig
from bunbuku_eval.judging import Judgement

PAGE = "items.html"
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("kind", "model_a", "model_b", "id", "category", "question")),
        *((name, pa.string()) for name in ("answer_a", "answer_b")),
        ("swapped", pa.bool_()),
        ("sample", pa.int32()),
        ("rating", pa.float64()),
        ("winner", pa.string()),
        ("by", pa.string()),
        ("attempts", pa.int32()),
        *(
            (name, pa.string())
            for name in ("task", "reference", "criteria", "prompt", "prompt_sha256", "template_sha256")
        ),
        *((name, pa.string()) for name in ("text", "judge", "failure")),
        ("temperature", pa.float64()),
        ("seed", pa.int64()),
        ("reminded", pa.bool_()),
    ]
)
"""One row a judgement; `by` is `judge`, or `rule` where an answer was degenerate and nobody was asked."""


def write(draft: Draft, rows: Sequence[dict[str, object]]) -> Path:
    path = draft.dir / "judgements.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), path)
    return path


def publish(draft: Draft, config: JudgeConfig, found: Sequence[Judgement]) -> Report:
    rows = [row_of(one, config) for one in found]
    draft.count(write(draft, rows), rows=len(rows), part="items")
    page = browse.page(
        f"Judged by {config.judge}", [_browsed(row) for row in rows[: config.page_rows]], total=len(rows)
    )
    (draft.dir / PAGE).write_text(page, encoding="utf-8")
    asked = [one for one in found if one.attempts]
    unread = sum(one.verdict is None for one in asked)
    draft.metrics |= {
        "judgements": len(found),
        "by_rule": len(found) - len(asked),
        "unparsed": unread,
        **_shared("unparsed.share", unread, len(asked)),
        "retried": sum(one.attempts > 1 for one in asked),
        "reminded": sum(one.reminded for one in asked),
        "failed": sum(bool(one.failure) for one in asked),
    }
    tables = _single_tables(draft, rows, config) if config.kind == "single" else (_preferences(draft, rows),)
    said = (
        f"{len(found)} judgements by {config.judge} at temperature {config.temperature:g}; {len(found) - len(asked)} of "
        f"degenerate answers by rule. {unread} could not be read after up to {config.attempts} attempts and count nowhere; "
        f"{sum(one.attempts > 1 for one in asked)} were asked for again. The last verdict of a text counts.",
        f"The prompt, as every judgement has it filled in: {config.template}",
    )
    if failed := sum(bool(one.failure) for one in asked):
        said += (
            f"Incomplete: {failed} of {len(asked)} replies did not come. Their reasons stand in judgements.parquet.",
        )
    write_sections(draft, [Section(title=f"Judged by {config.judge}", paragraphs=said, tables=tables)])
    return Report(title=f"Judged by {config.judge}", page=PAGE)


def _shared(name: str, count: int, total: int) -> dict[str, float]:
    """A share with its interval."""
    low, high = wilson(count, total)
    return {name: count / total, f"{name}.low": low, f"{name}.high": high} if total else {name: 0.0}


def _single_tables(draft: Draft, rows: Sequence[dict[str, object]], config: JudgeConfig) -> tuple[Table, ...]:
    categories = sorted({str(row["category"]) for row in rows})
    tables = [_ratings(draft, rows, config)]
    return (*tables, _by_category(draft, rows, config, categories)) if len(categories) > 1 else tuple(tables)


def _by_category(
    draft: Draft, rows: Sequence[dict[str, object]], config: JudgeConfig, categories: Sequence[str]
) -> Table:
    cells: list[tuple[str | float | int | None, ...]] = []
    for category in categories:
        own: list[str | None] = []
        models = sorted({str(row["model_a"]) for row in rows})
        for model in models:
            means = _means([row for row in rows if (row["model_a"], row["category"]) == (model, category)])
            if not len(means):
                own.append(None)
                continue
            low, high = bootstrap_ratio(means, np.ones_like(means), seed=config.seed)
            draft.metrics[f"rating.{model}.{category}"] = float(means.mean())
            own.append(f"{means.mean():.2f} ({low:.2f} to {high:.2f})")
        cells.append((category, *own))
    columns = ("category", *sorted({str(row["model_a"]) for row in rows}))
    return Table(columns=columns, rows=tuple(cells), caption="Mean rating by category, with its 95 % interval")


def _means(rows: Sequence[dict[str, object]]) -> NDArray[np.float64]:
    """The mean rating of each question."""
    by_id: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if isinstance(row["rating"], float):
            by_id[str(row["id"])].append(row["rating"])
    return np.array([fmean(values) for values in by_id.values()])


def _ratings(draft: Draft, rows: Sequence[dict[str, object]], config: JudgeConfig) -> Table:
    cells: list[tuple[str | float | int | None, ...]] = []
    for model in sorted({str(row["model_a"]) for row in rows}):
        by_id: dict[str, list[float]] = defaultdict(list)
        own = [row for row in rows if row["model_a"] == model]
        for row in own:
            if isinstance(row["rating"], float):
                by_id[str(row["id"])].append(row["rating"])
        means = _means(own)
        low, high = bootstrap_ratio(means, np.ones_like(means), seed=config.seed) if len(means) else (math.nan,) * 2
        if len(means):
            draft.metrics |= {
                f"rating.{model}": float(means.mean()),
                f"rating.{model}.low": low,
                f"rating.{model}.high": high,
            }
        spread = np.array([max(values) - min(values) for values in by_id.values()])
        value = f"{means.mean():.2f} ({low:.2f} to {high:.2f})" if len(means) else "none"
        cells.append(
            (model, len(by_id), value, sum(row["rating"] is None for row in own), _spread(spread, config.seed))
        )
    columns = ("model", "questions", "mean rating (95 %)", "unparsed", "mean spread over samples (95 %)")
    return Table(columns=columns, rows=tuple(cells))


def _spread(values: NDArray[np.float64], seed: int) -> str | None:
    if not len(values):
        return None
    low, high = bootstrap_ratio(values, np.ones_like(values), seed=seed)
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def _preferences(draft: Draft, rows: Sequence[dict[str, object]]) -> Table:
    """Write votes, one a pair, question and sample; who wins in one order alone wins nothing."""
    groups: dict[tuple[str, str, str, int], list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        key = (str(row["model_a"]), str(row["model_b"]), str(row["id"]), int(str(row["sample"])))
        groups[key].append(row)
    votes: list[dict[str, object]] = []
    orders: list[tuple[str, str]] = []
    for (one, other, id, sample), both in groups.items():
        said = [str(row["winner"]) for row in both if row["winner"] is not None]
        if len(said) == 2:
            orders.append((said[0], said[1]))
            winner = said[0] if said[0] == said[1] else "tie"
            first = both[0]
            votes.append({"model_a": one, "model_b": other, "winner": winner, "id": id, "sample": sample, "category": first["category"]}
                         | {name: first[name] for name in ("answer_a", "answer_b", "judge")})  # fmt: skip
    path = draft.dir / "votes.parquet"
    names = ("model_a", "model_b", "winner", "id", "category", "answer_a", "answer_b", "judge")
    schema = pa.schema([*((name, pa.string()) for name in names), ("sample", pa.int32())])
    pq.write_table(pa.Table.from_pylist(votes, schema), path)
    draft.count(path, rows=len(votes), part="votes")
    found = agreement(orders)
    draft.metrics["votes"] = len(votes)
    if orders:
        draft.metrics |= _shared("orders.agree", sum(one == other for one, other in orders), len(orders))
        left = sum((row["winner"] == "a") != row["swapped"] for row in rows if row["winner"] in ("a", "b"))
        decided = sum(row["winner"] in ("a", "b") for row in rows)
        draft.metrics |= _shared("left.share", left, decided) if decided else {"left.share": 0.5}
    cells = []
    for pair in sorted({(str(vote["model_a"]), str(vote["model_b"])) for vote in votes}):
        own = [vote["winner"] for vote in votes if (vote["model_a"], vote["model_b"]) == pair]
        cells.append((*pair, len(own), own.count("a"), own.count("b"), own.count("tie")))
    caption = f"Votes in which both orders agree in {found.exact:.0%} of cases; where they do not, it is a tie"
    columns = ("model", "against", "votes", "first better", "second better", "tie")
    return Table(columns=columns, rows=tuple(cells), caption=caption if orders else "No pair was judged in both orders")


def row_of(one: Judgement, config: JudgeConfig) -> dict[str, object]:
    case = one.case
    winner = one.verdict if config.kind == "pair" else None
    if case.swapped and winner in ("a", "b"):
        winner = "b" if winner == "a" else "a"
    return {
        "kind": config.kind,
        "model_a": case.first.model,
        "model_b": case.second.model if case.second else None,
        "id": case.id,
        "category": case.category,
        "question": case.question,
        "answer_a": case.first.answer,
        "answer_b": case.second.answer if case.second else None,
        "swapped": case.swapped,
        "sample": case.sample,
        "rating": float(one.verdict) if config.kind == "single" and one.verdict is not None else None,
        "winner": winner,
        "by": "judge" if one.attempts else "rule",
        "attempts": one.attempts,
        "prompt": one.prompt,
        "text": one.text,
        "judge": config.judge,
        "failure": one.failure or None,
        "temperature": config.temperature,
        "task": case.first.task,
        "reference": case.first.reference,
        "criteria": case.first.criteria,
        "prompt_sha256": hashlib.sha256(one.prompt.encode()).hexdigest(),
        "template_sha256": hashlib.sha256((one.template or config.template_of(case)).encode()).hexdigest(),
        "seed": one.seed,
        "reminded": one.reminded,
    }


def _browsed(row: dict[str, object]) -> dict[str, object]:
    """The row as the page of items shows it."""
    pair = row["kind"] == "pair"
    names = f"{row['model_a']} and {row['model_b']}" if pair else row["model_a"]
    verdict = row["winner"] or ("unread" if pair else None)
    return {
        "model": names,
        "task": row["task"] or "prompt",
        "category": row["category"],
        "id": f"{row['id']}, judgement {row['sample']}{', sides changed' if row['swapped'] else ''}",
        "seed": row["seed"],
        "prompt": row["prompt"] or row["question"],
        "gold": [row["reference"]] if row["reference"] else [],
        "output": f"{row['answer_a']}\n\n―\n\n{row['answer_b']}" if pair else row["answer_a"],
        "judged": row["text"],
        "rating": row["rating"],
        "verdict": verdict if pair else None if row["rating"] is not None else "unread",
        "flags": ["by rule"] if row["by"] == "rule" else [],
        "failure": row["failure"],
    }
