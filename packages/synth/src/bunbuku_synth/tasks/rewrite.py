"""A passage in other words, as a teacher puts it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bunbuku_synth.item import dialogue
from bunbuku_synth.replies import flaw, repair, rewriting_flaw
from bunbuku_synth.tasks.teaching import Asked, Example, TeacherTask, TeacherTemplate, Written
from bunbuku_synth.templates import check_variables


class RewriteTemplate(TeacherTemplate):
    """Variables of the dialogue: `passage`, and `reply` in the assistant's turn; of `ask`: `passage`."""

    assistant: str = "{{ reply }}"


TEMPLATES = (
    RewriteTemplate(
        name="ja-textbook",
        language="ja",
        ask="次の文章を、教科書のような分かりやすい文体で書き直してください。内容は変えず、書き直した文章だけを書いてください。\n\n{{ passage }}",
        user="次の文章を教科書のように分かりやすく書き直してください。\n\n{{ passage }}",
    ),
    RewriteTemplate(
        name="ja-spoken",
        language="ja",
        ask="次の文章を、友達に話すような言葉で書き直してください。内容は変えず、書き直した文章だけを書いてください。\n\n{{ passage }}",
        user="次の内容を、友達に話すように言い換えてください。\n\n{{ passage }}",
    ),
    RewriteTemplate(
        name="en-other-words",
        language="en",
        system="You paraphrase sentences. You never repeat the user's words.",
        ask="Paraphrase: {{ passage }}",
        examples=(
            Example(
                passage="The boy was so tired that he went home at once.",
                reply="Because he was exhausted, the boy returned to his house right away.",
            ),
            Example(
                passage="It is hard to learn a foreign language in a month.",
                reply="Nobody can easily master another language within a few weeks.",
            ),
            Example(
                passage="There are many interesting animals in the zoo.",
                reply="At the zoo you can see a lot of fascinating creatures.",
            ),
        ),
        user="Say this in other words: {{ passage }}",
    ),
)


class Rewrite(TeacherTask):
    """Write a passage again in other words."""

    type: Literal["rewrite"] = "rewrite"
    templates: Annotated[tuple[RewriteTemplate, ...], Field(min_length=1)] = TEMPLATES

    @property
    def wordings(self) -> tuple[TeacherTemplate, ...]:
        return self.templates

    def written(self, asked: Asked, text: str, *, cut_off: bool) -> Written:
        """The rewriting, unless it is a copy, about something else, or not fit to be kept."""
        repaired = repair(text, self.language, cut_off=cut_off)
        passage = asked.passage.text
        reason = flaw(repaired.text, self.language) or rewriting_flaw(passage, repaired.text)
        if asked.repeats_example(repaired.text):
            reason = "repeats_example"
        words = {"passage": passage, "reply": repaired.text}
        said = dialogue(asked.template.render_user(**words), asked.template.render_assistant(**words))
        return Written(said, reason, repaired.repairs)

    @model_validator(mode="after")
    def _templates_fit(self) -> Self:
        check_variables(self.templates, frozenset({"passage", "reply"}))
        return self
