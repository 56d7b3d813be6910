"""The stage `calibrate`: what a judge's scores are worth, by items that people have labelled.

A judge scores each labelled item from 1 to 5, as it would in a chain. What comes of it is the chance that an item of a score is good,
never falling as the score rises; how well the scores tell good from bad; and from which score on enough of the items are good, which
is what `at_least` of a judge should be.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Draft,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from bunbuku_contracts.intervals import wilson
from bunbuku_inference import Answer, Failure, Request, read_json, schema_of
from pydantic import BaseModel, Field, ValidationError

from bunbuku_synth.faculty import Candidates, Faculty, TeacherRun
from bunbuku_synth.keys import key_of
from bunbuku_synth.tasks.chain import Wording
from bunbuku_synth.tasks.judging import JUDGE, SCALE, Mark
from bunbuku_synth.tasks.teaching import TeacherSampling, request_of

SCORES = range(1, 6)


class Labelled(BaseModel):
    """A line of the file: a question, an answer, and whether a person calls it good."""

    question: str
    answer: str
    good: bool


class CalibrateConfig(Config):
    """What the judge is asked, and what is good enough."""

    judge: str | None = None
    """What reports call the judge; its name at the server if it is served."""
    wording: Wording = Wording(
        name="good",
        ask="次の質問への答えは、正しく、質問に答えていて、分かりやすいですか。\n\n質問:\n{{ question }}\n\n答え:\n{{ answer }}\n\n"
        + SCALE,
    )
    """Variables: `question`, `answer`. A calibration holds for this wording alone."""
    sampling: TeacherSampling = TeacherSampling(max_tokens=200)
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of good items that is wanted among those that are kept."""


class CalibrateRun(TeacherRun):
    """Where the judge runs, what it costs, and where its replies are kept."""


IN_PROCESS = CalibrateRun()
"""Where a model runs if nothing is said."""


