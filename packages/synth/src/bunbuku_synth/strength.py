"""A stronger teacher's answers against a weaker one's: verified where the task has a checker, else on the strength of who answered.

Where a checker knows the right answer, the stronger one must be right and the weaker one wrong; nobody's reputation counts. Where
none does, the stronger one's answer must be sound and say something else, and the pair is only as good as the difference between the two.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Annotated

from bunbuku_contracts import Config
from bunbuku_inference import Request
from pydantic import Field, PositiveInt

from bunbuku_synth.contrasts import Contrast
from bunbuku_synth.faculty import Faculty
from bunbuku_synth.item import Item, Preference, preference
from bunbuku_synth.keys import draw, key_of
from bunbuku_synth.language import japanese_ratio, normalized
from bunbuku_synth.replies import flaw
from bunbuku_synth.tasks.teaching import TeacherSampling, request_of, whole


class Strength(Config):
    """Who answers, and how much."""

    tasks: tuple[str, ...] = ()
    """Of the dialogues; none takes all."""
    count: PositiveInt = 100
    """Questions that both are asked."""
    stronger: str = "stronger"
    weaker: str = "weaker"
    most_alike: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Answers whose letters agree to more than this are not set against each other."""
    unverified: bool = True
    """Whether tasks without a checker are taken."""
    sampling: TeacherSampling = TeacherSampling(temperature=0.7, top_p=0.95, max_tokens=600)


def by_strength(
    items: Sequence[Item],
    config: Strength,
    contrasts: Mapping[str, Contrast],
    faculty: Faculty,
    counts: Counter[str],
    *,
    seed: int,
) -> list[Preference]:
    """The stronger one's answer over the weaker one's, for every question where that holds."""
    fitting = [item for item in items if not config.tasks or item.task in config.tasks]
    fitting = [item for item in fitting if config.unverified or item.task in contrasts]
    asked = draw(fitting, config.count, name=lambda item: item.id, label="strength", seed=seed)
    said = {name: _answers(asked, name, config, faculty, seed=seed) for name in (config.stronger, config.weaker)}
    found: list[Preference] = []
    for item, better, worse in zip(asked, said[config.stronger], said[config.weaker], strict=True):
        contrast = contrasts.get(item.task)
        verdict = _verdict(item, better, worse, contrast, most_alike=config.most_alike)
        counts[f"strength.{verdict}"] += 1
        if verdict in ("verified", "unverified"):
            weaker = faculty.identity(config.weaker)
            key = key_of(dialogue=item.id, chosen=better, rejected=worse, rejected_by=weaker, seed=seed)
            found.append(preference(item, key, chosen=better, rejected=worse, rejected_by=f"model:{weaker}"))
            counts[f"preferences.{item.task}.strength"] += 1
    return found


def _answers(asked: Sequence[Item], teacher: str, config: Strength, faculty: Faculty, *, seed: int) -> list[str]:
    """What one of them says; nothing where it has no whole answer."""
    by = faculty.identity(teacher)
    requests: list[Request] = []
    for item in asked:
        key = key_of(strength=item.id, teacher=by, sampling=config.sampling.model_dump(), seed=seed)
        requests.append(request_of(item.prompt, config.sampling, seed=key.seed))
    outcomes = faculty.ask(teacher, requests, step=f"strength.{teacher}") if requests else []
    return [whole(outcome) for outcome in outcomes]


def _verdict(item: Item, better: str, worse: str, contrast: Contrast | None, *, most_alike: float) -> str:
    """Whether the pair holds, and how that is known; else why it does not."""
    if not better or not worse:
        return "no_answer"
    if contrast:
        if contrast.verdict(item, better) != "right":
            return "stronger_not_right"
        return "verified" if contrast.verdict(item, worse) == "wrong" else "weaker_not_wrong"
    if flaw(better, "ja" if japanese_ratio(item.said) > 0.5 else "en"):
        return "stronger_not_sound"
    alike = SequenceMatcher(None, normalized(better), normalized(worse), autojunk=False).ratio()
    return "alike" if alike > most_alike else "unverified"
