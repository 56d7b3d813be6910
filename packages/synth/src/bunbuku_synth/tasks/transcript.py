"""Training dialogues of debates that were really held: a transcript becomes its arguments, and these become questions and answers.

A teacher names the motion and lists the arguments, each with the words of the transcript that it rests on. What is quoted must stand
there, letter by letter but for width, spaces and punctuation; an argument whose quotation does not is left out. Then one argument is
rebutted, and the debate is judged. Transcripts are documents of the corpus, from text or from PDF files (`bunbuku-corpus extract`).
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from bunbuku_inference import read_json, schema_of
from pydantic import BaseModel, Field, PositiveInt

from bunbuku_synth.item import Turn
from bunbuku_synth.keys import pick
from bunbuku_synth.language import normalized
from bunbuku_synth.replies import flaw, repair
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.chain import Finished, Reading, Start, Step, Wording, Work, draw_starts
from bunbuku_synth.tasks.debate import WINNERS
from bunbuku_synth.tasks.judging import SCALE, JudgedTask
from bunbuku_synth.tasks.teaching import TeacherSampling

_SIDES = {"for": "賛成側", "against": "反対側"}
_KINDS = {"case": "主張", "rebuttal": "反論", "question": "質問", "summary": "まとめ"}
_SHAPE = (
    '{"motion": "論題", "arguments": [{"side": "forかagainst", "kind": "case、rebuttal、question、summaryのどれか", '
    '"claim": "主張を一文で", "reason": "理由を一文か二文で", "quote": "記録の中の言葉をそのまま"}]}'
)


class Argument(BaseModel):
    """What one side said."""

    side: Literal["for", "against"]
    kind: Literal["case", "rebuttal", "question", "summary"]
    claim: Annotated[str, Field(min_length=1)]
    reason: str = ""
    quote: Annotated[str, Field(min_length=1)]
    """Words of the transcript that it rests on."""


class Arguments(BaseModel):
    """A debate, as its arguments."""

    motion: Annotated[str, Field(min_length=1)]
    arguments: list[Argument]


class Transcript(JudgedTask):
    """Make dialogues about a debate that was held."""

    type: Literal["transcript"] = "transcript"
    min_chars: PositiveInt = 400
    """Of the stretch of a transcript that is read, which is whole sentences."""
    max_chars: PositiveInt = 6000
    quoted: PositiveInt = 8
    """Letters that a quotation must have at least."""
    teacher: str = "teacher"
    reading: TeacherSampling = TeacherSampling(max_tokens=1500)
    sampling: TeacherSampling = TeacherSampling(temperature=0.7, top_p=0.95, max_tokens=700)

    @property
    def own_steps(self) -> tuple[Step, ...]:
        arguments = Wording(
            name="transcript-arguments",
            ask="次の討論の記録から、論題と、両側の議論を、出てきた順に取り出してください。quoteには、その議論の拠り所となる言葉を、"
            f"記録から一字も変えずに写してください。次の形のJSONだけを書いてください。\n{_SHAPE}\n\n記録:\n{{{{ passage }}}}",
        )
        rebuttal = Wording(
            name="transcript-rebuttal",
            ask="論題: {{ motion }}\n\n討論で出た議論:\n{{ listed }}\n\n{{ opponent }}の立場から、次の議論に反論してください。相手の前提、"
            "理由、例のどこに弱さがあるかを示し、反論だけを書いてください。\n\n{{ target }}",
        )
        judgement = Wording(
            name="transcript-judgement",
            ask="論題: {{ motion }}\n\n討論で出た議論:\n{{ listed }}\n\nどちらの側の議論が優れていたかを、争点ごとに理由を述べて判定し、"
            "最後の行に「勝者: 賛成側」か「勝者: 反対側」と書いてください。",
        )
        return (
            self._step("arguments", arguments, self.reading, schema_of(Arguments)),
            self._step("rebuttal", rebuttal, self.sampling),
            self._step("judgement", judgement, self.sampling),
        )

    def _step(self, name: str, wording: Wording, sampling: TeacherSampling, schema: str | None = None) -> Step:
        return Step(name=name, teacher=self.teacher, wordings=(wording,), sampling=sampling, reply_schema=schema)

    @property
    def judged(self) -> Wording:
        return Wording(
            name="transcript-sound",
            ask="討論の記録から作られた教材です。整理は記録に忠実で、反論と判定は筋が通っていますか。\n\n論題: {{ motion }}\n\n整理:\n"
            "{{ listed }}\n\n反論:\n{{ rebuttal }}\n\n判定:\n{{ judgement }}\n\n" + SCALE,
        )

    def after(self, step: Step) -> frozenset[str]:
        names = ["arguments", "rebuttal", "judgement"]
        return frozenset(names[: names.index(step.name)] if step.name in names else names)

    def starts(self, library: Library, *, seed: int) -> Iterable[Start]:
        found = library.passages({"ja"}, task=self.label, min_chars=self.min_chars, max_chars=self.max_chars, seed=seed)
        starts = (
            Start(
                passage.source,
                {"passage": passage.text, "drawn": str(pick(seed, passage.source, 1 << 30))},
                passage.source,
                passage.licence,
            )
            for _, passage in found
        )
        return draw_starts(starts, self.count, label=self.label, seed=seed)

    def read_own(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        if step.name == "arguments":
            return self._arguments(work, text)
        repaired = repair(text, "ja", cut_off=False)
        reason = "cut_off" if cut_off else flaw(repaired.text, "ja")
        if reason is None and step.name == "judgement" and not repaired.text.endswith(WINNERS):
            reason = "no_winner"
        return Reading({step.name: repaired.text}, reason, repaired.repairs)

    def _arguments(self, work: Work, text: str) -> Reading:
        found, repairs = read_json(text, Arguments)
        if found is None:
            return Reading(reason="arguments_unparsed")
        said = normalized(work.words["passage"])
        held = [one for one in found.arguments if self._stands(one.quote, said)]
        notes = ("quote_not_found",) * (len(found.arguments) - len(held))
        named = tuple(f"arguments_{name}" for name in repairs)
        if {one.side for one in held} != set(_SIDES):
            return Reading(reason="one_sided", repairs=named, notes=notes)
        target = held[int(work.words["drawn"]) % len(held)]
        words = {
            "motion": found.motion.strip(),
            "listed": "\n".join(f"{n}. {_told(one)}" for n, one in enumerate(held, start=1)),
            "target": f"{_SIDES[target.side]}: {target.claim}",
            "opponent": _SIDES["against" if target.side == "for" else "for"],
        }
        return Reading(words, flaw(words["listed"], "ja"), named, notes)

    def _stands(self, quote: str, said: str) -> bool:
        letters = normalized(quote)
        return len(letters) >= self.quoted and letters in said

    def finish(self, work: Work) -> Finished:
        words = work.words
        asked = (
            f"次の討論の記録を読んで、論題と、両側の議論を整理してください。\n\n{words['passage']}",
            f"{words['opponent']}の立場から、次の議論に反論してください。\n{words['target']}",
            "この討論では、どちらの側の議論が優れていましたか。理由を付けて判定してください。",
        )
        answers = (f"論題: {words['motion']}\n\n{words['listed']}", words["rebuttal"], words["judgement"])
        return Finished(
            tuple(
                turn
                for question, answer in zip(asked, answers, strict=True)
                for turn in (Turn("user", question), Turn("assistant", answer))
            )
        )


def _told(one: Argument) -> str:
    """An argument as a line of a list.

    >>> _told(Argument(side="for", kind="case", claim="本は安くなる。", reason="紙が要らない。", quote="紙の要らない本は安い"))
    '【賛成側の主張】本は安くなる。理由: 紙が要らない。(「紙の要らない本は安い」)'
    """
    reason = f"理由: {one.reason.strip()}" if one.reason.strip() else ""
    return f"【{_SIDES[one.side]}の{_KINDS[one.kind]}】{one.claim.strip()}{reason}(「{one.quote.strip()}」)"