@stage("synth.calibrate", revision=2, resumable=True, bitwise=False)
def calibrate(
    draft: Draft,
    config: CalibrateConfig,
    labelled: Path,
    judge: Artifact[Checkpoint] | None = None,
    *,
    run: CalibrateRun = IN_PROCESS,
) -> Report:
    """Report what a judge's scores are worth, by labelled items (a JSON line each: question, answer, good).

    For every score it says how many items got it, how many of these are good, and the chance that one is, fitted so that it never
    falls as the score rises. `calibration.json` has these chances. The advice is the lowest score from which on the share of good items,
    by the lower end of its 95 % interval, is what the config wants.
    """
    items = read_labelled(labelled)
    names = {JUDGE: config.judge} if config.judge else {}
    candidates = Candidates(names, {JUDGE: judge} if judge else {})
    with Faculty(draft, candidates, run) as faculty:
        identity = faculty.identity(JUDGE)
        requests = [_request(item, config) for item in items]
        marks = [_mark(outcome) for outcome in faculty.ask(JUDGE, requests, step="calibrate.judge")]
    scored = [(mark.score, item.good) for mark, item in zip(marks, items, strict=True) if mark]
    if len({good for _, good in scored}) < 2:
        raise BunbukuError(
            f"of {len(items)} labelled items {len(scored)} got a score, and all of these are labelled alike",
            hint="label good and bad items, and see in the replies' store what the judge says",
        )
    chances, advice, ordered = chance_by_score(scored), advised(scored, config.precision), auc(scored)
    found = {
        "judge": identity,
        "wording": config.wording.model_dump(mode="json"),
        "chances": chances,
        "at_least": advice,
    }
    (draft.dir / "calibration.json").write_text(
        json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    draft.metrics |= {
        "items": float(len(items)),
        "unparsed": float(len(items) - len(scored)),
        "auc": ordered,
        "calibration_error": calibration_error(scored, folds=5),
        "at_least": float(advice or 0),
        **{f"chance.{score}": chance for score, chance in chances.items()},
    }
    unparsed = len(items) - len(scored)
    write_sections(draft, [_section(config, identity, scored, chances, advice, ordered=ordered, unparsed=unparsed)])
    return Report(title="What a judge's scores are worth")


def read_labelled(path: Path) -> list[Labelled]:
    """The labelled items of a file, one a line.

    Raises:
        BunbukuError: A line is none, or there is no line.
    """
    items: list[Labelled] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            items.append(Labelled.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise BunbukuError(
                f"{path}:{number}: {where}: {first['msg']}",
                hint='a line looks like {"question": "…", "answer": "…", "good": true}',
            ) from error
    if not items:
        raise BunbukuError(f"{path} is empty", hint="label some items, a hundred or more")
    return items


def chance_by_score(scored: Sequence[tuple[int, bool]]) -> dict[int, float]:
    """The chance that an item of each score is good, never falling: pools of neighbours whose order is wrong.

    Pool adjacent violators, Ayer et al. 1955 (doi:10.1214/aoms/1177728423), with half an item of either kind added to each score, so
    that few items say little.

    >>> {score: round(chance, 2) for score, chance in chance_by_score([(1, False), (1, False), (2, True), (3, False), (5, True)]).items()}
    {1: 0.17, 2: 0.5, 3: 0.5, 4: 0.5, 5: 0.75}
    """
    pools: list[tuple[float, float, list[int]]] = []
    for score in SCORES:
        labels = [good for given, good in scored if given == score]
        pools.append((sum(labels) + 0.5, len(labels) + 1.0, [score]))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            (good, every, scores), (more, many, others) = pools[-2:]
            pools[-2:] = [(good + more, every + many, scores + others)]
    return {score: good / every for good, every, scores in pools for score in scores}


def advised(scored: Sequence[tuple[int, bool]], precision: float) -> int | None:
    """The lowest score from which on the share of good items is surely high enough; `None` if there is none.

    >>> advised([(5, True)] * 60 + [(4, True)] * 20 + [(4, False)] * 20, 0.9), advised([(5, True)], 0.9)
    (5, None)
    """
    for least in SCORES:
        kept = [good for score, good in scored if score >= least]
        if kept and wilson(sum(kept), len(kept)).low >= precision:
            return least
    return None


def auc(scored: Sequence[tuple[int, bool]]) -> float:
    """How often a good item has the higher score than a bad one; equal ones count half.

    >>> auc([(1, False), (3, True)]), auc([(2, False), (2, True)])
    (1.0, 0.5)
    """
    good, bad = ([score for score, label in scored if label is kind] for kind in (True, False))
    won = sum((one > other) + (one == other) / 2 for one in good for other in bad)
    return won / (len(good) * len(bad))


def calibration_error(scored: Sequence[tuple[int, bool]], *, folds: int) -> float:
    """How far chances are from what happened, weighted by items: chances of each item fitted on the folds without it."""
    sums: dict[int, list[float]] = {score: [0.0, 0.0] for score in SCORES}
    for fold in range(folds):
        rest = [one for at, one in enumerate(scored) if at % folds != fold]
        chances = chance_by_score(rest)
        for score, good in scored[fold::folds]:
            sums[score][0] += chances[score]
            sums[score][1] += good
    return sum(abs(said - happened) for said, happened in sums.values()) / len(scored)


def _request(item: Labelled, config: CalibrateConfig) -> Request:
    turns = config.wording.turns({"question": item.question, "answer": item.answer})
    key = key_of(calibrate=item.model_dump(), wording=config.wording.model_dump(mode="json"))
    return request_of(turns, config.sampling, seed=key.seed, reply_schema=schema_of(Mark))


def _mark(outcome: Answer | Failure) -> Mark | None:
    return read_json(outcome.text, Mark).value if isinstance(outcome, Answer) else None


def _section(
    config: CalibrateConfig,
    judge: str,
    scored: Sequence[tuple[int, bool]],
    chances: dict[int, float],
    advice: int | None,
    *,
    ordered: float,
    unparsed: int,
) -> Section:
    rows: list[tuple[str | int | float, ...]] = []
    for score in SCORES:
        labels = [good for given, good in scored if given == score]
        from_here = [good for given, good in scored if given >= score]
        low, high = wilson(sum(from_here), len(from_here))
        kept = f"{sum(from_here) / len(from_here):.1%} ({low:.1%} to {high:.1%})" if from_here else ""
        rows.append((score, len(labels), sum(labels), round(chances[score], 3), kept))
    what = f"`at_least = {advice}`" if advice else "no score: label more, or take another judge or wording"
    said = (
        f"{judge}, asked `{config.wording.id}` of {len(scored):,} labelled items; {unparsed:,} more got no score. A good item has the "
        f"higher score than a bad one in {ordered:.1%} of pairs. For {config.precision:.0%} good items: {what}."
    )
    columns = ("score", "items", "good", "chance of good", "good from this score on (95 % interval)")
    return Section(
        title="What scores are worth", paragraphs=(said,), tables=(Table(columns=columns, rows=tuple(rows)),)
    )
