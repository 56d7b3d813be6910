"""`eval.compare`: models that were scored at different times, laid side by side."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Config, Draft, Report, stage
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_eval.answers import Answered, Condition, Marks
from bunbuku_eval.scoreboard import FACTS, FACTS_LIST, Facts, Scoreboard, publish
from bunbuku_eval.tasks import Question


class CompareConfig(Config):
    bootstrap_rounds: PositiveInt = 1000
    seed: NonNegativeInt = 0
    """Of the bootstrap."""
    page_rows: PositiveInt = 20_000
    """Answers that the page of items holds, at most."""


@stage("eval.compare", revision=3)
def compare(draft: Draft, config: CompareConfig, reports: dict[str, Artifact[Report]]) -> Report:
    """Compare models of several `score` reports on the questions they share, with the answers that flipped.

    Such as the milestones of a run, each scored when it was made. Differences are paired by question; a task that was
    read from another file in one of the reports is an error, since its questions are others.
    """
    if not reports:
        raise BunbukuError("there is nothing to compare", hint="--reports NAME=DIR, once a score report")
    facts: dict[str, Facts] = {}
    answered: list[Answered] = []
    for name, report in reports.items():
        for one in read_facts(report):
            if facts.setdefault(one.task, one).sha256 != one.sha256:
                raise BunbukuError(
                    f"the task {one.task!r} of {report.dir} was read from another file than before: {one.sha256[:7]}, "
                    f"not {facts[one.task].sha256[:7]}",
                    hint="score both on the same data",
                )
        answered += read_answers(report, name)
    models = tuple(dict.fromkeys(one.condition.model for one in answered))
    board = Scoreboard(tuple(facts.values()), tuple(answered), rounds=config.bootstrap_rounds, seed=config.seed)
    return publish(draft, board, models=models, page_rows=config.page_rows)


def read_answers(report: Artifact[Any], name: str = "") -> Iterator[Answered]:
    """The answers of a `score` report. Its only model is called `name`; of several, each `name/model`; their own without one."""
    rows = pq.read_table(report.path(report.files("items")[0])).to_pylist()
    several = len({row["model"] for row in rows}) > 1
    for row in rows:
        yield _answered(row, row["model"] if not name else f"{name}/{row['model']}" if several else name)


def read_facts(report: Artifact[Any]) -> tuple[Facts, ...]:
    """The tasks of a `score` report."""
    path = report.dir / FACTS
    if not path.is_file():
        raise BunbukuError(
            f"{report.dir} is no report of scores: it has no {FACTS}", hint="bunbuku-eval score makes one"
        )
    return FACTS_LIST.validate_json(path.read_bytes())


def _answered(row: Mapping[str, Any], model: str) -> Answered:
    marks = None
    if row["strict"] is not None:
        numbers = (row[name] for name in ("parity", "strict_value", "lenient_value", "parity_value"))
        marks = Marks(row["strict"], row["lenient"], row["format_ok"], tuple(row["flags"]), row["understood"], *numbers)
    question = Question(
        row["id"], {}, tuple(row["gold"]), choices=tuple(row["choices"]), category=row["category"] or ""
    )
    way = Condition(model, row["task"], row["mode"], row["style"], row["phrasing"], row["seed"])
    return Answered(
        way,
        question,
        row["prompt"],
        row["shots"],
        row["output"],
        marks,
        row["failure"] or "",
        row["finish"],
        row["tokens"],
        row["seconds"],
        row["contaminated"],
        tuple(row["logprobs"]),
    )
