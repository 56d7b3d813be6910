"""`eval.judge`: answers rated, or set against each other, by a language model."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Config, Draft, Report, Section, Table, stage, write_sections
from bunbuku_inference import OpenAIEngine, Sampling, open_model
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bunbuku_eval.agreement import agreement
from bunbuku_eval.intervals import bootstrap_ratio
from bunbuku_eval.judging import Case, Judgement, Shown, ask, read_answers
from bunbuku_eval.run import DEFAULT_RUN, EvalRun
from bunbuku_eval.verdicts import preference, rating

SINGLE = """次の質問への回答を、正確さ、有用さ、質問との関わり、日本語の自然さの点から、公平に評価してください。
まず理由を短く述べ、最後の行に必ず「評価：[[n]]」の形で、{low}から{high}までの数nを書いてください。

[質問]
{question}

[回答]
{answer}"""
PAIR = """次の質問に二つの回答があります。どちらがよいかを、正確さ、有用さ、日本語の自然さから公平に判断してください。
回答の順序や長さに左右されないでください。まず理由を短く述べ、最後の行に必ず、
Aがよければ [[A]]、Bがよければ [[B]]、同じくらいなら [[C]] と書いてください。

[質問]
{question}

[回答A]
{answer_a}

[回答B]
{answer_b}"""

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
        *((name, pa.string()) for name in ("prompt", "text", "judge", "failure")),
        ("temperature", pa.float64()),
    ]
)
"""One row a judgement; `by` is `judge`, or `rule` where an answer was degenerate and nobody was asked."""


class JudgeConfig(Config):
    judge: str = Field(min_length=1)
    """Who judges: the name that the engine's server knows it by, or what its weights are to be called."""
    kind: Literal["single", "pair"] = "single"
    """Rate each answer, or set the answers of every two models against each other, in both orders."""
    single_prompt: str = SINGLE
    pair_prompt: str = PAIR
    """`{question}`, `{answer}`, `{answer_a}` and `{answer_b}` are filled in, `{low}` and `{high}` with the scale."""
    low: float = 1
    high: float = 10
    samples: PositiveInt = 1
    """Judgements of the same thing; more than one needs a temperature above 0."""
    attempts: PositiveInt = 3
    """How often a judgement that cannot be read is asked for, in all; at temperature 0 once, since it would be the same."""
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: PositiveInt = 1024
    questions: PositiveInt = 1000
    """At most so many questions, in the order of their ids."""
    seed: NonNegativeInt = 0
    """Of the bootstrap."""

    @property
    def template(self) -> str:
        if self.kind == "pair":
            return self.pair_prompt
        return self.single_prompt.replace("{low}", f"{self.low:g}").replace("{high}", f"{self.high:g}")

    @model_validator(mode="after")
    def _fits(self) -> "JudgeConfig":
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"`samples` {self.samples} would all be the same at temperature 0")
        wanted = ("{question}", "{answer}") if self.kind == "single" else ("{question}", "{answer_a}", "{answer_b}")
        if missing := [one for one in wanted if one not in self.template]:
            raise ValueError(f"the prompt for kind {self.kind!r} has no {', '.join(missing)}")
        return self


@stage("eval.judge", revision=2, bitwise=False)
def judge(
    draft: Draft,
    config: JudgeConfig,
    answers: dict[str, Artifact[Report]],
    weights: Path | None = None,
    *,
    run: EvalRun = DEFAULT_RUN,
) -> Report:
    """Let a language model rate answers, or prefer one of two, in both orders.

    Takes `generate` or `score` reports. The judge is whom the engine asks: a server's model, or `--weights`. Its last verdict
    counts; what cannot be read is asked for again, counted and kept. Degenerate answers are told apart before: they get the
    lowest rating, or lose, and nobody is asked. `votes.parquet` of a pairwise run is what `rate` takes.
    """
    if isinstance(run.engine, OpenAIEngine) and run.engine.served_model != config.judge:
        raise BunbukuError(
            f"the judge is {config.judge!r}, and the engine would ask {run.engine.served_model!r}",
            hint="name the same model in `judge` and in the engine's `served_model`",
        )
    shown = read_answers(answers)
    cases = _singles(shown, config) if config.kind == "single" else _pairs(shown, config)
    if not cases:
        raise BunbukuError("there is nothing to judge", hint="give reports in which models answer the same questions")
    asked = [case for case in cases if not _flagged(case)]
    read = preference if config.kind == "pair" else lambda text: rating(text, low=config.low, high=config.high)
    sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
    found: list[Judgement] = [_by_rule(case, config) for case in cases if _flagged(case)]
    if asked:
        with open_model(run.engine, weights) as model:
            for chunk in draft.track([asked[at : at + 64] for at in range(0, len(asked), 64)], unit="batches"):
                found += ask(model, chunk, config.template, read, sampling=sampling, attempts=config.attempts)
    if asked and all(one.failure for one in found if one.attempts):
        first = next(one for one in found if one.failure)
        raise BunbukuError(f"the judge {config.judge!r} answered nothing: {first.failure}", hint="is its server up?")
    return _publish(draft, config, found)


