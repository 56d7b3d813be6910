"""Instructions and answers of two to six turns, from a grid of tasks, topics, personas and levels, from passages, or from keywords.

Cells of the grid are drawn without replacement, so that no combination is asked for twice. One teacher plays the user, another (or
the same) the assistant, turn by turn; a system prompt with a style, where one is drawn, is followed from the first answer to the
last, and styles that letters can show (です・ます or not) are checked.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Annotated, Literal, Self

from bunbuku_contracts import Config, manners
from pydantic import Field, PositiveInt, model_validator

from bunbuku_synth.item import Turn
from bunbuku_synth.keys import pick, shuffled
from bunbuku_synth.language import blanks, normalized, sentences
from bunbuku_synth.replies import flaw, repair
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.arithmetic import LICENCE
from bunbuku_synth.tasks.chain import Finished, Reading, Start, Step, Wording, Work, draw_starts
from bunbuku_synth.tasks.grid import cells
from bunbuku_synth.tasks.judging import SCALE, JudgedTask
from bunbuku_synth.tasks.teaching import TeacherSampling

KINDS = (
    "分からないことを質問する",
    "手順を教えてもらう",
    "文章を書いてもらう",
    "考えた案への意見を求める",
    "二つのものを比べてもらう",
    "間違いを探して直してもらう",
    "短くまとめてもらう",
    "案をいくつか出してもらう",
    "理由を説明してもらう",
    "表や箇条書きに整理してもらう",
    "計画を立ててもらう",
    "例え話で説明してもらう",
)
TOPICS = (
    "料理と食材",
    "季節の行事",
    "家計とお金",
    "数学の勉強",
    "理科の実験",
    "日本の歴史",
    "世界の地理",
    "国語と作文",
    "英語の学習",
    "プログラミング",
    "表計算ソフト",
    "仕事のメール",
    "面接と就職",
    "健康と運動",
    "睡眠",
    "旅行の計画",
    "鉄道と交通",
    "動物と飼育",
    "園芸と植物",
    "掃除と洗濯",
    "防災",
    "音楽",
    "小説と読書",
    "映画の感想",
    "将棋や囲碁",
    "法律と手続き",
    "引っ越し",
    "子育て",
    "友人との付き合い",
    "敬語と作法",
)
PERSONAS = (
    "中学生",
    "受験を控えた高校生",
    "一人暮らしを始めた大学生",
    "新入社員",
    "小学校の先生",
    "二児の親",
    "商店を営む人",
    "農家の人",
    "看護師",
    "定年後に学び直している人",
    "日本語を学んでいる留学生",
    "町内会の世話役",
)
LEVELS = ("初めて知る人にも分かる", "基本は知っている人に向いた", "詳しい人が考え込むような")


class Manner(Config):
    """A system prompt that sets a style, and how letters show whether it was kept."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    system: str
    polite: bool | None = None
    """Whether sentences end in です or ます; `None` does not ask."""
    listed: bool = False
    """Whether the answers are lists."""

    def kept(self, text: str) -> bool:
        """Whether an answer is in this style.

        >>> casual = Manner(name="casual", system="タメ口で話してください。", polite=False)
        >>> casual.kept("それ、面白いね。やってみよう。"), casual.kept("それは面白いです。やってみましょう。")
        (True, False)
        """
        if self.listed and not re.search(r"^\s*(?:[・\-*]|\d+[.．)])", text, re.MULTILINE):
            return False
        if self.polite is None:
            return True
        said = [text[start:end] for start, end in sentences(text, "ja") if text[end - 1] in "。！？!?"]
        share = sum(bool(_POLITE.search(one)) for one in said) / len(said) if said else 0.0
        return share >= 0.6 if self.polite else share <= 0.2


_POLITE = re.compile(
    r"(?:です|ます|ました|ません|でした|ましょう|でしょう|ください|ございます)(?:か|ね|よ|よね)?[。！？!?」）]*$"
)

MANNERS = (
    Manner(name="none", system=""),
    *(
        Manner(name=name, system=manners.MANNERS[name].system, polite=polite, listed=name == "lists")
        for name, polite in (
            ("schoolmate", False),
            ("polite", True),
            ("teacher", True),
            ("plain", False),
            ("lists", None),
        )
    ),
)
"""The words of each are those that the chat page has for it."""
_FIRST = {
    "grid": "「{{ topic }}」について、{{ kind }}最初の発言を一つ書いてください。{{ level }}内容にし、必要な事情は自分で決めて"
    "書き添えてください。発言だけを書いてください。",
    "passages": "次の文章を読んで、{{ kind }}最初の発言を一つ書いてください。{{ level }}内容にしてください。文章は相手にも"
    "見えています。発言だけを書いてください。\n\n{{ passage }}",
    "keywords": "次の言葉をすべて使って、{{ kind }}最初の発言を一つ書いてください。言葉の形は変えないでください。{{ level }}内容にし、"
    "必要な事情は自分で決めて書き添えてください。発言だけを書いてください。\n\n言葉: {{ words }}",
}
"""How the first turn is asked for, by what a talk begins from."""
_USER = "あなたは{{ persona }}です。AIと話しています。AIではなく、人としての発言だけを書いてください。"


