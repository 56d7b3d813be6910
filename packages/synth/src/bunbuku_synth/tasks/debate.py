"""Debates: both sides' cases, their rebuttals, a summary, and a judgement with reasons, in two formats."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bunbuku_synth.item import Turn
from bunbuku_synth.replies import flaw, repair
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.arithmetic import LICENCE
from bunbuku_synth.tasks.chain import Finished, Reading, Start, Step, Wording, Work
from bunbuku_synth.tasks.grid import cells
from bunbuku_synth.tasks.judging import SCALE, JudgedTask
from bunbuku_synth.tasks.teaching import TeacherSampling

MOTIONS = (
    "小学校の宿題を廃止すべきである",
    "選挙の投票を義務にすべきである",
    "都市の中心部から自家用車を締め出すべきである",
    "企業は週休三日を取り入れるべきである",
    "大学の授業料を無償にすべきである",
    "公共の図書館は漫画を積極的に置くべきである",
    "飲食店の食べ残しに料金を課すべきである",
    "中学生の部活動を地域に移すべきである",
    "観光客の多い町は入場料を取るべきである",
    "動物園は廃止すべきである",
    "紙の教科書をすべて電子のものに替えるべきである",
    "成人の日の祝日を廃止すべきである",
    "救急車の利用を一部有料にすべきである",
    "面接に人工知能の採点を使うべきである",
    "夜間の自動販売機を止めるべきである",
    "方言を学校で教えるべきである",
)
FORMATS = {
    "parliamentary": "即興の議会形式です。専門の資料に頼らず、原理と身近な例で論じてください。",
    "policy": "政策討論の形式です。現状の問題、原因、解決策、実行できるか、起こりうる害の順に論じてください。",
}
PARTS = {
    "for_case": ("賛成側の立論", "論題に賛成する立場から、主張を二つ、理由と例を添えて述べてください。"),
    "against_case": (
        "反対側の立論",
        "論題に反対する立場から、主張を二つ、理由と例を添えて述べてください。賛成側の立論にも触れてください。",
    ),
    "against_rebuttal": (
        "反対側の反駁",
        "賛成側の立論の弱いところを挙げ、一つずつ反論してください。新しい主張は出さないでください。",
    ),
    "for_rebuttal": (
        "賛成側の反駁",
        "反対側の立論と反駁の弱いところを挙げ、一つずつ反論してください。新しい主張は出さないでください。",
    ),
    "summary": (
        "争点の整理",
        "ここまでの議論の争点を二つか三つに整理し、それぞれについて両側が何を言ったかを公平にまとめてください。",
    ),
    "judgement": (
        "判定",
        "どちらの側の議論が優れていたかを判定してください。争点ごとに理由を述べ、最後の行に「勝者: 賛成側」か「勝者: 反対側」と書いてください。",
    ),
}
WINNERS = ("勝者: 賛成側", "勝者: 反対側")


class Debate(JudgedTask):
    """Argue a motion from both sides, and judge who argued better."""

    asks_again: ClassVar[bool] = True
    type: Literal["debate"] = "debate"
    motions: Annotated[tuple[str, ...], Field(min_length=1)] = MOTIONS
    formats: Annotated[tuple[Literal["parliamentary", "policy"], ...], Field(min_length=1)] = (
        "parliamentary",
        "policy",
    )
    rounds: Annotated[int, Field(ge=1, le=1000)] = 10
    """Debates of one motion in one format, at most."""
    sides: tuple[str, str] = ("teacher", "teacher")
    """Which teachers argue for and against."""
    adjudicator: str = "teacher"
    """Which teacher sums up and judges."""
    sampling: TeacherSampling = TeacherSampling(temperature=0.8, top_p=0.95, max_tokens=900)

    @property
    def own_steps(self) -> tuple[Step, ...]:
        return tuple(self._step(name, says) for name, (_, says) in PARTS.items())

    @property
    def judged(self) -> Wording:
        return Wording(
            name="debate-sound",
            ask="次の討論は、論題に沿い、筋が通り、判定が議論に基づいていますか。\n\n{{ talk }}\n" + SCALE,
        )

    def _step(self, name: str, says: str) -> Step:
        teacher = {"for": self.sides[0], "against": self.sides[1]}.get(name.partition("_")[0], self.adjudicator)
        ask = f"論題: {{{{ motion }}}}\n{{{{ rules }}}}\n\n{{{{ talk }}}}\n{says}"
        return Step(
            name=name,
            teacher=teacher,
            wordings=(Wording(name=f"debate-{name.replace('_', '-')}", ask=ask),),
            sampling=self.sampling,
        )

    def after(self, step: Step) -> frozenset[str]:
        names = list(PARTS)
        return frozenset(names[: names.index(step.name)] if step.name in names else names)

    def starts(self, library: Library, *, seed: int) -> Iterator[Start]:
        axes = {"motion": self.motions, "format": self.formats, "round": tuple(map(str, range(self.rounds)))}
        for cell in cells(axes, self.count, label=self.label, seed=seed):
            words = {**cell, "rules": FORMATS[cell["format"]], "talk": ""}
            yield Start("/".join(cell.values()), words, None, LICENCE)

    def read_own(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        repaired = repair(text, "ja", cut_off=False)
        reason = "cut_off" if cut_off else flaw(repaired.text, "ja")
        if reason is None and step.name == "judgement" and not repaired.text.endswith(WINNERS):
            reason = "no_winner"
        talk = f"{work.words['talk']}【{PARTS[step.name][0]}】\n{repaired.text}\n\n"
        return Reading({step.name: repaired.text, "talk": talk}, reason, repaired.repairs)

    def finish(self, work: Work) -> Finished:
        opening = f"論題「{work.words['motion']}」について討論をします。{work.words['rules']}\n"
        turns: list[Turn] = []
        for name, (title, says) in PARTS.items():
            asked = f"{'' if turns else opening}{title}をしてください。{says}"
            turns += [Turn("user", asked), Turn("assistant", work.words[name])]
        return Finished(tuple(turns))
