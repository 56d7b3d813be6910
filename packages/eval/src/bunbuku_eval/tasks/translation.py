"""Translation between Japanese and English, scored by BLEU of the whole set, a direction a task."""

from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from bunbuku_eval.degenerate import foreign
from bunbuku_eval.metrics import normalized, sentence_bleu
from bunbuku_eval.tasks.forms import unwrapped
from bunbuku_eval.tasks.task import Category, Metric, Phrasing, Question, Task, field

_INTO_ENGLISH = (
    Phrasing(name="plain", instruction="次の日本語を英語に翻訳し、訳文だけを書いてください。", input="{source}"),
    Phrasing(name="terse", instruction="英訳せよ。", input="{source}"),
)
_INTO_JAPANESE = (
    Phrasing(name="plain", instruction="次の英語を日本語に翻訳し、訳文だけを書いてください。", input="{source}"),
    Phrasing(name="terse", instruction="和訳せよ。", input="{source}"),
)


class _Translation(Task):
    """Rows with `id`, `ja` and `en`. BLEU is sacrebleu's, as llm-jp-eval cuts words: MeCab for Japanese, 13a for English."""

    file: str = Field(min_length=1)
    max_tokens: PositiveInt = 256
    terms: str = Field(min_length=1)
    """The licence of the data."""

    category: ClassVar[Category] = "translation"
    metric: ClassVar[Metric] = "bleu"
    licence: ClassVar[str] = "as stated in `terms`"
    origin: ClassVar[str] = "a file of sentence pairs"
    source: ClassVar[Literal["ja", "en"]]
    target: ClassVar[Literal["ja", "en"]]

    @property
    def cut_by(self) -> str:
        return "ja-mecab" if self.target == "ja" else "13a"

    def question(self, row: dict[str, Any], place: str) -> Question:
        return Question(
            id=field(row, "id", place),
            fields={"source": field(row, self.source, place)},
            gold=(field(row, self.target, place),),
        )

    def expects_japanese(self, question: Question) -> bool:
        return self.target == "ja"

    def well_formed(self, text: str, question: Question) -> bool:
        """One line in the right language, and nothing around it."""
        text = normalized(text)
        return len(text) > 0 and "\n" not in text and unwrapped(text) == text and self._right_language(text)

    def understood(self, text: str, question: Question) -> str | None:
        said = unwrapped(normalized(text))
        return said if said and self._right_language(said) else None

    def score(self, answer: str, question: Question) -> float:
        """BLEU of the one sentence, for the log of items; the task's number is that of the set."""
        return max(sentence_bleu(answer, gold, tokenize=self.cut_by) for gold in question.gold) / 100

    def _right_language(self, text: str) -> bool:
        return not foreign(text) if self.target == "ja" else not _mostly_japanese(text)


class IntoEnglish(_Translation):
    type: Literal["into_english"] = "into_english"
    phrasings: tuple[Phrasing, ...] = _INTO_ENGLISH
    source: ClassVar[Literal["ja", "en"]] = "ja"
    target: ClassVar[Literal["ja", "en"]] = "en"


class IntoJapanese(_Translation):
    type: Literal["into_japanese"] = "into_japanese"
    phrasings: tuple[Phrasing, ...] = _INTO_JAPANESE
    source: ClassVar[Literal["ja", "en"]] = "en"
    target: ClassVar[Literal["ja", "en"]] = "ja"


def _mostly_japanese(text: str) -> bool:
    letters = [one for one in text if one.isalpha()]
    return sum(not one.isascii() for one in letters) > len(letters) / 2
