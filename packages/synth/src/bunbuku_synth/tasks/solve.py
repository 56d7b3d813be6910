"""Solutions that a teacher reasons out, kept only where they are shown to be right.

Problems that programs pose have exact answers: a solution is right if it ends in that answer, a program if it passes the tests in the
sandbox. Problems that a teacher poses have none: several independent solutions must agree.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from bunbuku_synth.answers import ANSWER, same_answer
from bunbuku_synth.checkers import exact
from bunbuku_synth.item import WorseBy, dialogue
from bunbuku_synth.keys import key_of
from bunbuku_synth.replies import flaw, repair
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.arithmetic import LICENCE
from bunbuku_synth.tasks.chain import ChainTask, Finished, Reading, Start, Step, Wording, Work
from bunbuku_synth.tasks.code import Challenge, Code
from bunbuku_synth.tasks.family import Dice
from bunbuku_synth.tasks.logic import Logic
from bunbuku_synth.tasks.mathematics import Mathematics
from bunbuku_synth.tasks.teaching import TeacherSampling

_BLOCK = re.compile(r"```(?:python)?\s*\n(.*?)```", re.DOTALL)
_POSE = (
    "{{ topic }}の文章題を一つ作ってください。難しさは5段階の{{ level }}です。答えが一つの整数か分数に決まるようにし、"
    "答えや解き方は書かず、問題文だけを書いてください。"
)
_TRIED = 20
"""Numbers that are tried for each problem wanted: a draw of a puzzle may give none."""
TOPICS = ("割合", "速さ", "場合の数", "図形の面積", "方程式", "整数の性質", "確率", "数列", "平均", "暦と時刻")


class Solve(ChainTask):
    """Reason a problem out."""

    type: Literal["solve"] = "solve"
    problems: Literal["mathematics", "logic", "code", "posed"] = "mathematics"
    """Posed by a program and checked exactly, or posed by a teacher."""
    attempts: Annotated[int, Field(ge=1, le=16)] = 4
    """Independent solutions of one problem; the first that is right is kept."""
    agree: PositiveInt = 3
    """Of a teacher's problem, how many must come to the same answer."""
    topics: tuple[str, ...] = TOPICS
    poser: str = "teacher"
    teacher: str = "teacher"
    posing: TeacherSampling = TeacherSampling(temperature=1.0, top_p=0.95, max_tokens=300)
    sampling: TeacherSampling = TeacherSampling(temperature=0.7, top_p=0.95, max_tokens=1024)

    @property
    def steps(self) -> tuple[Step, ...]:
        pose = Step(name="pose", teacher=self.poser, wordings=(Wording(name="pose", ask=_POSE),), sampling=self.posing)
        solve = Wording(name="solve-code" if self.problems == "code" else "solve", ask=self._ask)
        solving = tuple(
            Step(name=f"solve{n}", teacher=self.teacher, wordings=(solve,), sampling=self.sampling)
            for n in range(1, self.attempts + 1)
        )
        return (pose, *solving) if self.problems == "posed" else solving

    @property
    def _ask(self) -> str:
        if self.problems == "code":
            return (
                "{{ question }}\n\n考え方を短く述べてから、Pythonのコードを一つの ```python ブロックに書いてください。"
            )
        return "{{ question }}\n\n順を追って考え、最後の行に「答え: 」に続けて答えだけを書いてください。"

    def after(self, step: Step) -> frozenset[str]:
        return frozenset({"pose"}) if step.name != "pose" else frozenset()

    def starts(self, library: Library, *, seed: int) -> Iterator[Start]:
        found = (self._start(number, seed) for number in range(_TRIED * self.count + _TRIED))
        return islice((start for start in found if start), self.count)

    def _start(self, number: int, seed: int) -> Start | None:
        key = key_of(task=self.type, problems=self.problems, number=number, seed=seed)
        dice, name = Dice(key.seed), f"{self.problems}/{number}"
        match self.problems:
            case "posed":
                words = {"topic": dice.one("topic", self.topics), "level": str(dice.number("level", 1, 5))}
                return Start(name, words, None, LICENCE)
            case "code":
                asked = self._challenge(number, seed).question.replace("コードだけを書いてください。", "")
                words = {"question": asked, "seed": str(seed)}
                return Start(name, words, None, LICENCE)
            case "mathematics":
                posed = Mathematics(count=1, shown=("bare",)).pose(dice, number)
            case "logic":
                posed = Logic(count=1).pose(dice, number)
        if posed is None:
            return None
        question = posed.question.removesuffix("\n答えだけを書いてください。")
        return Start(name, {"question": question, "right": posed.answer}, None, LICENCE)

    def _challenge(self, number: int, seed: int) -> Challenge:
        key = key_of(task=self.type, problems=self.problems, number=number, seed=seed)
        return Code(count=1).challenge(Dice(key.seed))

    def wants(self, step: Step, work: Work) -> bool:
        """Once one is right, no more are asked for; to agree, all are."""
        return self.problems == "posed" or "kept" not in work.words

    def keeps(self, step: str, work: Work) -> bool:
        return step in ("pose", work.words.get("kept_by"))

    def read(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        if step.name == "pose":
            repaired = repair(text, "ja", cut_off=cut_off)
            return Reading({"question": repaired.text}, flaw(repaired.text, "ja"), repaired.repairs)
        said = text.strip()
        words = {step.name: said}
        if self.problems == "code":
            right = self._runs(work, said)
        else:
            found = ANSWER.findall(said)
            answer = words[f"{step.name}.answer"] = found[-1] if found and not cut_off else ""
            right = self.problems != "posed" and bool(answer) and same_answer(work.words["right"], answer)
        return Reading({**words, **({"kept": said, "kept_by": step.name} if right else {})})

    def _runs(self, work: Work, said: str) -> bool:
        blocks = _BLOCK.findall(said)
        number = int(work.start.name.rpartition("/")[2])
        challenge = self._challenge(number, int(work.words["seed"]))
        return len(blocks) == 1 and challenge.passed_by(blocks[0], Code(count=1).limits)

    def finish(self, work: Work) -> Finished:
        words = work.words
        if self.problems == "posed":
            answers = {n: words.get(f"solve{n}.answer", "") for n in range(1, self.attempts + 1)}
            agreed = _largest_agreement(answers)
            if len(agreed) < self.agree:
                return Finished((), reason="no_agreement")
            words["kept_by"] = f"solve{agreed[0]}"
            words["kept"] = words[words["kept_by"]]
        if "kept" not in words:
            return Finished((), reason="none_right")
        reason = None if self.problems == "code" else flaw(words["kept"], "ja")
        return replace(Finished(dialogue(words["question"], words["kept"])), reason=reason, rivals=self.rivals(words))

    def rivals(self, words: Mapping[str, str]) -> dict[str, WorseBy]:
        """Steps whose solutions come to another answer than the one that was kept. Programs are none: that one fails may be the machine's."""
        by: WorseBy = "agreement" if self.problems == "posed" else "answer"
        answered = (step.name for step in self.steps if words.get(f"{step.name}.answer"))
        return {name: by for name in answered if exact(words["kept"], words[name]) == "wrong"}


def _largest_agreement(answers: Mapping[int, str]) -> list[int]:
    """Which solutions come to the answer that most come to; of two as large, that of the earlier one."""
    groups: list[list[int]] = []
    for n, answer in answers.items():
        if answer:
            group = next((group for group in groups if same_answer(answers[group[0]], answer)), None)
            if group is None:
                groups.append([n])
            else:
                group.append(n)
    return max(groups, key=len, default=[])
