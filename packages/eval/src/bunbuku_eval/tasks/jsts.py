"""JSTS: how like in meaning two sentences are, 0 to 5 (Kurihara et al. 2022, JGLUE)."""

from typing import Any, ClassVar, Literal

from bunbuku_eval.tasks.forms import Graded
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field


class JSTS(Graded):
    type: Literal["jsts"] = "jsts"
    file: str = "jsts-v1.3-valid.json"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="scale",
            instruction="二つの文の意味の近さを 0（まったく違う）から 5（同じ）までの数で表し、その数だけを書いてください。小数も使えます。",
            input="文1：{first}\n文2：{second}",
        ),
        Phrasing(
            name="polite",
            instruction="次の二文はどのくらい似た意味ですか。0.0 から 5.0 の数値一つで教えてください。",
            input="{first}\n{second}",
        ),
    )
    max_tokens: int = 16

    category: ClassVar[Category] = "similarity"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/yahoojapan/JGLUE, jsts-v1.3"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 5.0

    def question(self, row: dict[str, Any], place: str) -> Question:
        return Question(
            id=field(row, "sentence_pair_id", place),
            fields={"first": field(row, "sentence1", place), "second": field(row, "sentence2", place)},
            gold=(field(row, "label", place),),
        )
