"""One right choice among several. Wrong ones are checked to be wrong by what the pairs or the text itself say.

- `word`: which word fills the gap of a sentence whose English is given. A wrong word is one that, by the sentences it was
  seen in, means nothing of this English.
- `japanese`, `english`: which sentence is the translation. A wrong one shares no word that carries meaning with the
  right one, in either language.
- `mentioned`: which word is in the text. Wrong ones are not.

Templates ask for the choice itself or for its label, so that knowing and following a format can be told apart.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bunbuku_synth.distractors import Distractors
from bunbuku_synth.item import Item, dialogue
from bunbuku_synth.keys import Drawing, Key, pick
from bunbuku_synth.language import blanks, content, is_plain_japanese, sentences
from bunbuku_synth.sources import Language, Library, Pair
from bunbuku_synth.tasks.cloze import with_gap
from bunbuku_synth.tasks.task import RuleTask, choose
from bunbuku_synth.tasks.translate import is_plain_pair
from bunbuku_synth.templates import Template, check_variables, variables_of

Question = Literal["word", "japanese", "english", "mentioned"]


class ChoiceTemplate(Template):
    """How a choice is asked for.

    Variables: `choices` (each with `label` and `text`), `sentence` (with the gap), `text`, `hint`; `answer`.
    """

    question: Question
    answer_by: Literal["text", "label"] = "text"
    labels: Annotated[str, Field(min_length=2)] = "アイウエオカキク"
    """A character a choice, where choices are labelled."""


_LABELLED = "{% for choice in choices %}{{ choice.label }}. {{ choice.text }}\n{% endfor %}"
_LISTED = "{% for choice in choices %}「{{ choice.text }}」{% endfor %}"
_DASHED = "{% for choice in choices %}・{{ choice.text }}\n{% endfor %}"
TEMPLATES = (
    ChoiceTemplate(
        name="word-text",
        question="word",
        user="＿＿＿に入る言葉を" + _LISTED + "から選んでください。\n\n{{ sentence }}\n（{{ hint }}）",
    ),
    ChoiceTemplate(
        name="word-dashes",
        question="word",
        user="{{ hint }}\n{{ sentence }}\n\n＿＿＿に当てはまる言葉を一つ選び、その言葉を書きなさい。\n" + _DASHED,
    ),
    ChoiceTemplate(
        name="word-katakana",
        question="word",
        answer_by="label",
        user="＿＿＿に入る言葉を選び、記号で答えなさい。\n{{ sentence }}\n（{{ hint }}）\n" + _LABELLED,
    ),
    ChoiceTemplate(
        name="word-number",
        question="word",
        answer_by="label",
        labels="12345678",
        user="英文に合うように、＿＿＿に入る言葉を番号で答えてください。\n{{ hint }}\n{{ sentence }}\n" + _LABELLED,
    ),
    ChoiceTemplate(
        name="japanese-text",
        question="japanese",
        user="次の英文の訳として正しい文を選び、書き写してください。\n{{ text }}\n\n" + _DASHED,
    ),
    ChoiceTemplate(
        name="japanese-letter",
        question="japanese",
        answer_by="label",
        labels="ABCDEFGH",
        user="英文の意味に合うものを選び、記号だけを答えてください。\n{{ text }}\n" + _LABELLED,
    ),
    ChoiceTemplate(
        name="english-text",
        question="english",
        user="次の文を英語にしたものを選び、書き写してください。\n{{ text }}\n\n" + _DASHED,
    ),
    ChoiceTemplate(
        name="english-katakana",
        question="english",
        answer_by="label",
        user="「{{ text }}」の英訳はどれですか。記号で答えてください。\n" + _LABELLED,
    ),
    ChoiceTemplate(
        name="mentioned-text",
        question="mentioned",
        user="{{ text }}\n\n上の文章に出てくる言葉はどれですか。\n" + _DASHED,
    ),
    ChoiceTemplate(
        name="mentioned-number",
        question="mentioned",
        answer_by="label",
        labels="12345678",
        user="次の文章に出てくる言葉を選び、番号で答えなさい。\n{{ text }}\n" + _LABELLED,
    ),
)
VARIABLES = frozenset({"choices", "sentence", "text", "hint", "answer"})


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice as templates see it."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A question before it is put into words."""

    source: str
    licence: str
    language: Language
    right: str
    wrong: Sequence[str]
    words: dict[str, str]


