"""Facts that the corpus says too rarely, said again in passages of many forms until they are said often enough.

A passage is kept only if it names the fact's subject and object; a judge may see whether it says the fact, and says nothing wrong.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from bunbuku_synth.item import dialogue
from bunbuku_synth.language import normalized
from bunbuku_synth.replies import flaw, repair
from bunbuku_synth.sources import Fact, Library
from bunbuku_synth.tasks.arithmetic import LICENCE
from bunbuku_synth.tasks.chain import Finished, Reading, Start, Step, Wording, Work
from bunbuku_synth.tasks.judging import SCALE, JudgedTask
from bunbuku_synth.tasks.teaching import TeacherSampling

_RULES = "「{{ subject }}」と「{{ object }}」を必ずこの表記で書き、{{ relation or '両者の関係' }}がはっきり分かるようにしてください。確かでないことは書かず、文章だけを書いてください。"
FORMS = tuple(
    Wording(name=f"fact-{name}", ask=f"「{{{{ subject }}}}」について、{how}\n{_RULES}")
    for name, how in (
        ("encyclopedia", "百科事典の説明のような文章を200字ほどで書いてください。"),
        ("column", "新聞の短いコラムのような文章を200字ほどで書いてください。"),
        ("lesson", "先生が授業で話すような文章を200字ほどで書いてください。"),
        ("letter", "友人に教える手紙のような文章を200字ほどで書いてください。"),
        ("exchange", "二人が話している短い会話を書いてください。"),
        ("background", "前後の事情や背景から説き起こす文章を300字ほどで書いてください。"),
    )
)


class Facts(JudgedTask):
    """Write passages that say facts which the corpus says too rarely."""

    asks_again: ClassVar[bool] = True
    type: Literal["facts"] = "facts"
    enough: PositiveInt = 1000
    """Different texts that should say a fact; what the corpus has of them counts."""
    per_fact: PositiveInt = 10
    """Passages for one fact in one run, at most. The rarest facts come first, each fact once before any comes again."""
    forms: Annotated[tuple[Wording, ...], Field(min_length=1)] = FORMS
    teacher: str = "teacher"
    sampling: TeacherSampling = TeacherSampling(temperature=0.9, top_p=0.95, max_tokens=600)

    @property
    def own_steps(self) -> tuple[Step, ...]:
        return (Step(name="passage", teacher=self.teacher, wordings=self.forms, sampling=self.sampling),)

    @property
    def judged(self) -> Wording:
        return Wording(
            name="fact-said",
            ask="次の文章は、「{{ subject }}」の{{ relation }}が「{{ object }}」であることを正しく述べていますか。ほかに誤りはありませんか。\n\n"
            "{{ passage }}\n\n" + SCALE,
        )

    def starts(self, library: Library, *, seed: int) -> Iterator[Start]:
        return islice(self._all(library), self.count)

    def _all(self, library: Library) -> Iterator[Start]:
        rare = sorted((fact for fact in library.facts() if fact.exposures < self.enough), key=_rarest)
        for again in range(self.per_fact):
            for fact in rare:
                if fact.exposures + again < self.enough:
                    words = {"subject": fact.subject, "relation": fact.relation, "object": fact.object}
                    yield Start(f"fact:{fact.id}/{again}", words, f"fact:{fact.id}", LICENCE)

    def read_own(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        repaired = repair(text, "ja", cut_off=cut_off)
        reason = flaw(repaired.text, "ja")
        said = normalized(repaired.text)
        if reason is None and not all(normalized(work.words[name]) in said for name in ("subject", "object")):
            reason = "fact_not_named"
        return Reading({step.name: repaired.text}, reason, repaired.repairs)

    def finish(self, work: Work) -> Finished:
        return Finished(dialogue(f"「{work.words['subject']}」について教えてください。", work.words["passage"]))


def _rarest(fact: Fact) -> tuple[int, str]:
    return fact.exposures, fact.id
