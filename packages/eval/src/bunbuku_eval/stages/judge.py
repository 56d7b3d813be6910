"""`eval.judge`: answers rated, or set against each other, by a language model."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from bunbuku_contracts import Artifact, BunbukuError, Draft, Report, stage
from bunbuku_inference import OpenAIEngine, Sampling, open_model

from bunbuku_eval.judged import publish, row_of, write
from bunbuku_eval.judges import JudgeConfig
from bunbuku_eval.judging import Case, Judgement, Shown, ask, read_answers
from bunbuku_eval.run import DEFAULT_RUN, EvalRun
from bunbuku_eval.verdicts import preference, rating


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
                found += ask(
                    model,
                    chunk,
                    config.template_of,
                    read,
                    sampling=sampling,
                    attempts=config.attempts,
                    reminder=config.reminded,
                    begun=any(one.text for one in found),
                )
    if asked and all(one.failure for one in found if one.attempts):
        first = next(one for one in found if one.failure)
        log = write(draft, [row_of(one, config) for one in found])
        raise BunbukuError(
            f"the judge {config.judge!r} answered nothing: {first.failure}",
            hint=f"is its server up? What was asked, and what came of it, is in {log}",
        )
    return publish(draft, config, found)


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
