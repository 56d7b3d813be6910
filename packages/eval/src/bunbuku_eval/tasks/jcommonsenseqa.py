"""JCommonsenseQA: a question of common sense with five answers (Kurihara et al. 2022, JGLUE)."""

from typing import Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError

from bunbuku_eval.tasks.forms import Labelled
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field


class JCommonsenseQA(Labelled):
    type: Literal["jcommonsenseqa"] = "jcommonsenseqa"
    file: str = "jcommonsenseqa-v1.3-valid.jsonl"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="number",
            instruction="質問に対する答えを選択肢から一つ選び、その番号だけを出力してください。ほかには何も書かないでください。",
            input="質問：{question}\n選択肢：{options}",
        ),
        Phrasing(
            name="polite",
            instruction="次の問題にふさわしい答えの番号を、半角数字一文字で教えてください。",
            input="{question}\n{list}",
        ),
        Phrasing(name="terse", instruction="番号で答えよ。", input="問 {question}\n{list}"),
    )
    max_tokens: int = 16

    category: ClassVar[Category] = "commonsense"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/yahoojapan/JGLUE, jcommonsenseqa-v1.3"

    def question(self, row: dict[str, Any], place: str) -> Question:
        choices = [field(row, f"choice{at}", place) for at in range(5)]
        label = field(row, "label", place)
        if label not in "01234" or len(label) != 1:
            raise BunbukuError(f"{place} has the label {label!r}, which is none of 0 to 4")
        return Question(
            id=field(row, "q_id", place),
            fields={
                "question": field(row, "question", place),
                "options": ",".join(f"{at}.{choice}" for at, choice in enumerate(choices)),
                "list": "\n".join(f"{at}. {choice}" for at, choice in enumerate(choices)),
            },
            gold=(label,),
            choices=tuple("01234"),
            meanings=tuple(choices),
        )
