"""MAWPS in Japanese: sums in a sentence or two (Koncel-Kedziorski et al. 2016, translated at Waseda University)."""

from typing import Any, ClassVar, Literal

from bunbuku_eval.tasks.forms import Numeric
from bunbuku_eval.tasks.task import Question, field


class MAWPS(Numeric):
    type: Literal["mawps"] = "mawps"
    file: str = "mawps_test.json"

    licence: ClassVar[str] = "Apache-2.0"
    origin: ClassVar[str] = "github.com/nlp-waseda/chain-of-thought-ja-dataset, mawps"

    def question(self, row: dict[str, Any], place: str) -> Question:
        question = field(row, "question", place).removeprefix("問題：").removesuffix("\n解答：")
        return Question(id=field(row, "idx", place), fields={"question": question}, gold=(field(row, "answer", place),))
