"""Judges: a teacher that gives a score from 1 to 5 with its reason, as JSON; and one that says which of two answers is better."""

import re
from abc import ABC, abstractmethod
from typing import Annotated, Literal

from bunbuku_contracts import Config
from bunbuku_inference import read_json, schema_of
from pydantic import BaseModel, Field

from bunbuku_synth.tasks.chain import ChainTask, Reading, Step, Wording, Work
from bunbuku_synth.tasks.teaching import TeacherSampling

JUDGE = "judge"
SCALE = (
    "1（まったく駄目）から5（申し分ない）までの整数で採点し、理由を一文で述べてください。"
    '次の形のJSONだけを書いてください。\n{"reason": "理由", "score": 点}'
)
"""What every judge is told."""


type Side = Literal["A", "B"]
_TAG = re.compile(r"\[\[([AB])\]\]")
COMPARE = (
    "次の質問に対する二つの答えを比べ、正しさ、分かりやすさ、質問への忠実さから、優れている方を選んでください。順番や長さに"
    "惑わされないでください。\n\n質問:\n{{ question }}\n\n答えA:\n{{ a }}\n\n答えB:\n{{ b }}\n\n"
    "理由を二文で述べてから、最後に [[A]] か [[B]] のどちらか一つだけを書いてください。"
)
"""What a judge of two answers is told. Variables: `question`, `a`, `b`."""


def parse_judgement(text: str) -> Side | None:
    """The side that a judge names; `None` if it names none, or both.

    >>> parse_judgement("Aの方が正しい。[[A]]"), parse_judgement("[[A]]ではなく[[B]]"), parse_judgement("互角です。")
    ('A', None, None)
    """
    match set(_TAG.findall(text)):
        case found if found == {"A"}:
            return "A"
        case found if found == {"B"}:
            return "B"
        case _:
            return None


class Mark(BaseModel):
    """A judge's reply."""

    reason: str = ""
    score: Annotated[int, Field(ge=1, le=5)]


class Judge(Config):
    """Who judges, and what is good enough."""

    teacher: str = JUDGE
    """Which of the teachers."""
    at_least: Annotated[int, Field(ge=1, le=5)] = 4
    """Items of a lower score are dropped as `judged_low`."""
    wordings: tuple[Wording, ...] = ()
    """Of your own; none takes the task's."""
    sampling: TeacherSampling = TeacherSampling(max_tokens=200)


class JudgedTask(ChainTask, ABC):
    """A chain whose items a judge may see at the end."""

    judge: Judge | None = None
    """Without one, the checks of the task alone decide."""

    @property
    @abstractmethod
    def own_steps(self) -> tuple[Step, ...]:
        """The steps before the judge."""

    @property
    @abstractmethod
    def judged(self) -> Wording:
        """What a judge is asked, if the config does not say."""

    @abstractmethod
    def read_own(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        """What the reply of an own step says."""

    @property
    def steps(self) -> tuple[Step, ...]:
        if self.judge is None:
            return self.own_steps
        return *self.own_steps, Step(
            name=JUDGE,
            teacher=self.judge.teacher,
            wordings=self.judge.wordings or (self.judged,),
            sampling=self.judge.sampling,
            reply_schema=schema_of(Mark),
        )

    def keeps(self, step: str, work: Work) -> bool:
        return step != JUDGE

    def read(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        if step.name != JUDGE or self.judge is None:
            return self.read_own(step, work, text, cut_off=cut_off)
        mark, repairs = read_json(text, Mark)
        if mark is None:
            return Reading(reason="judge_unparsed")
        reason = None if mark.score >= self.judge.at_least else "judged_low"
        return Reading({"score": str(mark.score)}, reason, tuple(f"judge_{name}" for name in repairs))
