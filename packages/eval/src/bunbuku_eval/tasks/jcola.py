"""JCoLA: whether a sentence is acceptable Japanese (Someya et al. 2023)."""

from typing import Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError

from bunbuku_eval.tasks.forms import Labelled
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field


class JCoLA(Labelled):
    type: Literal["jcola"] = "jcola"
    file: str = "in_domain_valid-v1.0.json"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="number",
            instruction="文が日本語として自然で文法に合っていれば 1、そうでなければ 0 とだけ出力してください。",
            input="文：{sentence}",
        ),
        Phrasing(name="terse", instruction="容認できる文なら 1、できない文なら 0。数字だけ。", input="{sentence}"),
    )
    max_tokens: int = 16

    category: ClassVar[Category] = "grammar"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/osekilab/JCoLA, jcola-v1.0"

    def question(self, row: dict[str, Any], place: str) -> Question:
        label = field(row, "label", place)
        if label not in ("0", "1"):
            raise BunbukuError(f"{place} has the label {label!r}, which is neither 0 nor 1")
        return Question(
            id=field(row, "uid", place),
            fields={"sentence": field(row, "sentence", place)},
            gold=(label,),
            choices=("0", "1"),
            meanings=("容認できない", "容認できる"),
        )