class Instruct(JudgedTask):
    """Talk of two to six turns about a cell of a grid, a passage, or a few words."""

    type: Literal["instruct"] = "instruct"
    begin: Literal["grid", "passages", "keywords"] = "grid"
    """What a talk begins from. Passages come from the corpus and stand in the first turn; keywords have to be in it."""
    keywords: tuple[str, ...] = ()
    """Words to begin from. Without any, they are nouns of the corpus, those of one talk from one document."""
    together: Annotated[int, Field(ge=1, le=6)] = 3
    """Keywords of one talk."""
    kinds: tuple[str, ...] = KINDS
    topics: tuple[str, ...] = TOPICS
    personas: tuple[str, ...] = PERSONAS
    levels: tuple[str, ...] = LEVELS
    manners: Annotated[tuple[Manner, ...], Field(min_length=1)] = MANNERS
    """One is drawn for each talk."""
    min_turns: Annotated[int, Field(ge=1, le=6)] = 2
    """A turn is a question with its answer."""
    max_turns: Annotated[int, Field(ge=1, le=6)] = 6
    min_chars: PositiveInt = 100
    """Of a passage."""
    max_chars: PositiveInt = 600
    asker: str = "teacher"
    """Which teacher plays the user."""
    teacher: str = "teacher"
    """Which one answers."""
    asking: TeacherSampling = TeacherSampling(temperature=0.9, top_p=0.95, max_tokens=200)
    sampling: TeacherSampling = TeacherSampling(temperature=0.5, top_p=0.95, max_tokens=800)

    @property
    def own_steps(self) -> tuple[Step, ...]:
        return tuple(step for number in range(1, self.max_turns + 1) for step in self._turn(number))

    @property
    def judged(self) -> Wording:
        return Wording(
            name="instruct-helpful",
            ask="次の対話で、AIの答えは正しく、役に立ち、指示された話し方を守っていますか。\n"
            "話し方の指示: {{ system or 'なし' }}\n\n{{ talk }}\n" + SCALE,
        )

    def _turn(self, number: int) -> tuple[Step, Step]:
        first = Wording(
            name="open",
            system=_USER,
            ask=_FIRST[self.begin],
        )
        later = Wording(
            name="go-on",
            system=_USER,
            ask="これまでの対話です。\n\n{{ talk }}\nこれに続けて、話を深める次の発言を一つ書いてください。発言だけを書いてください。",
        )
        answer = Wording(name="answer", system="{{ system }}", ask="")
        return (
            Step(
                name=f"q{number}", teacher=self.asker, wordings=(first if number == 1 else later,), sampling=self.asking
            ),
            Step(name=f"a{number}", teacher=self.teacher, wordings=(answer,), sampling=self.sampling),
        )

    def after(self, step: Step) -> frozenset[str]:
        """Turns follow each other, and the judge follows all."""
        names = [one.name for one in self.own_steps]
        at = names.index(step.name) if step.name in names else len(names)
        return frozenset(names[:at])

    def starts(self, library: Library, *, seed: int) -> Iterable[Start]:
        axes = {"kind": self.kinds, "level": self.levels, "persona": self.personas}
        if self.begin == "grid":
            for cell in cells({**axes, "topic": self.topics}, self.count, label=self.label, seed=seed):
                yield self._start("/".join(cell.values()), cell, None, LICENCE, seed)
            return
        found = self._passages(library, seed) if self.begin == "passages" else self._keywords(library, seed)
        begun = draw_starts(found, self.count, label=self.label, seed=seed)
        drawn = cells({**axes, "again": tuple(map(str, range(self.count)))}, self.count, label=self.label, seed=seed)
        for start, cell in zip(begun, drawn, strict=False):
            yield self._start(start.name, {**cell, **start.words}, start.source, start.licence, seed)

    def _start(self, name: str, words: dict[str, str], source: str | None, licence: str, seed: int) -> Start:
        turns = self.min_turns + pick(seed, f"turns:{name}", self.max_turns - self.min_turns + 1)
        manner = self.manners[pick(seed, f"manner:{name}", len(self.manners))]
        known = {"turns": str(turns), "manner": manner.name, "system": manner.system, "talk": ""}
        return Start(name, words | known, source, licence)

    def _passages(self, library: Library, seed: int) -> Iterator[Start]:
        lengths = {"min_chars": self.min_chars, "max_chars": self.max_chars}
        for _, passage in library.passages({"ja"}, task=self.label, seed=seed, **lengths):
            yield Start(passage.source, {"passage": passage.text}, passage.source, passage.licence)

    def _keywords(self, library: Library, seed: int) -> Iterator[Start]:
        """A few words each: of the config's, which no two talks have the same of, or of a document."""
        if self.keywords:
            words = sorted(set(self.keywords))
            axes = {str(n): words for n in range(self.together)}
            found = cells(axes, len(words) ** self.together, label=f"{self.label}:keywords", seed=seed)
            rising = ("・".join(cell.values()) for cell in found if _rises(list(cell.values())))
            yield from (Start(some, {"words": some}, None, LICENCE) for some in islice(rising, self.count))
            return
        for document in library.documents("ja"):
            if len(nouns := sorted(_nouns(document.text))) >= self.together:
                some = shuffled(nouns, seed, f"keywords:{document.id}")[: self.together]
                yield Start(
                    f"{document.id}#{'・'.join(some)}", {"words": "・".join(some)}, document.id, document.licence
                )

    def turns(self, step: Step, wording: Wording, work: Work) -> tuple[Turn, ...]:
        """Whoever answers sees the talk as a chat, not as a text."""
        if wording.name != "answer":
            return wording.turns(work.words)
        return self._chat(work)

    def wants(self, step: Step, work: Work) -> bool:
        return not step.name[1:].isdigit() or int(step.name[1:]) <= int(work.words["turns"])

    def read_own(self, step: Step, work: Work, text: str, *, cut_off: bool) -> Reading:
        asks = step.name.startswith("q")
        repaired = repair(text, "ja", cut_off=cut_off)
        said = repaired.text.removeprefix("私:").removeprefix("AI:").strip() if asks else repaired.text
        if step.name == "q1" and "passage" in work.words:
            said = f"{work.words['passage']}\n\n{said}"
        reason = flaw(said, "ja")
        if reason is None and step.name == "q1" and not _has_all(said, work.words.get("words", "")):
            reason = "keyword_missing"
        if reason is None and not asks and not self._manner(work).kept(said):
            reason = "manner_not_kept"
        if reason is None and said in work.words.values():
            reason = "says_it_again"
        talk = f"{work.words['talk']}{'利用者' if asks else 'AI'}: {said}\n"
        return Reading({step.name: said, "talk": talk}, reason, repaired.repairs)

    def finish(self, work: Work) -> Finished:
        return Finished(self._chat(work))

    def _chat(self, work: Work) -> tuple[Turn, ...]:
        """What was said so far, as a chat."""
        words = work.words
        said = [(name, words[name]) for n in range(1, 7) for name in (f"q{n}", f"a{n}") if name in words]
        system = (Turn("system", words["system"]),) if words["system"] else ()
        return *system, *(Turn("user" if name.startswith("q") else "assistant", text) for name, text in said)

    def _manner(self, work: Work) -> Manner:
        return next(manner for manner in self.manners if manner.name == work.words["manner"])

    @model_validator(mode="after")
    def _turns_fit(self) -> Self:
        if self.min_turns > self.max_turns:
            raise ValueError(f"`min_turns` {self.min_turns} is more than `max_turns` {self.max_turns}")
        if self.keywords and self.together > len(set(self.keywords)):
            raise ValueError(f"`together` {self.together} is more than there are `keywords`, {len(set(self.keywords))}")
        return self


def _nouns(text: str) -> set[str]:
    """Nouns of a text, by their looks: of two letters and more, since one kanji alone says little."""
    found = (blank.word for start, end in sentences(text, "ja") for blank in blanks(text[start:end]))
    return {word for word in found if len(word) > 1}


def _rises(words: list[str]) -> bool:
    """Whether words are in their order, and no two the same: of the orders of some words, one."""
    return all(one < other for one, other in pairwise(words))


def _has_all(text: str, words: str) -> bool:
    """Whether every one of some words is in a text.

    >>> _has_all("駅前の図書館へ行きたいです。", "駅・図書館"), _has_all("駅です。", "駅・図書館"), _has_all("はい。", "")
    (True, False, True)
    """
    said = normalized(text)
    return all(normalized(word) in said for word in words.split("・"))
