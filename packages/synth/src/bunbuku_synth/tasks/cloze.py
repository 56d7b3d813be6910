"""A sentence with a gap: the answer is the word that stood there.

With pairs the English sentence says what is meant; with documents the sentence before it has the word, too.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from bunbuku_synth.checkers import cloze
from bunbuku_synth.item import Item, dialogue
from bunbuku_synth.keys import Drawing, pick
from bunbuku_synth.language import Blank, blanks, is_plain_english, is_plain_japanese, sentences
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.task import RuleTask, choose
from bunbuku_synth.templates import Template, check_variables

GAP = "＿＿＿"


class ClozeTemplate(Template):
    """How a missing word is asked for. Variables: `sentence` (with the gap), `hint`, `answer`."""

    hint: Literal["english", "before"]
    """What helps: the English sentence, or the Japanese one before it."""


TEMPLATES = (
    ClozeTemplate(
        name="en-fill",
        hint="english",
        user="英文と同じ意味になるように、＿＿＿に入る言葉を答えてください。\n\n英文: {{ hint }}\n日本語: {{ sentence }}",
    ),
    ClozeTemplate(
        name="en-quoted",
        hint="english",
        user="{{ hint }}\n{{ sentence }}\n\n日本語の文が上の英文の訳になるように、＿＿＿に当てはまる言葉を「」に入れて答えなさい。",
        assistant="「{{ answer }}」",
    ),
    ClozeTemplate(
        name="en-explained",
        hint="english",
        user="次の文の＿＿＿には何が入りますか。\n{{ sentence }}\n（英語では {{ hint }}）",
        assistant="＿＿＿に入るのは「{{ answer }}」です。",
    ),
    ClozeTemplate(
        name="en-short",
        hint="english",
        user="穴埋め: {{ sentence }}\n意味: {{ hint }}",
    ),
    ClozeTemplate(
        name="before-fill",
        hint="before",
        user="＿＿＿に入る言葉を答えてください。\n\n{{ hint }}{{ sentence }}",
    ),
    ClozeTemplate(
        name="before-quoted",
        hint="before",
        user="次の文章の＿＿＿に当てはまる言葉を「」に入れて答えなさい。\n\n{{ hint }}{{ sentence }}",
        assistant="「{{ answer }}」",
    ),
    ClozeTemplate(
        name="before-explained",
        hint="before",
        user="{{ hint }}{{ sentence }}\n\n上の文章の＿＿＿には何が入りますか。",
        assistant="＿＿＿に入るのは「{{ answer }}」です。",
    ),
)


@dataclass(frozen=True, slots=True)
class _Sentence:
    source: str
    text: str
    hint: str
    licence: str


class Cloze(RuleTask):
    """Say which word is missing."""

    type: Literal["cloze"] = "cloze"
    hint: Literal["english", "before"] = "english"
    """`english` makes items of pairs; `before` makes them of the documents alone."""
    min_chars: PositiveInt = 8
    """Of the Japanese sentence."""
    max_chars: PositiveInt = 36
    templates: tuple[ClozeTemplate, ...] = TEMPLATES

    def write(self, library: Library, *, seed: int, tally: Counter[str]) -> Iterator[Item]:
        """One item for each drawn sentence that has a noun to leave out."""
        drawing = Drawing[_Sentence](self.drawn, label=self.type, seed=seed, fits=self._fits)
        for found in self._from_pairs(library) if self.hint == "english" else self._from_documents(library):
            drawing.offer(found, name=found.source)
        for found in drawing.drawn:
            yield self._item(found, seed)

    def _fits(self, found: _Sentence) -> bool:
        plain = is_plain_japanese(found.text, min_chars=self.min_chars, max_chars=self.max_chars)
        if self.hint == "english":
            plain = plain and is_plain_english(found.hint, min_chars=2, max_chars=self.max_chars * 5 // 2)
        else:
            plain = plain and is_plain_japanese(found.hint, min_chars=self.min_chars, max_chars=self.max_chars)
        return plain and bool(self._blanks(found))

    def _blanks(self, found: _Sentence) -> list[Blank]:
        """Words that the hint gives away only to a reader: said in English, or said once more in the sentence before."""
        return [blank for blank in blanks(found.text) if self.hint == "english" or blank.word in found.hint]

    def _from_pairs(self, library: Library) -> Iterator[_Sentence]:
        return (_Sentence(pair.id, pair.ja, pair.en, pair.licence) for pair in library.pairs())

    def _from_documents(self, library: Library) -> Iterator[_Sentence]:
        for document in library.documents("ja"):
            spans = sentences(document.text, "ja")
            for (first, _), (start, end) in itertools.pairwise(spans):
                before, text = document.text[first:start].strip(), document.text[start:end]
                yield _Sentence(f"{document.id}#{first}-{end}", text, before, document.licence)

    def _item(self, found: _Sentence, seed: int) -> Item:
        possible = self._blanks(found)
        blank = possible[pick(seed, f"blank:{found.source}", len(possible))]
        template = choose([t for t in self.templates if t.hint == self.hint], seed=seed, name=found.source)
        key = self.key(found.source, template, seed=seed)
        words = {"sentence": with_gap(found.text, blank), "hint": found.hint, "answer": blank.word}
        return Item(
            id=key.id,
            messages=dialogue(template.render_user(**words), template.render_assistant(**words)),
            task=self.type,
            language="ja",
            source=found.source,
            template=template.id,
            generator=self.generator,
            teacher=None,
            seed=key.seed,
            licence=found.licence,
        )

    @model_validator(mode="after")
    def _templates_fit(self) -> Self:
        check_variables(self.templates, frozenset({"sentence", "hint", "answer"}))
        for template in self.templates:
            if cloze("電車", template.render_assistant(sentence="", hint="", answer="電車")) != "right":
                raise ValueError(f"the answer of template {template.name!r} must be `answer`, or hold it in 「」")
        if not any(template.hint == self.hint for template in self.templates):
            raise ValueError(f"`hint` is {self.hint!r}, and none of the templates is for it")
        return self


def with_gap(sentence: str, blank: Blank) -> str:
    """The sentence with a gap where the word stood.

    >>> with_gap("本を読む。", Blank(0, "本"))
    '＿＿＿を読む。'
    """
    return sentence[: blank.start] + GAP + sentence[blank.start + len(blank.word) :]
