"""What a text says that its source does not: sentences with few of the source's words, names that it has not, and what a judge finds.

Words are cheap to compare and cannot tell a true sentence from a false one; a judge is asked of every sentence whether it follows from
the source, contradicts it, or is not in it. What is found is marked, cut out, or a reason to drop the whole.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from bunbuku_contracts import Config
from bunbuku_inference import read_json, schema_of
from pydantic import BaseModel, Field

from bunbuku_synth.item import Doubt
from bunbuku_synth.language import content, normalized, sentences
from bunbuku_synth.sources import Language
from bunbuku_synth.tasks.chain import Reading, Step, Wording
from bunbuku_synth.tasks.judging import JUDGE
from bunbuku_synth.tasks.teaching import TeacherSampling

SUPPORT = "support"
_FEWEST_WORDS = 3
"""Words that carry meaning: a sentence of fewer says too little to be judged by them."""
_NAME = re.compile(r"[ァ-ヺー]{3,}|\b[A-Z][a-z]{2,}\b")
_ASK = Wording(
    name="support",
    ask="元の文章と、それを書き直した文章があります。書き直した文章の一文ごとに、元の文章だけを根拠として、その文が言えるかどうかを判定して"
    "ください。言えるなら supported、元の文章と食い違うなら contradicted、元の文章に書かれていないなら not_in_source とします。"
    "呼び掛けや見出しのように、事柄を述べていない文は supported とします。すべての文について、次の形のJSONだけを書いてください。\n"
    '{"sentences": [{"number": 1, "verdict": "supported"}]}\n\n元の文章:\n{{ passage }}\n\n書き直した文章:\n{{ numbered }}',
)


class Verdict(BaseModel):
    """Of one sentence."""

    number: int
    verdict: Literal["supported", "contradicted", "not_in_source"]


class Verdicts(BaseModel):
    """Of a text."""

    sentences: list[Verdict]


class Support(Config):
    """Who looks at every sentence, and what is done with those that do not follow from the source."""

    teacher: str = JUDGE
    then: Literal["mark", "cut", "drop"] = "mark"
    """Say so beside the item; take the sentence out; or drop the whole as `not_supported`."""
    max_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Of the sentences: where more do not follow, the whole is dropped, whatever `then` says."""
    wordings: Annotated[tuple[Wording, ...], Field(min_length=1)] = (_ASK,)
    """Variables: `passage`, and `numbered`, the sentences with their numbers."""
    sampling: TeacherSampling = TeacherSampling(max_tokens=1500)

    @property
    def step(self) -> Step:
        """The step that asks."""
        return Step(
            name=SUPPORT,
            teacher=self.teacher,
            wordings=self.wordings,
            sampling=self.sampling,
            reply_schema=schema_of(Verdicts),
        )

    def read(self, written: str, reply: str, language: Language) -> Reading:
        """What is left of a text, and which sentences of that do not follow.

        A reply that leaves a sentence out, or speaks of one that is not there, is none.
        """
        found, repairs = read_json(reply, Verdicts)
        spans = sentences(written, language)
        if found is None or sorted(one.number for one in found.sentences) != list(range(1, len(spans) + 1)):
            return Reading(reason="support_unparsed")
        verdicts = {one.number: one.verdict for one in found.sentences}
        bad = {n: said for n, said in verdicts.items() if said != "supported"}
        named = tuple(f"support_{name}" for name in repairs)
        notes = tuple(sorted(bad.values()))
        if len(bad) > self.max_share * len(spans) or (bad and self.then == "drop"):
            return Reading(reason="not_supported", repairs=named, notes=notes)
        if self.then == "cut":
            gone = [spans[n - 1] for n in bad]
            return Reading({"written": _without(written, gone), SUPPORT: ""}, None, named, notes)
        judged = " ".join(f"{n}:{said}" for n, said in sorted(bad.items()))
        return Reading({SUPPORT: judged}, None, named, notes)


def numbered(text: str, language: Language) -> str:
    r"""A text's sentences, each with its number on a line.

    >>> numbered("雨が降る。傘を差す。", "ja")
    '1. 雨が降る。\n2. 傘を差す。'
    """
    spans = sentences(text, language)
    return "\n".join(f"{n}. {' '.join(text[start:end].split())}" for n, (start, end) in enumerate(spans, start=1))


def doubts_of(
    source: str, text: str, language: Language, *, judged: str = "", same_language: bool = True
) -> list[Doubt]:
    """What of a text is not in its source, by its words and by the judge's verdicts, `judged`.

    >>> doubts_of("犬が駅で鳴いた。", "犬は駅で鳴いた。ロンドンの空港は遠い。", "ja")
    [Doubt(start=8, end=19, why='few_source_words'), Doubt(start=8, end=12, why='new_name')]
    >>> doubts_of("犬が鳴いた。", "犬が鳴いた。猫もいた。", "ja", judged="2:not_in_source")
    [Doubt(start=6, end=11, why='not_in_source')]
    """
    spans = sentences(text, language)
    found = [Doubt(*spans[int(n) - 1], why) for n, _, why in (one.partition(":") for one in judged.split())]
    if not same_language:
        return found
    known = content(source)
    for start, end in spans:
        words = content(text[start:end])
        if len(words) >= _FEWEST_WORDS and len(words & known) < len(words) / 3:
            found.append(Doubt(start, end, "few_source_words"))
    said = normalized(source)
    names = (match for match in _NAME.finditer(text) if normalized(match[0]) not in said)
    found += [Doubt(match.start(), match.end(), "new_name") for match in names if not _begins(spans, match)]
    return sorted(found, key=lambda doubt: (doubt.start, -doubt.end, doubt.why))


def _begins(spans: Sequence[tuple[int, int]], match: re.Match[str]) -> bool:
    """Whether a word in Latin letters owes its capital to a sentence's beginning."""
    return match[0][0].isascii() and match.start() in {start for start, _ in spans}


def _without(text: str, gone: Sequence[tuple[int, int]]) -> str:
    """A text without some of its stretches, and without lines that these leave empty."""
    for start, end in sorted(gone, reverse=True):
        text = text[:start] + text[end:]
    return re.sub(r"\n{3,}", "\n\n", text).strip()
