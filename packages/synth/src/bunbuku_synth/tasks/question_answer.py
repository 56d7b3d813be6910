"""Questions about a passage with their answers, as a teacher writes them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bunbuku_synth.item import Turn
from bunbuku_synth.replies import Exchange, exchange_flaw, exchanges, flaw, repair
from bunbuku_synth.tasks.teaching import Asked, Example, TeacherTask, TeacherTemplate, Written
from bunbuku_synth.templates import check_variables


class QuestionAnswerTemplate(TeacherTemplate):
    """Variables of the first turn: `passage`, `question`; later turns are the bare question. `answer` is the teacher's."""


TEMPLATES = (
    QuestionAnswerTemplate(
        name="ja-read",
        language="ja",
        ask="次の文章を読んで、文章の中に答えがある質問と、その答えを二組作ってください。\n"
        "「質問:」「答え:」で始まる行だけを書いてください。\n\n{{ passage }}",
        user="次の文章を読んで、質問に答えてください。\n\n{{ passage }}\n\n{{ question }}",
    ),
    QuestionAnswerTemplate(
        name="en-read",
        language="en",
        ask="{{ passage }}\nWrite a question about this, and its answer.",
        examples=(
            Example(
                passage="The old man planted a tall tree behind the school.",
                reply="Question: Where did the old man plant a tall tree?\nAnswer: Behind the school.",
            ),
            Example(
                passage="My sister left for London by train on Monday.",
                reply="Question: How did my sister go to London?\nAnswer: By train.",
            ),
            Example(
                passage="We could not play tennis because it was raining.",
                reply="Question: Why could we not play tennis?\nAnswer: Because it was raining.",
            ),
            Example(
                passage="Ken bought a new bicycle for his little brother.",
                reply="Question: Who bought a new bicycle?\nAnswer: Ken.",
            ),
        ),
        user="{{ passage }}\n\n{{ question }}",
    ),
)


class QuestionAnswer(TeacherTask):
    """Answer questions about a passage."""

    type: Literal["question_answer"] = "question_answer"
    max_turns: Annotated[int, Field(ge=1, le=4)] = 2
    """Most questions of one dialogue; what a teacher writes beyond them is left out."""
    templates: Annotated[tuple[QuestionAnswerTemplate, ...], Field(min_length=1)] = TEMPLATES

    @property
    def wordings(self) -> tuple[TeacherTemplate, ...]:
        return self.templates

    def written(self, asked: Asked, text: str, *, cut_off: bool) -> Written:
        """A dialogue of those exchanges that hold; turned down for the first flaw if none does."""
        found = exchanges(text)
        if not found:
            return Written((), "unparsed")
        mended = [self._mended(exchange, cut_off=cut_off and exchange is found[-1]) for exchange in found]
        flaws = [self._flaw(asked.passage.text, exchange) for exchange, _ in mended]
        good = [entry for entry, reason in zip(mended, flaws, strict=True) if reason is None][: self.max_turns]
        if not good:
            return Written((), flaws[0])
        repairs = [name for _, names in good for name in names] + ["exchange_left_out"] * (len(good) < len(found))
        return Written(self._dialogue(asked, [exchange for exchange, _ in good]), None, tuple(dict.fromkeys(repairs)))

    def _mended(self, exchange: Exchange, *, cut_off: bool) -> tuple[Exchange, tuple[str, ...]]:
        question = repair(exchange.question, self.language, cut_off=False)
        answer = repair(exchange.answer, self.language, cut_off=cut_off)
        return Exchange(question.text, answer.text), question.repairs + answer.repairs

    def _flaw(self, passage: str, exchange: Exchange) -> str | None:
        if reason := flaw(exchange.question, self.language) or flaw(exchange.answer, self.language):
            return reason
        return exchange_flaw(passage, exchange)

    def _dialogue(self, asked: Asked, exchanges: list[Exchange]) -> tuple[Turn, ...]:
        turns: list[Turn] = []
        for exchange in exchanges:
            words = {"passage": asked.passage.text, "question": exchange.question, "answer": exchange.answer}
            user = exchange.question if turns else asked.template.render_user(**words)
            turns += [Turn("user", user), Turn("assistant", asked.template.render_assistant(**words))]
        return tuple(turns)

    @model_validator(mode="after")
    def _templates_fit(self) -> Self:
        check_variables(self.templates, frozenset({"passage", "question", "answer"}))
        return self
