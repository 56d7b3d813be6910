"""`eval.agree`: how far judges agree, with each other, with themselves, and with people."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Config, Draft, Report, Section, Table, stage, write_sections
from bunbuku_contracts.intervals import Interval

from bunbuku_eval.agreement import Agreement, agreement, rank_agreement
from bunbuku_eval.calibration import believed, calibrate
from bunbuku_eval.reading import read_rows

type Key = tuple[str, str, str]
"""Two models, or one and nothing, and a question."""
PEOPLE = "people"


class AgreeConfig(Config):
    """There is nothing to choose."""


@stage("eval.agree", revision=2)
def agree(
    draft: Draft, config: AgreeConfig, judgements: dict[str, Artifact[Report]], people: Path | None = None
) -> Report:
    """Compare judges on what they both judged: item by item, and in the order they put models into.

    `--judgements` are `judge` reports; `--people` is a file of votes by hand with `id` beside `model_a`, `model_b` and
    `winner`, or of ratings with `model_a`, `id` and `rating`. With people there is a calibration: the judge's bias, and the
    line from its ratings to theirs, both with intervals.
    """
    if not judgements:
        raise BunbukuError("there is no judge", hint="--judgements NAME=DIR, once a judge report")
    rows = {name: _rows(report) for name, report in judgements.items()}
    if people is not None:
        rows[PEOPLE] = [_by_hand(row, number, people) for number, row in enumerate(read_rows(people), start=1)]
    within = [row for name, own in rows.items() for row in _within(name, own)]
    verdicts = {name: _settled(own) for name, own in rows.items()}
    between = []
    for one, other in combinations(verdicts, 2):
        shared = sorted(set(verdicts[one]) & set(verdicts[other]))
        found = agreement([(verdicts[one][key], verdicts[other][key]) for key in shared])
        ranks = rank_agreement(_means(verdicts[one]), _means(verdicts[other]))
        between.append((one, other, *_cells(found), _number(ranks)))
        if shared:
            draft.metrics |= {f"exact.{one}.{other}": found.exact}
        if not math.isnan(ranks):
            draft.metrics |= {f"ranks.{one}.{other}": ranks}
    columns = ("items", "exact", "95 %", "within one", "kappa")
    tables: tuple[Table, ...] = (
        Table(
            columns=("judge", "against", *columns, "Spearman of models"), rows=tuple(between), caption="Between judges"
        ),
        Table(columns=("judge", "of its own", *columns), rows=tuple(within), caption="Within a judge"),
    )
    if people is not None:
        tables += _calibrated(draft, verdicts)
    said = "A judge that does not agree with itself when sides or seeds change cannot agree with anybody else."
    write_sections(draft, [Section(title="Agreement of judges", paragraphs=(said,), tables=tables)])
    return Report(title="Agreement of judges")


def _calibrated(draft: Draft, verdicts: Mapping[str, Mapping[Key, float | str]]) -> tuple[Table, ...]:
    """How each judge's verdicts read as those of people: the line between ratings, and who people say is better."""
    lines: list[tuple[str | float | int | None, ...]] = []
    shares: list[tuple[str | float | int | None, ...]] = []
    hand = verdicts[PEOPLE]
    for name, own in verdicts.items():
        shared = [(own[key], hand[key]) for key in sorted(set(own) & set(hand))]
        numbers = [(one, other) for one, other in shared if isinstance(one, float) and isinstance(other, float)]
        if name == PEOPLE or not shared:
            continue
        if numbers:
            found = calibrate([one for one, _ in numbers], [other for _, other in numbers])
            draft.metrics |= _known({f"bias.{name}": found.bias, f"slope.{name}": found.slope})
            draft.metrics |= _known(
                {f"bias.{name}.low": found.bias_interval.low, f"bias.{name}.high": found.bias_interval.high}
            )
            lines.append(
                (
                    *(name, found.items, _between(found.bias, found.bias_interval), _number(found.intercept)),
                    *(_between(found.slope, found.slope_interval), _number(found.error)),
                )
            )
        words = [(one, other) for one, other in shared if isinstance(one, str) and isinstance(other, str)]
        for (judge, people), (share, span, total) in believed(words).items():
            shares.append((name, judge, total, people, _between(share, span)))
    tables: list[Table] = []
    if lines:
        columns = ("judge", "items", "bias (95 %)", "intercept", "slope (95 %)", "error")
        caption = "Ratings: people's = intercept + slope × the judge's; the bias is the judge's less people's"
        tables.append(Table(columns=columns, rows=tuple(lines), caption=caption))
    if shares:
        columns = ("judge", "it says", "times", "people say", "share (95 %)")
        tables.append(Table(columns=columns, rows=tuple(shares), caption="What people say where a judge says so"))
    return tuple(tables)


