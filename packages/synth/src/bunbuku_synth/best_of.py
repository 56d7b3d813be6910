"""Best of several: teachers answer a question again and again, and a judge compares the answers two by two.

Every pair is shown in both orders. Only where the judge says the same of both is there a winner; how often it does not is in the
metrics, and so is how often its reply names both, or neither: such a reply is no verdict, and no tie.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from bunbuku_contracts import Config
from bunbuku_inference import Answer, Request
from pydantic import Field, PositiveInt

from bunbuku_synth.faculty import Faculty
from bunbuku_synth.item import Item, Preference, preference
from bunbuku_synth.keys import draw, key_of
from bunbuku_synth.tasks.chain import Wording
from bunbuku_synth.tasks.judging import COMPARE, parse_judgement
from bunbuku_synth.tasks.teaching import TeacherSampling, request_of, whole


class BestOf(Config):
    """Who answers, who judges, and how much."""

    tasks: tuple[str, ...] = ()
    """Of the dialogues; none takes all."""
    count: PositiveInt = 100
    """Questions that are asked again."""
    answers: Annotated[int, Field(ge=1, le=16)] = 2
    """Of each teacher to each question."""
    teachers: Annotated[tuple[str, ...], Field(min_length=1)] = ("teacher",)
    """Who answers. A stronger and a weaker one give clearer pairs than one alone."""
    judge: str = "judge"
    sampling: TeacherSampling = TeacherSampling(temperature=0.8, top_p=0.95, max_tokens=600)
    judging: TeacherSampling = TeacherSampling(max_tokens=400)
    wording: Wording = Wording(name="compare", ask=COMPARE)
    """Variables: `question`, `a`, `b`."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    text: str
    by: str


class _Match(NamedTuple):
    question: int
    one: int
    other: int


@dataclass
class Compared:
    """What the judge found."""

    preferences: list[Preference] = field(default_factory=list[Preference])
    counts: Counter[str] = field(default_factory=Counter[str])


def compare(items: Sequence[Item], config: BestOf, faculty: Faculty, *, seed: int) -> Compared:
    """The best and the worst answer to each question, where the judge is sure of both."""
    fitting = [item for item in items if not config.tasks or item.task in config.tasks]
    asked = draw(fitting, config.count, name=lambda item: item.id, label="best-of", seed=seed)
    found = Compared()
    candidates = _answers(asked, config, faculty, found.counts, seed=seed)
    matches = [
        _Match(question, one, other)
        for question, some in enumerate(candidates)
        for one, other in itertools.combinations(range(len(some)), 2)
    ]
    wins = _winners(asked, candidates, matches, config, faculty, found.counts)
    by_question: defaultdict[int, dict[tuple[int, int], int]] = defaultdict(dict)
    for match, winner in wins.items():
        by_question[match.question][match.one, match.other] = winner
    for question, item in enumerate(asked):
        pair = _extremes(len(candidates[question]), by_question[question])
        if pair is None:
            found.counts["best_of.no_clear_pair"] += 1
            continue
        best, worst = (candidates[question][at] for at in pair)
        found.preferences.append(_preference(item, best, worst, config, faculty.identity(config.judge), seed=seed))
        found.counts[f"preferences.{item.task}.best_of"] += 1
    return found


def _answers(
    asked: Sequence[Item], config: BestOf, faculty: Faculty, counts: Counter[str], *, seed: int
) -> list[list[_Candidate]]:
    """The different answers to each question."""
    found: list[dict[str, _Candidate]] = [{} for _ in asked]
    for teacher in config.teachers:
        by = faculty.identity(teacher)
        places = [(at, again) for at in range(len(asked)) for again in range(config.answers)]
        requests = [_question(asked[at], config, by=by, again=again, seed=seed) for at, again in places]
        outcomes = faculty.ask(teacher, requests, step=f"best-of.{teacher}") if requests else []
        for (at, _), outcome in zip(places, outcomes, strict=True):
            text = whole(outcome)
            counts["best_of.answers"] += 1
            if not text or text in found[at]:
                counts["best_of.answers_left_out"] += 1
            else:
                found[at][text] = _Candidate(text, by)
    return [list(some.values()) for some in found]


def _question(item: Item, config: BestOf, *, by: str, again: int, seed: int) -> Request:
    key = key_of(best_of=item.id, teacher=by, again=again, sampling=config.sampling.model_dump(), seed=seed)
    return request_of(item.prompt, config.sampling, seed=key.seed)


def _winners(
    asked: Sequence[Item],
    candidates: Sequence[Sequence[_Candidate]],
    matches: Sequence[_Match],
    config: BestOf,
    faculty: Faculty,
    counts: Counter[str],
) -> dict[_Match, int]:
    """Who won each match: told both ways round."""
    requests = [
        _comparison(
            asked[match.question], candidates[match.question][first], candidates[match.question][second], config
        )
        for match in matches
        for first, second in ((match.one, match.other), (match.other, match.one))
    ]
    outcomes = faculty.ask(config.judge, requests, step="best-of.judge") if requests else []
    sides = [parse_judgement(one.text) if isinstance(one, Answer) else None for one in outcomes]
    won: dict[_Match, int] = {}
    for match, (there, back) in zip(matches, itertools.batched(sides, 2), strict=True):
        counts["best_of.matches"] += 1
        if there is None or back is None:
            counts["best_of.unparsed"] += 1
        elif there == back:
            counts["best_of.orders_disagree"] += 1
        else:
            won[match] = match.one if there == "A" else match.other
    return won


def _comparison(item: Item, first: _Candidate, second: _Candidate, config: BestOf) -> Request:
    question = "\n".join(turn.content for turn in item.prompt)
    turns = config.wording.turns({"question": question, "a": first.text, "b": second.text})
    key = key_of(compare=item.id, a=first.text, b=second.text, wording=config.wording.model_dump(mode="json"))
    return request_of(turns, config.judging, seed=key.seed)


def _extremes(count: int, won: dict[tuple[int, int], int]) -> tuple[int, int] | None:
    """Who won most and who won least, if the one beat the other.

    >>> _extremes(3, {(0, 1): 0, (0, 2): 0, (1, 2): 2}), _extremes(2, {})
    ((0, 1), None)
    """
    wins = Counter(won.values())
    ranked = sorted(range(count), key=lambda at: (-wins[at], at))
    if count < 2:
        return None
    best, worst = ranked[0], ranked[-1]
    return (best, worst) if won.get((min(best, worst), max(best, worst))) == best else None


def _preference(
    item: Item, best: _Candidate, worst: _Candidate, config: BestOf, judge: str, *, seed: int
) -> Preference:
    key = key_of(dialogue=item.id, chosen=best.text, rejected=worst.text, judge=judge, seed=seed)
    template = f"{item.template}+{config.wording.id}"
    by = f"model:{worst.by}"
    return preference(item, key, chosen=best.text, rejected=worst.text, rejected_by=by, template=template)
