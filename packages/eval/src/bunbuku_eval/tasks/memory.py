"""Memory over three to six turns: facts told in one turn and asked for in the last, among others of the same kind."""

import random
from collections.abc import Sequence
from typing import ClassVar, Literal

from bunbuku_eval.metrics import exact_match
from bunbuku_eval.tasks.forms import Labelled
from bunbuku_eval.tasks.made import Made
from bunbuku_eval.tasks.task import Category, Question

PEOPLE = ("佐藤さん", "鈴木さん", "高橋さん", "田中さん", "伊藤さん", "渡辺さん", "山本さん", "中村さん")
FACTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (
        "pet",
        "{who}の飼っている動物は{what}です。",
        "{who}の飼っている動物は何ですか。",
        ("柴犬", "三毛猫", "文鳥", "金魚", "うさぎ", "亀"),
    ),
    (
        "town",
        "{who}は{what}に住んでいます。",
        "{who}が住んでいるのはどこですか。",
        ("函館", "金沢", "松本", "尾道", "別府", "高知"),
    ),
    (
        "food",
        "{who}の好きな料理は{what}です。",
        "{who}の好きな料理は何ですか。",
        ("おでん", "親子丼", "冷やし中華", "肉じゃが", "お好み焼き", "茶碗蒸し"),
    ),
    (
        "room",
        "{who}の会議室は{what}号室です。",
        "{who}の会議室は何号室ですか。",
        ("203", "415", "527", "608", "731", "842"),
    ),
    (
        "day",
        "{who}の面接は{what}です。",
        "{who}の面接は何曜日ですか。",
        ("月曜日", "火曜日", "水曜日", "木曜日", "金曜日", "土曜日"),
    ),
)
"""Name, how it is told, how it is asked for, and what it may be."""
SMALL_TALK = (
    ("今日は少し風が強いですね。", "そうですね。お出かけの際はお気を付けください。"),
    ("お茶をいれるなら何度くらいがよいでしょうか。", "緑茶なら70度から80度くらいがよいとされます。"),
    ("最近、本を読む時間がありません。", "通勤の間に少しずつ読むのもよいですね。"),
    ("駅の近くに新しい店ができたそうです。", "それは楽しみですね。"),
)
TOLD = "わかりました。覚えておきます。"


class Memory(Made, Labelled):
    """Facts of two or three people are told; the last turn asks for one. Answers that name another's are wrong."""

    type: Literal["memory"] = "memory"
    max_tokens: int = 32

    category: ClassVar[Category] = "memory"

    def made(self) -> Sequence[Question]:
        return [self._one(at) for at in range(self.count)]

    def score(self, answer: str, question: Question) -> float:
        return exact_match(answer, question.gold[0])

    def _one(self, at: int) -> Question:
        draw = random.Random(f"{self.make_seed}/{at}")
        turns = 3 + at % 4
        kind, told, asked, values = FACTS[draw.randrange(len(FACTS))]
        people = draw.sample(PEOPLE, k=min(turns - 1, 3))
        said = draw.sample(values, k=len(people))
        history = [(told.format(who=who, what=what), TOLD) for who, what in zip(people, said, strict=True)]
        for talk in draw.sample(SMALL_TALK, k=turns - 1 - len(history)):
            history.insert(draw.randint(0, len(history)), talk)
        which = draw.randrange(len(people))
        at_turn = next(n for n, turn in enumerate(history, start=1) if turn[0].startswith(people[which]))
        return Question(
            f"{kind}-{at}",
            {"question": f"{asked.format(who=people[which])}語句だけで答えてください。"},
            (said[which],),
            choices=tuple(said),
            line=at + 1,
            category=f"{turns - at_turn} turns before",
            history=tuple(history),
        )