class MultipleChoice(RuleTask):
    """Choose the right one of several words or sentences."""

    type: Literal["multiple_choice"] = "multiple_choice"
    questions: Annotated[tuple[Question, ...], Field(min_length=1)] = ("word", "japanese", "english")
    """In equal shares, as far as the sources go. `mentioned` is made of documents, the others of pairs."""
    choices: Annotated[int, Field(ge=2, le=8)] = 4
    min_chars: PositiveInt = 6
    """Of a Japanese sentence."""
    max_chars: PositiveInt = 28
    """Of a Japanese sentence with a gap, or of the text where words are looked for."""
    max_choice_chars: PositiveInt = 18
    """Of a Japanese sentence among the choices; English ones may have two and a half times as many."""
    pool: PositiveInt = 4000
    """Pairs, or documents, that wrong choices are taken from."""
    templates: tuple[ChoiceTemplate, ...] = TEMPLATES

    def write(self, library: Library, *, seed: int, tally: Counter[str]) -> Iterator[Item]:
        """Items of each question in turn."""
        drawings = {question: self._drawings(question, seed) for question in self.questions}
        for question, source in self._sources(library):
            for drawing in drawings[question]:
                drawing.offer(source, name=source.id)
        yield from in_turn([self._write(question, *drawings[question], seed, tally) for question in self.questions])

    def _write(
        self, question: Question, sources: Drawing[Pair], pool: Drawing[Pair], seed: int, tally: Counter[str]
    ) -> Iterator[Item]:
        templates = [template for template in self.templates if template.question == question]
        distractors = Distractors(pool.drawn)
        for source in sources.drawn:
            template = choose(templates, seed=seed, name=source.id)
            key = self.key(source.id, template, seed=seed)
            asked = _ask(question, source, distractors, self.choices - 1, key.seed)
            if len(asked.wrong) == self.choices - 1:
                yield self._item(asked, template, key)
            else:
                tally["too_few_wrong_choices"] += 1

    def _drawings(self, question: Question, seed: int) -> tuple[Drawing[Pair], Drawing[Pair]]:
        """Of what is asked about, and of what wrong choices are taken from."""

        def fits(pair: Pair) -> bool:
            return self._fits(question, pair)

        label = f"{self.type}:{question}"
        return (
            Drawing(self.drawn, label=label, seed=seed, fits=fits),
            Drawing(self.pool, label=f"{label}:pool", seed=seed, fits=fits),
        )

    def _sources(self, library: Library) -> Iterator[tuple[Question, Pair]]:
        """Pairs for the questions that need them, and sentences of documents as pairs without English."""
        of_pairs: list[Question] = [question for question in self.questions if question != "mentioned"]
        if of_pairs:
            for pair in library.pairs():
                for question in of_pairs:
                    yield question, pair
        if "mentioned" in self.questions:
            for document in library.documents("ja"):
                for start, end in sentences(document.text, "ja"):
                    source = Pair(f"{document.id}#{start}-{end}", document.text[start:end], "", document.licence)
                    yield "mentioned", source

    def _fits(self, question: Question, pair: Pair) -> bool:
        longest = self.max_choice_chars if question in ("japanese", "english") else self.max_chars
        if question == "mentioned":
            return is_plain_japanese(pair.ja, min_chars=self.min_chars, max_chars=longest) and bool(blanks(pair.ja))
        if not is_plain_pair(pair, min_chars=self.min_chars, max_chars=longest):
            return False
        return bool(blanks(pair.ja)) if question == "word" else len(content(pair.en)) > 1 and bool(content(pair.ja))

    def _item(self, asked: Asked, template: ChoiceTemplate, key: Key) -> Item:
        place = pick(key.seed, "place", self.choices)
        texts = [*asked.wrong[:place], asked.right, *asked.wrong[place:]]
        choices = [Choice(label, text) for label, text in zip(template.labels, texts, strict=False)]
        said = [template.render_assistant(answer=getattr(choice, template.answer_by)) for choice in choices]
        return Item(
            id=key.id,
            messages=dialogue(template.render_user(choices=choices, **asked.words), said[place]),
            task=self.type,
            language=asked.language if template.answer_by == "text" else "ja",
            source=asked.source,
            template=template.id,
            generator=self.generator,
            teacher=None,
            seed=key.seed,
            licence=asked.licence,
            choices=tuple(said),
            answer=place,
        )

    @model_validator(mode="after")
    def _templates_fit(self) -> Self:
        check_variables(self.templates, VARIABLES)
        for question in self.questions:
            if not any(template.question == question for template in self.templates):
                raise ValueError(f"`questions` names {question!r}, and none of the templates is for it")
        for template in self.templates:
            if len(template.labels) < self.choices or len(set(template.labels)) < len(template.labels):
                raise ValueError(
                    f"template {template.name!r} needs {self.choices} different labels, has {template.labels!r}"
                )
            if "answer" not in variables_of(template.assistant):
                raise ValueError(f"the assistant's turn of template {template.name!r} does not name `answer`")
        return self


def in_turn[T](streams: Sequence[Iterator[T]]) -> Iterator[T]:
    """One of each stream, round and round, until all have ended.

    >>> "".join(in_turn([iter("いろは"), iter("12")]))
    'い1ろ2は'
    """
    running = list(streams)
    while running:
        for stream in list(running):
            try:
                yield next(stream)
            except StopIteration:
                running.remove(stream)


def _ask(question: Question, source: Pair, pool: Distractors, wrong: int, seed: int) -> Asked:
    match question:
        case "word":
            possible = blanks(source.ja)
            blank = possible[pick(seed, "blank", len(possible))]
            words = {"sentence": with_gap(source.ja, blank), "hint": source.en}
            found = pool.words(source, blank.word, wrong, seed=seed)
            return Asked(source.id, source.licence, "ja", blank.word, found, words)
        case "mentioned":
            possible = blanks(source.ja)
            word = possible[pick(seed, "blank", len(possible))].word
            found = pool.absent(source.ja, wrong, seed=seed)
            return Asked(source.id, source.licence, "ja", word, found, {"text": source.ja})
        case "japanese":
            found = pool.sentences(source, "ja", wrong, seed=seed)
            return Asked(source.id, source.licence, "ja", source.ja, found, {"text": source.en})
        case "english":
            found = pool.sentences(source, "en", wrong, seed=seed)
            return Asked(source.id, source.licence, "en", source.en, found, {"text": source.ja})
