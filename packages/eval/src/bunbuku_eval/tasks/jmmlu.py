"""JMMLU: examination questions of many subjects with four answers each (Waseda University 2024), a file a subject."""

from typing import Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError

from bunbuku_eval.tasks.forms import Labelled
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field

LETTERS = "ABCD"


class JMMLU(Labelled):
    type: Literal["jmmlu"] = "jmmlu"
    file: str = "JMMLU/high_school_biology.csv"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="letter",
            instruction="問題の答えを A、B、C、D から一つ選び、その一文字だけを出力してください。",
            input="問題：{question}\n{list}",
        ),
        Phrasing(
            name="polite",
            instruction="次の試験問題の正しい選択肢を、記号一文字で教えてください。ほかには何も書かないでください。",
            input="{question}\n選択肢：{options}",
        ),
        Phrasing(name="terse", instruction="記号で答えよ。", input="問 {question}\n{list}"),
    )
    max_tokens: int = 16

    category: ClassVar[Category] = "knowledge"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/nlp-waseda/JMMLU"
    columns: ClassVar[tuple[str, ...]] = ("question", *LETTERS, "answer")

    def question(self, row: dict[str, Any], place: str) -> Question:
        choices = [field(row, letter, place).strip() for letter in LETTERS]
        label = field(row, "answer", place).strip()
        if label not in LETTERS or len(label) != 1:
            raise BunbukuError(f"{place} has the answer {label!r}, which is none of A to D")
        return Question(
            # The files have no ids: the place in the file is one.
            id=place.removeprefix("item ").partition(" ")[0],
            fields={
                "question": field(row, "question", place).strip(),
                "list": "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True)),
                "options": ",".join(f"{letter}.{choice}" for letter, choice in zip(LETTERS, choices, strict=True)),
            },
            gold=(label,),
            choices=tuple(LETTERS),
            meanings=tuple(choices),
        )
