"""Problems that grow harder while they are solved: pose, solve several times, judge in both orders, keep, pose a harder one.

In each round a teacher poses a problem, another (or the same) solves it several times, and a judge compares the best solution so far
with the next, each pair in both orders: only what it says of both counts, else the earlier one stays. The winner is kept if enough
solutions come to its answer. Then a harder problem of the kind is asked for, until the answers no longer agree, or the rounds are
over. A beginning becomes as many dialogues as it had such rounds.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bunbuku_synth.answers import ANSWER, same_answer
from bunbuku_synth.checkers import exact
from bunbuku_synth.item import Turn, WorseBy, dialogue
from bunbuku_synth.replies import flaw, repair
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.arithmetic import LICENCE
from bunbuku_synth.tasks.chain import ChainTask, Finished, Reading, Start, Step, Wording, Work
from bunbuku_synth.tasks.grid import cells
from bunbuku_synth.tasks.judging import COMPARE, JUDGE, parse_judgement
from bunbuku_synth.tasks.solve import TOPICS
from bunbuku_synth.tasks.teaching import TeacherSampling

_FIRST = (
    "{{ topic }}の文章題を一つ作ってください。{{ setting }}を題材にしてください。初めて習う人が少し考えれば解けるものにし、"
    "答えが一つの整数か分数に決まるようにしてください。答えや解き方は書かず、問題文だけを書いてください。"
)
_HARDER = (
    "次の問題は、うまく解けました。\n\n{{ before }}\n\nこれと同じ種類で、考える段階が一つ以上多い、より難しい問題を一つ作ってください。"
    "答えは一つの整数か分数に決まるようにしてください。答えや解き方は書かず、問題文だけを書いてください。"
)
_SOLVE = "{{ question }}\n\n順を追って考え、最後の行に「答え: 」に続けて答えだけを書いてください。"
SETTINGS = ("買い物", "旅行", "料理", "運動会", "図書館", "畑仕事", "工場", "通学", "祭り", "天気", "貯金", "工作")
_STEP = re.compile(r"(pose|solve|there|back)(\d+)(?:_(\d+))?")


class SelfReward(ChainTask):
    """Solve problems that grow harder as long as the solutions agree."""

    type: Literal["self_reward"] = "self_reward"
    rounds: Annotated[int, Field(ge=1, le=9)] = 4
    """Problems of one beginning, at most; each is harder than the one before. `count` is the number of beginnings."""
    attempts: Annotated[int, Field(ge=2, le=16)] = 4
    """Independent solutions of one problem."""
    agree: PositiveInt = 3
    """How many of them must come to the answer of the one that is kept."""
    topics: tuple[str, ...] = TOPICS
    settings: tuple[str, ...] = SETTINGS
    versions: PositiveInt = 100
    """Beginnings of one topic in one setting, at most."""
    poser: str = "teacher"
    teacher: str = "teacher"
    judge: str = JUDGE
    posing: TeacherSampling = TeacherSampling(temperature=1.0, top_p=0.95, max_tokens=400)
    sampling: TeacherSampling = TeacherSampling(temperature=0.7, top_p=0.95, max_tokens=1024)
    judging: TeacherSampling = TeacherSampling(max_tokens=400)
    comparing: Wording = Wording(name="compare", ask=COMPARE)
    """Variables: `question`, `a`, `b`."""

    @property
    def most(self) -> int:
        return self.count * self.rounds

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for number in range(1, self.rounds + 1) for step in self._round(number))

    def _round(self, number: int) -> Iterator[Step]:
        pose = Wording(name="pose", ask=_FIRST) if number == 1 else Wording(name="pose-harder", ask=_HARDER)
        yield Step(name=f"pose{number}", teacher=self.poser, wordings=(pose,), sampling=self.posing)
        solve = Wording(name="solve", ask=_SOLVE)
        for n in range(1, self.attempts + 1):
            yield Step(name=f"solve{number}_{n}", teacher=self.teacher, wordings=(solve,), sampling=self.sampling)
        for n in range(2, self.attempts + 1):
            for order in ("there", "back"):
                yield Step(
                    name=f"{order}{number}_{n}", teacher=self.judge, wordings=(self.comparing,), sampling=self.judging
                )

    def after(self, step: Step) -> frozenset[str]:
        names = [one.name for one in self.steps]
        return frozenset(names[: names.index(step.name)])

    def starts(self, library: Library, *, seed: int) -> Iterator[Start]:
        axes = {"topic": self.topics, "setting": self.settings, "version": tuple(map(str, range(self.versions)))}
        for cell in cells(axes, self.count, label=self.label, seed=seed):
            yield Start("/".join(cell.values()), cell, None, LICENCE)

    def wants(self, step: Step, work: Work) -> bool:
        """Nothing more once a round came to nothing; no comparison of what has no answer, or is the same text."""
        kind, number, n = _parsed(step)
        words = work.words
        if "ended" in words or (number > 1 and self.kept(words, number - 1) is None):
            return False
        if kind in ("pose", "solve"):
            return True
        best, other = self._best(words, number, before=n), f"solve{number}_{n}"
        return best is not None and bool(words[f"{other}.answer"]) and best != other and words[best] != words[other]

    def turns(self, step: Step, wording: Wording, work: Work) -> tuple[Turn, ...]:
        kind, number, n = _parsed(step)
        words: dict[str, str] = dict(work.words)
        if kind == "pose":
            return wording.turns({**words, "before": words.get(f"pose{number - 1}", "")})
        words["question"] = words[f"pose{number}"]
        if kind in ("there", "back"):
            pair = (words[str(self._best(words, number, before=n))], words[f"solve{number}_{n}"])
            words["a"], words["b"] = pair if kind == "there" else pair[::-1]
        return wording.turns(words)

    def read(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        kind, number, n = _parsed(step)
        if kind == "pose":
            return self._posed(step, work, text, cut_off=cut_off)
        if kind == "solve":
            said, found = text.strip(), ANSWER.findall(text)
            holds = found and not cut_off and flaw(said, "ja") is None
            return Reading({step.name: said, f"{step.name}.answer": found[-1] if holds else ""})
        side = parse_judgement(text) or ""
        if kind == "there":
            return Reading({step.name: side})
        there = work.words[f"there{number}_{n}"]
        note = "unparsed" if not (side and there) else "orders_disagree" if side == there else "orders_agree"
        return Reading({step.name: side}, notes=(note,))

    def finish(self, work: Work) -> Finished:
        return self.finish_all(work)[0]

    def finish_all(self, work: Work) -> Sequence[Finished]:
        """A dialogue for every round whose solutions agreed, and the reason why there is not one more."""
        words = work.words
        found: list[Finished] = []
        for number in range(1, self.rounds + 1):
            if (kept := self.kept(words, number)) is None:
                break
            steps = frozenset({f"pose{number}", kept})
            rivals = self.rivals(words, number, kept)
            said = dialogue(words[f"pose{number}"], words[kept])
            found.append(Finished(said, part=str(number), kept=steps, rivals=rivals))
        work.measures["rounds"] = len(found)
        if len(found) < self.rounds:
            reason = work.reason or words.get("ended") or "no_agreement"
            found.append(Finished(work.last, reason=reason, part="end"))
        return found

    def kept(self, words: Mapping[str, str], number: int) -> str | None:
        """The step whose solution of a round is kept; `None` if too few come to its answer."""
        best = self._best(words, number, before=self.attempts + 1)
        if best is None:
            return None
        answers = [words.get(f"solve{number}_{n}.answer", "") for n in range(1, self.attempts + 1)]
        alike = sum(bool(answer) and same_answer(words[f"{best}.answer"], answer) for answer in answers)
        return best if alike >= self.agree else None

    def rivals(self, words: Mapping[str, str], number: int, kept: str) -> dict[str, WorseBy]:
        """Steps whose solutions of a round come to another answer than the one that was kept, and what shows that they are worse."""
        found: dict[str, WorseBy] = {}
        for n in range(1, self.attempts + 1):
            name = f"solve{number}_{n}"
            if words.get(f"{name}.answer") and exact(words[kept], words[name]) == "wrong":
                found[name] = "judge" if self._lost(words, number, kept, n) else "agreement"
        return found

    def _lost(self, words: Mapping[str, str], number: int, kept: str, n: int) -> bool:
        """Whether a solution was compared with the one that was kept, which the judge preferred in both orders."""
        place = int(kept.rpartition("_")[2])
        if n < place:  # the kept one came later, and beat what was the best until then
            return self._best(words, number, before=place) == f"solve{number}_{n}"
        first = self._best(words, number, before=n) == kept
        return first and (words.get(f"there{number}_{n}"), words.get(f"back{number}_{n}")) == ("A", "B")

    def _best(self, words: Mapping[str, str], number: int, *, before: int) -> str | None:
        """The best of a round's solutions so far: the first with an answer, until another beats it in both orders."""
        best: str | None = None
        for n in range(1, before):
            name = f"solve{number}_{n}"
            if not words.get(f"{name}.answer"):
                continue
            beaten = words.get(f"there{number}_{n}") == "B" and words.get(f"back{number}_{n}") == "A"
            if best is None or beaten:
                best = name
        return best

    def _posed(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        repaired = repair(text, "ja", cut_off=cut_off)
        reason = flaw(repaired.text, "ja")
        if reason is None and repaired.text in work.words.values():
            reason = "poses_it_again"
        return Reading({step.name: repaired.text, **({"ended": reason} if reason else {})}, None, repaired.repairs)

    @model_validator(mode="after")
    def _can_agree(self) -> Self:
        if self.agree > self.attempts:
            raise ValueError(f"`agree` {self.agree} is more than `attempts` {self.attempts}")
        return self


def _parsed(step: Step) -> tuple[str, int, int]:
    """What a step does, in which round, and with which solution (0 if with none)."""
    match = _STEP.fullmatch(step.name)
    assert match, step.name
    return match[1], int(match[2]), int(match[3] or 0)
