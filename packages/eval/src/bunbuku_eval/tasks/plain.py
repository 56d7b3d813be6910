"""A task of one's own without a class: questions and answers in a file, and how they are compared."""

from typing import Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError
from pydantic import Field

from bunbuku_eval.degenerate import foreign
from bunbuku_eval.metrics import char_f1, exact_match, normalized, sentence_bleu, set_f1
from bunbuku_eval.tasks.forms import Labelled
from bunbuku_eval.tasks.task import Category, Metric, Phrasing, Question, field


class Questions(Labelled):
    """Rows with `id`, `question`, `answer` (one, or a list) and, where there is a fixed number of them, `choices`."""

    type: Literal["questions"] = "questions"
    name: str = Field(pattern=r"^[\w-]+$")
    compare: Literal["exact_match", "char_f1", "set_f1", "bleu"] = "exact_match"
    """How an answer is held against the right one; of several right ones the nearest counts."""
    tokenize: Literal["char", "13a", "ja-mecab"] = "char"
    """How sacrebleu cuts words, for `bleu`."""
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(name="plain", instruction="質問に答えてください。", input="{question}"),
    )
    max_tokens: int = 64
    terms: str = Field(min_length=1)
    """The licence of the data."""

    answers_in: Literal["japanese", "any"] = "japanese"
    """`any` where an answer in another language may be right."""

    category: ClassVar[Category] = "other"
    licence: ClassVar[str] = "as stated in `terms`"
    origin: ClassVar[str] = "a file of one's own"

    @property
    def measured_by(self) -> Metric:
        return self.compare

    @property
    def cut_by(self) -> str:
        return self.tokenize

    def expects_japanese(self, question: Question) -> bool:
        return self.answers_in == "japanese" and not any(foreign(one) for one in question.gold)

    def question(self, row: dict[str, Any], place: str) -> Question:
        answer, choices = row.get("answer"), row.get("choices") or ()
        gold = tuple(str(one) for one in answer) if isinstance(answer, list) else (field(row, "answer", place),)
        if choices and not {normalized(one) for one in gold} <= {normalized(str(one)) for one in choices}:
            raise BunbukuError(f"{place} has the answer {answer!r}, which is none of its choices {choices!r}")
        return Question(
            id=field(row, "id", place),
            fields={"question": field(row, "question", place)},
            gold=gold,
            choices=tuple(str(one) for one in choices),
            category=str(row.get("category") or ""),
        )

    def well_formed(self, text: str, question: Question) -> bool:
        return super().well_formed(text, question) if question.choices else bool(normalized(text))

    def understood(self, text: str, question: Question) -> str | None:
        return super().understood(text, question) if question.choices else normalized(text) or None

    def score(self, answer: str, question: Question) -> float:
        def one(gold: str) -> float:
            match self.compare:
                case "exact_match":
                    return exact_match(answer, gold)
                case "char_f1":
                    return char_f1(answer, gold)
                case "set_f1":
                    return set_f1(answer, gold)
                case "bleu":
                    return sentence_bleu(answer, gold, tokenize=self.tokenize) / 100

        return max(one(gold) for gold in question.gold)
