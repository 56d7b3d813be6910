"""NIILC-QA: questions as one would put them to an encyclopaedia (Sekine 2003)."""

from typing import Any, ClassVar, Literal

from bunbuku_eval.tasks.forms import ShortAnswer
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field


class NIILC(ShortAnswer):
    type: Literal["niilc"] = "niilc"
    file: str = "NIILC-ECQA2015_test.xml"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(name="plain", instruction="質問の答えだけを書いてください。", input="質問：{question}"),
        Phrasing(
            name="polite", instruction="次の質問に、説明を付けずに答えの語句のみで答えてください。", input="{question}"
        ),
    )
    max_tokens: int = 48

    category: ClassVar[Category] = "knowledge"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/mynlp/niilc-qa, NIILC-ECQA2015"
    one_gold_in_parity: ClassVar[bool] = True

    def question(self, row: dict[str, Any], place: str) -> Question:
        answers = row.get("answers") or ()
        return Question(
            id=field(row, "id", place),
            fields={"question": field(row, "text", place)},
            gold=tuple(one for one in ([answers] if isinstance(answers, str) else answers) if one),
        )
