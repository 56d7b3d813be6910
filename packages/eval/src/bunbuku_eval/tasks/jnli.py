"""JNLI: whether one sentence follows from another (Kurihara et al. 2022, JGLUE)."""

from typing import Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError

from bunbuku_eval.tasks.forms import Labelled
from bunbuku_eval.tasks.task import Category, Phrasing, Question, field

LABELS = ("entailment", "contradiction", "neutral")


class JNLI(Labelled):
    type: Literal["jnli"] = "jnli"
    file: str = "jnli-v1.3-valid.json"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="rules",
            instruction=(
                "前提と仮説の関係を entailment、contradiction、neutral のどれか一語で答えてください。前提から仮説が言えるなら "
                "entailment、両立しないなら contradiction、どちらでもないなら neutral です。ほかには何も書かないでください。"
            ),
            input="前提：{premise}\n仮説：{hypothesis}",
        ),
        Phrasing(
            name="question",
            instruction="「一つ目の文」が正しいとき、「二つ目の文」は entailment、contradiction、neutral のどれですか。一語で答えてください。",
            input="一つ目の文：{premise}\n二つ目の文：{hypothesis}",
        ),
        Phrasing(
            name="terse",
            instruction="entailment / contradiction / neutral で判定。",
            input="{premise}\n→ {hypothesis}",
        ),
    )
    max_tokens: int = 16

    category: ClassVar[Category] = "entailment"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    origin: ClassVar[str] = "github.com/yahoojapan/JGLUE, jnli-v1.3"
    synonyms: ClassVar[dict[str, tuple[str, ...]]] = {
        "entailment": ("含意",),
        "contradiction": ("矛盾",),
        "neutral": ("中立",),
    }

    def question(self, row: dict[str, Any], place: str) -> Question:
        label = field(row, "label", place)
        if label not in LABELS:
            raise BunbukuError(f"{place} has the label {label!r}, which is none of {', '.join(LABELS)}")
        return Question(
            id=field(row, "sentence_pair_id", place),
            fields={"premise": field(row, "sentence1", place), "hypothesis": field(row, "sentence2", place)},
            gold=(label,),
            choices=LABELS,
        )
