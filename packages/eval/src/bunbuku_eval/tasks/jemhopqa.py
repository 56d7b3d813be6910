"""JEMHopQA: a question that takes two steps of knowledge (Ishii et al. 2023)."""

from typing import Any, ClassVar, Literal

from bunbuku_eval.tasks.forms import ShortAnswer
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field


class JEMHopQA(ShortAnswer):
    type: Literal["jemhopqa"] = "jemhopqa"
    file: str = "dev_ver1.2.json"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(name="plain", instruction="質問の答えだけを書いてください。", input="質問：{question}"),
        Phrasing(
            name="polite",
            instruction="次の質問に、説明を付けずに答えの語句のみで答えてください。はい・いいえの質問には YES か NO で答えてください。",
            input="{question}",
        ),
    )
    max_tokens: int = 48

    category: ClassVar[Category] = "knowledge"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/aiishii/JEMHopQA, corpus_ver1.2"

    def question(self, row: dict[str, Any], place: str) -> Question:
        return Question(
            id=field(row, "qid", place),
            fields={"question": field(row, "question", place)},
            gold=(field(row, "answer", place),),
            category=str(row.get("type") or ""),
        )
