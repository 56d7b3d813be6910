"""MAWPS in Japanese: sums in a sentence or two (Koncel-Kedziorski et al. 2016, translated at Waseda University)."""

from typing import Any, ClassVar, Literal

from bunbuku_eval.tasks.forms import Numeric
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field


class MAWPS(Numeric):
    type: Literal["mawps"] = "mawps"
    file: str = "mawps_test.json"
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
    licence: ClassVar[str] = "Apache-2.0"
    origin: ClassVar[str] = "github.com/nlp-waseda/chain-of-thought-ja-dataset, mawps"

    def question(self, row: dict[str, Any], place: str) -> Question:
        question = field(row, "question", place).removeprefix("問題：").removesuffix("\n解答：")
        return Question(id=field(row, "idx", place), fields={"question": question}, gold=(field(row, "answer", place),))