def _known(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _between(value: float, span: Interval) -> str | None:
    return None if math.isnan(value) else f"{value:.3f} ({span.low:.3f} to {span.high:.3f})"


def _rows(report: Artifact[Report]) -> list[dict[str, Any]]:
    path = report.dir / "judgements.parquet"
    if not path.is_file():
        raise BunbukuError(f"{report.dir} has no judgements", hint="bunbuku-eval judge makes some")
    return pq.read_table(path).to_pylist()


def _by_hand(row: Mapping[str, Any], number: int, path: Path) -> dict[str, Any]:
    if row.get("model_a") is None or row.get("id") is None or (row.get("winner") is None and row.get("rating") is None):
        raise BunbukuError(f"row {number} of {path} lacks model_a, id, or one of winner and rating")
    one, other, winner = str(row["model_a"]), row.get("model_b") or "", row.get("winner")
    winner = {"model_a": "a", "model_b": "b", "both_bad": "tie"}.get(str(winner), winner)
    if other and one > other:
        one, other, winner = other, one, {"a": "b", "b": "a"}.get(str(winner), winner)
    rating = float(row["rating"]) if row.get("rating") not in (None, "") else None
    return {"model_a": one, "model_b": other, "id": str(row["id"]), "winner": winner, "rating": rating}


def _verdict(row: Mapping[str, Any]) -> float | str | None:
    return row["winner"] if row["winner"] is not None else row["rating"]


def _key(row: Mapping[str, Any]) -> Key:
    return row["model_a"], row["model_b"] or "", row["id"]


def _settled(rows: list[dict[str, Any]]) -> dict[Key, float | str]:
    """One verdict an item: the rounded mean of ratings, and the winner on which all orders and samples agree, or a tie."""
    groups: dict[Key, list[float | str]] = defaultdict(list)
    for row in rows:
        if (verdict := _verdict(row)) is not None:
            groups[_key(row)].append(verdict)
    found: dict[Key, float | str] = {}
    for key, verdicts in groups.items():
        numbers = [one for one in verdicts if isinstance(one, float)]
        if numbers:
            found[key] = float(round(fmean(numbers)))
        else:
            found[key] = verdicts[0] if len(set(verdicts)) == 1 else "tie"
    return found


def _within(name: str, rows: list[dict[str, Any]]) -> Iterator[tuple[str | float | int | None, ...]]:
    for what, fixed in (("orders", "sample"), ("samples", "swapped")):
        vary = "swapped" if what == "orders" else "sample"
        groups: dict[tuple[Any, ...], dict[Any, Any]] = defaultdict(dict)
        for row in rows:
            if vary in row and _verdict(row) is not None and row.get("by") != "rule":
                groups[*_key(row), row[fixed]][row[vary]] = _verdict(row)
        pairs = [pair for group in groups.values() for pair in combinations([group[key] for key in sorted(group)], 2)]
        if pairs:
            yield (name, what, *_cells(agreement(pairs)))


def _means(verdicts: Mapping[Key, float | str]) -> dict[str, float]:
    """Each model's mean rating, or its share of wins with ties by half."""
    values: dict[str, list[float]] = defaultdict(list)
    for (one, other, _), verdict in verdicts.items():
        if isinstance(verdict, str):
            share = {"a": 1.0, "b": 0.0}.get(verdict, 0.5)
            values[one].append(share)
            values[other].append(1 - share)
        else:
            values[one].append(verdict)
    return {model: fmean(of) for model, of in values.items()}


def _cells(found: Agreement) -> tuple[str | float | int | None, ...]:
    low, high = found.interval
    span = None if math.isnan(low) else f"{low:.3f} to {high:.3f}"
    return found.items, _number(found.exact), span, _number(found.within_one), _number(found.kappa)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