def _singles(shown: Sequence[Shown], config: JudgeConfig) -> list[Case]:
    ids = sorted({one.id for one in shown})[: config.questions]
    return [
        Case(one.id, one.category, one.question, one, None, False, sample)
        for one in shown
        if one.id in set(ids)
        for sample in range(config.samples)
    ]


def _pairs(shown: Sequence[Shown], config: JudgeConfig) -> list[Case]:
    by_id: dict[str, list[Shown]] = defaultdict(list)
    for one in shown:
        by_id[one.id].append(one)
    return [
        Case(id, one.category, one.question, one, other, swapped, sample)
        for id in sorted(by_id)[: config.questions]
        for one, other in combinations(sorted(by_id[id]), 2)
        for swapped in (False, True)
        for sample in range(config.samples)
    ]


def _flagged(case: Case) -> bool:
    return bool(case.first.flags or (case.second and case.second.flags))


def _by_rule(case: Case, config: JudgeConfig) -> Judgement:
    verdict: object = config.low
    if case.second is not None:
        # As the judge would have said it: A is whoever stands on the left.
        loses = bool(case.first.flags) - bool(case.second.flags)
        better = "tie" if loses == 0 else "b" if loses > 0 else "a"
        verdict = {"a": "b", "b": "a"}.get(better, better) if case.swapped else better
    return Judgement(case, "", "", verdict, 0)


def _publish(draft: Draft, config: JudgeConfig, found: Sequence[Judgement]) -> Report:
    rows = [_row(one, config) for one in found]
    path = draft.dir / "judgements.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    draft.count(path, rows=len(rows), part="items")
    asked = [one for one in found if one.attempts]
    unread = sum(one.verdict is None for one in asked)
    draft.metrics |= {
        "judgements": len(found),
        "by_rule": len(found) - len(asked),
        "unparsed": unread,
        "unparsed.share": unread / len(asked) if asked else 0.0,
        "retried": sum(one.attempts > 1 for one in asked),
        "failed": sum(bool(one.failure) for one in asked),
    }
    table = _ratings(draft, rows, config) if config.kind == "single" else _preferences(draft, rows)
    said = (
        f"{len(found)} judgements by {config.judge} at temperature {config.temperature:g}; {len(found) - len(asked)} of "
        f"degenerate answers by rule. {unread} could not be read after up to {config.attempts} attempts and count nowhere; "
        f"{sum(one.attempts > 1 for one in asked)} were asked for again. The last verdict of a text counts.",
        f"The prompt, as every judgement has it filled in: {config.template}",
    )
    write_sections(draft, [Section(title=f"Judged by {config.judge}", paragraphs=said, tables=(table,))])
    return Report(title=f"Judged by {config.judge}")


def _ratings(draft: Draft, rows: Sequence[dict[str, object]], config: JudgeConfig) -> Table:
    cells: list[tuple[str | float | int | None, ...]] = []
    for model in sorted({str(row["model_a"]) for row in rows}):
        by_id: dict[str, list[float]] = defaultdict(list)
        own = [row for row in rows if row["model_a"] == model]
        for row in own:
            if isinstance(row["rating"], float):
                by_id[str(row["id"])].append(row["rating"])
        means = np.array([fmean(values) for values in by_id.values()])
        low, high = bootstrap_ratio(means, np.ones_like(means), seed=config.seed) if len(means) else (math.nan,) * 2
        if len(means):
            draft.metrics |= {
                f"rating.{model}": float(means.mean()),
                f"rating.{model}.low": low,
                f"rating.{model}.high": high,
            }
        spread = fmean(max(values) - min(values) for values in by_id.values()) if by_id else 0.0
        value = f"{means.mean():.2f} ({low:.2f} to {high:.2f})" if len(means) else "none"
        cells.append((model, len(by_id), value, sum(row["rating"] is None for row in own), round(spread, 3)))
    columns = ("model", "questions", "mean rating (95 %)", "unparsed", "mean spread over samples")
    return Table(columns=columns, rows=tuple(cells))


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
        draft.metrics |= {"orders.agree": found.exact}
        left = sum((row["winner"] == "a") != row["swapped"] for row in rows if row["winner"] in ("a", "b"))
        decided = sum(row["winner"] in ("a", "b") for row in rows)
        draft.metrics["left.share"] = left / decided if decided else 0.5
    cells = []
    for pair in sorted({(str(vote["model_a"]), str(vote["model_b"])) for vote in votes}):
        own = [vote["winner"] for vote in votes if (vote["model_a"], vote["model_b"]) == pair]
        cells.append((*pair, len(own), own.count("a"), own.count("b"), own.count("tie")))
    caption = f"Votes in which both orders agree in {found.exact:.0%} of cases; where they do not, it is a tie"
    columns = ("model", "against", "votes", "first better", "second better", "tie")
    return Table(columns=columns, rows=tuple(cells), caption=caption if orders else "No pair was judged in both orders")


def _row(one: Judgement, config: JudgeConfig) -> dict[str, object]:
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
    }
