"""MGSM in Japanese: sums of the primary school in words (Shi et al. 2022)."""

from typing import Any, ClassVar, Literal

from bunbuku_eval.tasks.forms import Numeric
from bunbuku_eval.tasks.task import Question, field


class MGSM(Numeric):
    type: Literal["mgsm"] = "mgsm"
    file: str = "mgsm_ja.tsv"

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
