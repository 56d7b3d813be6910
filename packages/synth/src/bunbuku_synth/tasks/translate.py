"""Translation, both ways. The answer is the pair's other side."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bunbuku_synth.checkers import translation
from bunbuku_synth.item import Item, dialogue
from bunbuku_synth.keys import Drawing, pick
from bunbuku_synth.language import content, is_plain_english, is_plain_japanese
from bunbuku_synth.sources import Language, Library, Pair
from bunbuku_synth.tasks.task import RuleTask, choose
from bunbuku_synth.templates import Template, check_variables


class TranslateTemplate(Template):
    """How a translation is asked for. Variables: `text`, and `answer` in the assistant's turn."""

    into: Language
    """The language of the answer."""


TEMPLATES = (
    TranslateTemplate(name="en-please", into="en", user="次の文を英語に訳してください。\n\n{{ text }}"),
    TranslateTemplate(name="en-below", into="en", user="{{ text }}\n\n上の日本語を英語にしなさい。"),
    TranslateTemplate(name="en-say", into="en", user="次のことを英語で何と言いますか。\n{{ text }}"),
    TranslateTemplate(name="en-short", into="en", user="英訳: {{ text }}"),
    TranslateTemplate(name="en-lines", into="en", user="日本語: {{ text }}\n英語:"),
    TranslateTemplate(name="ja-please", into="ja", user="次の英文を日本語に訳してください。\n\n{{ text }}"),
    TranslateTemplate(name="ja-below", into="ja", user="{{ text }}\n\n上の英文を日本語にしなさい。"),
    TranslateTemplate(
        name="ja-meaning", into="ja", user="次の英文はどういう意味ですか。日本語で答えてください。\n{{ text }}"
    ),
    TranslateTemplate(name="ja-short", into="ja", user="和訳: {{ text }}"),
    TranslateTemplate(name="ja-lines", into="ja", user="英語: {{ text }}\n日本語:"),
    TranslateTemplate(
        name="ja-quoted",
        into="ja",
        user="次の英文の訳を「」に入れて答えてください。\n{{ text }}",
        assistant="「{{ answer }}」",
    ),
    TranslateTemplate(name="ja-english", into="ja", user="Translate into Japanese: {{ text }}"),
)


class Translate(RuleTask):
    """Translate one sentence, from Japanese or into it."""

    type: Literal["translate"] = "translate"
    min_chars: PositiveInt = 5
    """Of the Japanese sentence."""
    max_chars: PositiveInt = 36
    """Of the Japanese sentence; the English may have two and a half times as many."""
    into: Annotated[tuple[Language, ...], Field(min_length=1)] = ("ja", "en")
    templates: tuple[TranslateTemplate, ...] = TEMPLATES

    def write(self, library: Library, *, seed: int, tally: Counter[str]) -> Iterator[Item]:
        """One item for each drawn pair, in one direction."""
        drawing = Drawing[Pair](self.drawn, label=self.type, seed=seed, fits=self._fits)
        for pair in library.pairs():
            drawing.offer(pair, name=pair.id)
        for pair in drawing.drawn:
            yield self._item(pair, seed)

    def _fits(self, pair: Pair) -> bool:
        return is_plain_pair(pair, min_chars=self.min_chars, max_chars=self.max_chars)

    def _item(self, pair: Pair, seed: int) -> Item:
        into = self.into[pick(seed, f"into:{pair.id}", len(self.into))]
        template = choose([t for t in self.templates if t.into == into], seed=seed, name=pair.id)
        key = self.key(pair.id, template, seed=seed)
        text, answer = (pair.en, pair.ja) if into == "ja" else (pair.ja, pair.en)
        return Item(
            id=key.id,
            messages=dialogue(template.render_user(text=text), template.render_assistant(text=text, answer=answer)),
            task=self.type,
            language=into,
            source=pair.id,
            template=template.id,
            generator=self.generator,
            teacher=None,
            seed=key.seed,
            licence=pair.licence,
        )

    @model_validator(mode="after")
    def _templates_fit(self) -> Self:
        check_variables(self.templates, frozenset({"text", "answer"}))
        for template in self.templates:
            answer = {"en": "I like cats.", "ja": "猫が好きだ。"}[template.into]
            if translation(answer, template.render_assistant(text="", answer=answer)) != "right":
                raise ValueError(f"the answer of template {template.name!r} must be `answer`, at most in 「」")
        for language in self.into:
            if not any(template.into == language for template in self.templates):
                raise ValueError(f"`into` names {language!r}, and none of the templates is for it")
        return self


def is_plain_pair(pair: Pair, *, min_chars: int, max_chars: int) -> bool:
    """Whether both sides are one plain sentence each, of fitting length, and say something."""
    return (
        is_plain_japanese(pair.ja, min_chars=min_chars, max_chars=max_chars)
        and is_plain_english(pair.en, min_chars=2, max_chars=max_chars * 5 // 2)
        and bool(content(pair.en))
    )
