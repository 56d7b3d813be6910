"""Textbooks from a curriculum: a goal, an outline, chapters, and exercises with solutions.

Books come round by round: every goal gets its first before any gets its second, in another setting each time. An item's source is
`goal:<subject>/<id>`, from which the stage `survey` counts which goals have how many distinct texts, and what is missing.
"""

import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from bunbuku_contracts import Config
from bunbuku_inference import read_json, schema_of
from pydantic import BaseModel, Field, PositiveInt

from bunbuku_synth.item import dialogue
from bunbuku_synth.replies import flaw, repair
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.arithmetic import LICENCE
from bunbuku_synth.tasks.chain import Finished, Reading, Start, Step, Wording, Work
from bunbuku_synth.tasks.judging import SCALE, JudgedTask
from bunbuku_synth.tasks.teaching import TeacherSampling

_SETTINGS = (
    "初めて学ぶ人に、身近な例から説き起こす",
    "一度つまずいた人に、間違えやすい点を中心に説く",
    "もっと知りたい人に、背景や歴史まで広げて説く",
    "教える立場の人に、説明の仕方と生徒の反応を交えて説く",
    "仕事や暮らしで使う人に、実際の場面に沿って説く",
)
_CURRICULUM = Path(__file__).parents[1] / "curriculum.toml"


class Goal(Config):
    """What a learner can do afterwards."""

    subject: str
    id: str
    says: str


def read_curriculum(path: Path) -> tuple[Goal, ...]:
    """The goals of a TOML file: a table a subject, in it `id = "what a learner can do"` (a Japanese name in quotation marks).

    >>> len({goal.subject for goal in read_curriculum(_CURRICULUM)})
    8
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Goal(subject=subject, id=id, says=says) for subject, goals in table.items() for id, says in goals.items()
    )


class Outline(BaseModel):
    """A teacher's plan of a book."""

    chapters: Annotated[list[str], Field(min_length=2, max_length=12)]


class Exercise(BaseModel):
    """A question and its solution."""

    question: str
    answer: str


class Exercises(BaseModel):
    """The end of a book."""

    exercises: Annotated[list[Exercise], Field(min_length=1)]


class Textbook(JudgedTask):
    """Write a small textbook for a learning goal."""

    asks_again: ClassVar[bool] = True
    type: Literal["textbook"] = "textbook"
    goals: Annotated[tuple[Goal, ...], Field(min_length=1)] = Field(
        default_factory=lambda: read_curriculum(_CURRICULUM)
    )
    """A curriculum; without one, that of school subjects in this package."""
    max_chapters: Annotated[int, Field(ge=2, le=12)] = 5
    books_per_goal: PositiveInt = 1000
    """At most."""
    teacher: str = "teacher"
    planning: TeacherSampling = TeacherSampling(temperature=0.9, top_p=0.95, max_tokens=400)
    sampling: TeacherSampling = TeacherSampling(temperature=0.7, top_p=0.95, max_tokens=1500)

    @property
    def own_steps(self) -> tuple[Step, ...]:
        about = "科目: {{ subject }}\n学習の目標: {{ says }}\n書き方: {{ setting }}\n\n"
        outline = Wording(
            name="outline",
            ask=f"{about}この目標のための短い教科書の章立てを、{self.max_chapters}章以内で考え、"
            '次の形のJSONだけを書いてください。\n{"chapters": ["章の題", "章の題"]}',
        )
        chapter = Wording(
            name="chapter",
            ask=about + "章立て: {{ outline }}\n\n{% if book %}これまでの章:\n{{ book }}\n\n{% endif %}"
            "「{{ title }}」の章の本文を書いてください。前の章を繰り返さず、例を必ず入れてください。本文だけを書いてください。",
        )
        exercises = Wording(
            name="exercises",
            ask=about
            + "{{ book }}\n\nこの教科書の練習問題を3問、解答と解説を付けて作り、次の形のJSONだけを書いてください。\n"
            '{"exercises": [{"question": "問題", "answer": "解答と解説"}]}',
        )
        steps = [self._step("outline", outline, self.planning, schema_of(Outline))]
        steps += [self._step(f"chapter{n}", chapter, self.sampling) for n in range(1, self.max_chapters + 1)]
        return *steps, self._step("exercises", exercises, self.sampling, schema_of(Exercises))

    def _step(self, name: str, wording: Wording, sampling: TeacherSampling, schema: str | None = None) -> Step:
        return Step(name=name, teacher=self.teacher, wordings=(wording,), sampling=sampling, reply_schema=schema)

    @property
    def judged(self) -> Wording:
        return Wording(
            name="textbook-sound",
            ask="次の教材は、目標「{{ says }}」に沿い、内容が正しく、順序立っていますか。練習問題の解答は正しいですか。\n\n{{ book }}\n"
            + SCALE,
        )

    def after(self, step: Step) -> frozenset[str]:
        names = [one.name for one in self.own_steps]
        return frozenset(names[: names.index(step.name)] if step.name in names else names)

    def starts(self, library: Library, *, seed: int) -> Iterator[Start]:
        return islice(self._all(), self.count)

    def _all(self) -> Iterator[Start]:
        for edition in range(self.books_per_goal):
            for goal in self.goals:
                name = f"goal:{goal.subject}/{goal.id}"
                setting = _SETTINGS[edition % len(_SETTINGS)]
                words = {"subject": goal.subject, "says": goal.says, "setting": setting, "book": "", "title": ""}
                yield Start(f"{name}#{edition}", words, name, LICENCE)

    def wants(self, step: Step, work: Work) -> bool:
        return not step.name.startswith("chapter") or int(step.name[7:]) <= int(work.words.get("chapters", "0"))

    def read_own(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        match step.name:
            case "outline":
                return self._outline(text)
            case "exercises":
                return _exercises(text, work)
        repaired = repair(text, "ja", cut_off=cut_off)
        titles = work.words["outline"].split(" / ")
        number = int(step.name[7:])
        book = f"{work.words['book']}## {titles[number - 1]}\n\n{repaired.text}\n\n"
        title = titles[number] if number < len(titles) else ""
        return Reading({"book": book, "title": title}, flaw(repaired.text, "ja"), repaired.repairs)

    def _outline(self, text: str) -> Reading:
        plan, repairs = read_json(text, Outline)
        if plan is None:
            return Reading(reason="outline_unparsed")
        titles = [title.replace("/", "・").strip() for title in plan.chapters[: self.max_chapters]]
        if len(set(titles)) < len(titles):
            return Reading(reason="chapters_repeat")
        words = {"outline": " / ".join(titles), "chapters": str(len(titles)), "title": titles[0]}
        return Reading(words, None, tuple(f"outline_{name}" for name in repairs))

    def finish(self, work: Work) -> Finished:
        words = work.words
        asked = f"{words['subject']}の教材を書いてください。目標は「{words['says']}」です。{words['setting']}ようにし、最後に練習問題と解答を付けてください。"
        return Finished(dialogue(asked, words["book"].strip()))


def _exercises(text: str, work: Work) -> Reading:
    found, repairs = read_json(text, Exercises)
    if found is None:
        return Reading(reason="exercises_unparsed")
    lines = [f"問{n}. {one.question}\n解答: {one.answer}" for n, one in enumerate(found.exercises, start=1)]
    said = "\n\n".join(lines)
    book = f"{work.words['book']}## 練習問題\n\n{said}\n"
    return Reading({"book": book}, flaw(said, "ja"), tuple(f"exercises_{name}" for name in repairs))
