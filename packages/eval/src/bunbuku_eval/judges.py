"""Who judges and how: the config of `judge`, and the prompts that it has without others."""

from typing import Literal

from bunbuku_contracts import Config
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bunbuku_eval.judging import Case

SINGLE = """次の質問への回答を、正確さ、有用さ、質問との関わり、日本語の自然さの点から、公平に評価してください。
参考となる回答や採点の観点があれば、それに照らして評価してください。会話の続きであれば、最後の回答だけを評価してください。
まず理由を短く述べ、最後の行に必ず「評価：[[n]]」の形で、{low}から{high}までの数nを書いてください。

{history}[質問]
{question}

{reference}{criteria}[回答]
{answer}"""
PAIR = """次の質問に二つの回答があります。どちらがよいかを、正確さ、有用さ、日本語の自然さから公平に判断してください。
回答の順序や長さに左右されないでください。まず理由を短く述べ、最後の行に必ず、
Aがよければ [[A]]、Bがよければ [[B]]、同じくらいなら [[C]] と書いてください。

[質問]
{question}

{reference}{criteria}[回答A]
{answer_a}

[回答B]
{answer_b}"""

REMINDER = {
    "single": "最後の行に「評価：[[n]]」の形で、{low}から{high}までの数nだけを書いてください。",
    "pair": "Aがよければ [[A]]、Bがよければ [[B]]、同じくらいなら [[C]] とだけ書いてください。",
}


class JudgeConfig(Config):
    judge: str = Field(min_length=1)
    """Who judges: the name that the engine's server knows it by, or what its weights are to be called."""
    kind: Literal["single", "pair"] = "single"
    """Rate each answer, or set the answers of every two models against each other, in both orders."""
    single_prompt: str = SINGLE
    pair_prompt: str = PAIR
    """`{question}`, `{answer}`, `{answer_a}` and `{answer_b}` are filled in, `{low}` and `{high}` with the scale;
    `{history}`, `{reference}` and `{criteria}` with their headings, where a question has some."""
    prompts: dict[str, str] = Field(default={})
    """Another prompt of this kind for a category (`math`), or a task (`elyza_tasks_100`)."""
    reminder: str = ""
    """What is said to a judge at temperature 0 whose verdict cannot be read; one of ours, without it."""
    low: float = 1
    high: float = 10
    samples: PositiveInt = 1
    """Judgements of the same thing; more than one needs a temperature above 0."""
    attempts: PositiveInt = 3
    """How often a judgement that cannot be read, or did not come, is asked for, in all: with another seed, or at temperature 0
    with a reminder of the form."""
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: PositiveInt = 1024
    questions: PositiveInt = 1000
    """At most so many questions, in the order of their ids."""
    seed: NonNegativeInt = 0
    """Of the bootstrap."""
    page_rows: PositiveInt = 5000
    """Judgements that the page of items holds, at most; `judgements.parquet` has all."""

    @property
    def template(self) -> str:
        return self._scaled(self.pair_prompt if self.kind == "pair" else self.single_prompt)

    def template_of(self, case: Case) -> str:
        """The prompt for a case: that of its category, of its task, or the one for all."""
        for name in (case.category, case.first.task):
            if name in self.prompts:
                return self._scaled(self.prompts[name])
        return self.template

    @property
    def reminded(self) -> str:
        return self._scaled(self.reminder or REMINDER[self.kind])

    def _scaled(self, text: str) -> str:
        return text.replace("{low}", f"{self.low:g}").replace("{high}", f"{self.high:g}")

    @model_validator(mode="after")
    def _fits(self) -> "JudgeConfig":
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"`samples` {self.samples} would all be the same at temperature 0")
        wanted = ("{question}", "{answer}") if self.kind == "single" else ("{question}", "{answer_a}", "{answer_b}")
        for name, prompt in (("", self.template), *self.prompts.items()):
            if missing := [one for one in wanted if one not in prompt]:
                what = f"the prompt for {name!r}" if name else f"the prompt for kind {self.kind!r}"
                raise ValueError(f"{what} has no {', '.join(missing)}")
        return self
