"""A passage in another form: what it says, all that it says, and nothing else.

The teacher writes it in a drawn style; a judge may look at every sentence for what is not in the source, and another give a score for
the whole. Before them, checks on words: the language, repetition and talk about the task, how much text there is for how much there
was, numbers that the source has not, how many of its words are new, and how much is copied letter by letter. What is not found in
the source and is no reason to drop the whole is marked beside the item.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from bunbuku_synth.item import Doubt, dialogue
from bunbuku_synth.language import content, normalized
from bunbuku_synth.replies import flaw, new_numbers, repair
from bunbuku_synth.sources import Language, Library
from bunbuku_synth.tasks.chain import Finished, Reading, Start, Step, Wording, Work, draw_starts
from bunbuku_synth.tasks.judging import SCALE, JudgedTask
from bunbuku_synth.tasks.support import SUPPORT, Support, doubts_of, numbered
from bunbuku_synth.tasks.teaching import TeacherSampling
from bunbuku_synth.templates import Template, check_variables

_RULES = (
    "- 元の文章の内容を、抜かさず、付け足さずに伝えること。数や名前は変えないこと。\n"
    "- 広告、メニュー、日付だけの行、連絡先など、本文でないものは除くこと。\n"
    "- 分量は元の文章と同じくらいにし、書き直した文章だけを書くこと。\n\n元の文章:\n{{ passage }}"
)
_COPIED = 30
"""Letters in a run that count as copied."""


class Style(Template):
    """A form to write in. Variables of `user`: `passage`; of `assistant`: `passage`, `reply`."""

    into: Language = "ja"
    """Language of what is written."""
    of: Language = "ja"
    """Language of the source."""
    ask: str
    """What the teacher is asked. Variable: `passage`."""
    assistant: str = "{{ reply }}"

    @property
    def wording(self) -> Wording:
        """The same as a step's wording."""
        return Wording(name=self.name, version=self.version, ask=self.ask)


def _japanese(name: str, how: str, please: str) -> Style:
    return Style(name=name, ask=f"次の文章を、{how}\n{_RULES}", user=f"{please}\n\n{{{{ passage }}}}")


STYLES = (
    _japanese(
        "textbook",
        "高校の教科書の一節のように、用語を説明しながら順序立てて書き直してください。",
        "次の文章を、教科書のように順序立てて書き直してください。",
    ),
    _japanese(
        "encyclopedia",
        "百科事典の項目のように、中立な「である」調で書き直してください。",
        "次の文章を、百科事典の項目のように書いてください。",
    ),
    _japanese(
        "questions",
        "「問:」と「答:」の組を並べた形に書き直してください。組をすべて読めば元の内容がすべて分かるようにしてください。",
        "次の文章の内容を、一問一答の形にまとめてください。",
    ),
    _japanese(
        "conversation",
        "その話題に詳しい人と、よく質問をする人との会話に書き直してください。行の頭には「A:」か「B:」を付けてください。",
        "次の文章の内容を、二人の会話にしてください。",
    ),
    _japanese(
        "lecture",
        "講師が教室で話している言葉に書き直してください。聞き手に呼び掛けながら、話の筋道を示してください。",
        "次の文章の内容を、講義で話すように説明してください。",
    ),
    _japanese(
        "blog",
        "読みやすい「です・ます」調のブログ記事に書き直してください。短い見出しを付けてください。",
        "次の文章を、ブログの記事のように書き直してください。",
    ),
    Style(
        name="into-english",
        into="en",
        ask="次の文章を、自然な英語に訳してください。内容を抜かさず、付け足さず、訳文だけを書いてください。\n\n{{ passage }}",
        user="次の文章を英語に訳してください。\n\n{{ passage }}",
    ),
    Style(
        name="into-japanese",
        of="en",
        ask="次の英文を、自然な日本語に訳してください。内容を抜かさず、付け足さず、訳文だけを書いてください。\n\n{{ passage }}",
        user="次の英文を日本語に訳してください。\n\n{{ passage }}",
    ),
)
_RATIOS: dict[tuple[Language, Language], tuple[float, float]] = {
    ("ja", "ja"): (0.6, 1.8),
    ("en", "en"): (0.6, 1.8),
    ("ja", "en"): (1.2, 4.5),
    ("en", "ja"): (0.25, 0.9),
}
"""Length of what is written over that of the source, in characters: English takes about two and a half times as many."""


