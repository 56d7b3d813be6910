"""MGSM in Japanese: sums of the primary school in words (Shi et al. 2022)."""

from typing import Any, ClassVar, Literal

from bunbuku_eval.tasks.forms import Numeric
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field


class MGSM(Numeric):
    type: Literal["mgsm"] = "mgsm"
    file: str = "mgsm_ja.tsv"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="number",
            instruction="問題の答えとなる数だけを、単位を付けずに出力してください。",
            input="問題：{question}",
        ),
        Phrasing(name="terse", instruction="答えの数だけを書け。", input="{question}"),
    )
    max_tokens: int = 24

    category: ClassVar[Category] = "arithmetic"
    licence: ClassVar[str] = "CC-BY-4.0"
    origin: ClassVar[str] = "github.com/google-research/url-nlp, mgsm"
    columns: ClassVar[tuple[str, ...]] = ("question", "answer")

    def question(self, row: dict[str, Any], place: str) -> Question:
        return Question(
            # The file has no ids: the place in the file is one.
            id=place.removeprefix("item ").partition(" ")[0],
            fields={"question": field(row, "question", place)},
            gold=(field(row, "answer", place),),
        )