class Rephrase(JudgedTask):
    """Write a passage in another form, with all that it says and nothing else."""

    type: Literal["rephrase"] = "rephrase"
    styles: Annotated[tuple[Style, ...], Field(min_length=1)] = STYLES
    """One is drawn for each passage."""
    only: tuple[str, ...] = ()
    """Names of the styles to use; none takes all."""
    min_chars: PositiveInt = 200
    """Of a passage, which is whole sentences."""
    max_chars: PositiveInt = 1200
    strictness: PositiveFloat = 1.0
    """More lets fewer lengths pass: the bounds of the ratio are drawn together by it."""
    max_new_words: Annotated[float, Field(ge=0)] = 0.5
    """New words that carry meaning, over those of the source."""
    max_copied: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of what is written that stands in the source in runs of 30 letters."""
    support: Support | None = None
    """Who looks whether every sentence follows from the source. Without it, sentences are compared by their words alone."""
    teacher: str = "teacher"
    sampling: TeacherSampling = TeacherSampling(temperature=0.7, top_p=0.9, max_tokens=1024)

    @property
    def used(self) -> tuple[Style, ...]:
        """The styles that are drawn from."""
        return tuple(style for style in self.styles if not self.only or style.name in self.only)

    @property
    def own_steps(self) -> tuple[Step, ...]:
        wordings = tuple(style.wording for style in self.used)
        written = Step(name="written", teacher=self.teacher, wordings=wordings, sampling=self.sampling)
        return (written, self.support.step) if self.support else (written,)

    def after(self, step: Step) -> frozenset[str]:
        """The judge sees what is left after the sentences were looked at."""
        return frozenset(("written", SUPPORT)[: ("written", SUPPORT, step.name).index(step.name)])

    def keeps(self, step: str, work: Work) -> bool:
        return step == "written"

    @property
    def judged(self) -> Wording:
        return Wording(
            name="rephrase-faithful",
            ask="元の文章と、それを書き直した文章があります。書き直した文章に、元の文章からは言えないこと、間違い、抜けがないかを、"
            "一つ一つの文について確かめてください。\n\n元の文章:\n{{ passage }}\n\n書き直した文章:\n{{ written }}\n\n"
            + SCALE,
        )

    def starts(self, library: Library, *, seed: int) -> Iterable[Start]:
        return draw_starts(self._passages(library, seed), self.count, label=self.label, seed=seed)

    def wording(self, step: Step, work: Work, *, seed: int) -> Wording:
        if step.name != "written":
            return super().wording(step, work, seed=seed)
        fitting = [style for style in self.used if style.of == work.start.words["language"]]
        narrowed = step.model_copy(update={"wordings": tuple(style.wording for style in fitting)})
        return super().wording(narrowed, work, seed=seed)

    def read_own(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        style = self._style(work)
        if step.name == SUPPORT and self.support:
            reading = self.support.read(work.words["written"], text, style.into)
            left = reading.words.get("written")  # after sentences were cut out
            return replace(reading, reason=self._flaw(work, style, left)) if left is not None else reading
        repaired = repair(text, style.into, cut_off=cut_off)
        words = {step.name: repaired.text, "numbered": numbered(repaired.text, style.into)}
        return Reading(words, self._flaw(work, style, repaired.text), repaired.repairs)

    def finish(self, work: Work) -> Finished:
        style = self._style(work)
        words = {"passage": work.words["passage"], "reply": work.words["written"]}
        said = dialogue(style.render_user(**words), style.render_assistant(**words))
        doubts = self._doubts(work, style, said[-1].content)
        work.notes += sorted({f"marked_{doubt.why}" for doubt in doubts})
        return Finished(said, style.into, doubts=doubts)

    def _doubts(self, work: Work, style: Style, said: str) -> tuple[Doubt, ...]:
        """Where in the answer something is that was not found in the source."""
        passage, written = work.words["passage"], work.words["written"]
        judged, alike = work.words.get(SUPPORT, ""), style.of == style.into
        shift = said.find(written)
        found = doubts_of(passage, written, style.into, judged=judged, same_language=alike) if shift >= 0 else []
        return tuple(Doubt(doubt.start + shift, doubt.end + shift, doubt.why) for doubt in found)

    def _passages(self, library: Library, seed: int) -> Iterable[Start]:
        found = library.passages(
            {style.of for style in self.used},
            task=self.label,
            min_chars=self.min_chars,
            max_chars=self.max_chars,
            seed=seed,
        )
        for document, passage in found:
            words = {"passage": passage.text, "language": document.language}
            yield Start(passage.source, words, passage.source, passage.licence)

    def _style(self, work: Work) -> Style:
        return next(style for style in self.used if style.id == work.wordings["written"].id)

    def _flaw(self, work: Work, style: Style, text: str) -> str | None:
        passage = work.words["passage"]
        if reason := flaw(text, style.into):
            return reason
        least, most = _RATIOS[style.of, style.into]
        ratio = len(text) / len(passage)
        work.measures[f"length_ratio.{style.of}-{style.into}"] = ratio
        if not least * self.strictness <= ratio <= most / self.strictness:
            return "length"
        if new_numbers(passage, text):
            return "changes_numbers"
        if style.of != style.into:
            return None
        if copied_share(passage, text) > self.max_copied:
            return "copied"
        ours, theirs = content(passage), content(text)
        if len(ours & theirs) < 0.4 * len(ours):
            return "unrelated"
        return "adds_too_much" if len(theirs - ours) > self.max_new_words * len(ours) else None

    @model_validator(mode="after")
    def _styles_fit(self) -> Self:
        check_variables([style.model_copy(update={"assistant": ""}) for style in self.styles], frozenset({"passage"}))
        if unknown := sorted(set(self.only) - {style.name for style in self.styles}):
            raise ValueError(f"`only` names {unknown[0]!r}: there are {[style.name for style in self.styles]}")
        if self.min_chars > self.max_chars:
            raise ValueError(f"`min_chars` {self.min_chars} is more than `max_chars` {self.max_chars}")
        return self


def copied_share(source: str, text: str) -> float:
    """Share of a text's letters that stand in the source in runs of thirty.

    >>> copied_share("いろは" * 20, "いろは" * 20), copied_share("いろは" * 20, "色は匂へど")
    (1.0, 0.0)
    """
    ours, theirs = normalized(source), normalized(text)
    runs = {ours[at : at + _COPIED] for at in range(len(ours) - _COPIED + 1)}
    covered = 0
    reached = 0
    for at in range(len(theirs) - _COPIED + 1):
        if theirs[at : at + _COPIED] in runs:
            covered += at + _COPIED - max(at, reached)
            reached = at + _COPIED
    return covered / len(theirs) if theirs else 0.0
