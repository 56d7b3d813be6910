"""Instructions with constraints that a program can check: JSON, points, length, words, letters of one kind."""

import random
from collections.abc import Callable, Sequence
from typing import Literal

from bunbuku_eval.tasks.checks import Characters, Check, Ending, Json, Points, Script, Sentences, Starting, Words
from bunbuku_eval.tasks.made import Checked
from bunbuku_eval.tasks.task import Question

TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("梅雨の時期の過ごし方を教えてください。", ("傘", "湿気")),
    ("朝早く起きるための工夫を教えてください。", ("習慣", "睡眠")),
    ("初めて自炊をする人への助言を書いてください。", ("包丁", "調味料")),
    ("図書館の魅力を紹介してください。", ("静か", "本")),
    ("運動を続けるこつを説明してください。", ("目標", "毎日")),
    ("京都を一日で巡る計画を立ててください。", ("寺", "電車")),
    ("猫と暮らすときの注意を書いてください。", ("餌", "健康")),
    ("引っ越しの前に確かめることを挙げてください。", ("契約", "荷物")),
    ("夏の暑さへの備えを説明してください。", ("水分", "日陰")),
    ("友人に贈る本の選び方を書いてください。", ("好み", "予算")),
    ("地震に備えて家に置く物を教えてください。", ("水", "懐中電灯")),
    ("会議を短く終えるやり方を提案してください。", ("議題", "時間")),
    ("家庭菜園の始め方を説明してください。", ("土", "種")),
    ("自転車の手入れについて書いてください。", ("空気", "油")),
    ("日本茶のいれ方を教えてください。", ("湯", "急須")),
    ("旅先で道に迷ったときにすることを書いてください。", ("地図", "駅")),
)
KEYS = (("題名", "要約"), ("名前", "理由", "注意"), ("一番目", "二番目"), ("title", "steps"))

type Maker = Callable[[random.Random, tuple[str, ...]], tuple[Check, ...]]


def _length(draw: random.Random) -> Characters:
    most = draw.choice((40, 60, 100, 200))
    return Characters(least=draw.choice((0, most // 2)), most=most)


MAKERS: tuple[tuple[str, Maker], ...] = (
    ("json", lambda draw, words: (Json(keys=draw.choice(KEYS)),)),
    ("points", lambda draw, words: (Points(count=draw.randint(2, 7)),)),
    ("length", lambda draw, words: (_length(draw),)),
    ("sentences", lambda draw, words: (Sentences(count=draw.randint(1, 5)),)),
    ("present", lambda draw, words: (Words(present=words),)),
    ("absent", lambda draw, words: (Words(absent=words),)),
    ("hiragana", lambda draw, words: (Script(script="hiragana"),)),
    ("katakana", lambda draw, words: (Script(script="katakana"),)),
    ("ending", lambda draw, words: (Ending(ending=draw.choice(("ます", "です", "のだ"))),)),
    ("starting", lambda draw, words: (Starting(start=draw.choice(("結論から言うと", "まず", "【回答】"))),)),
    ("two", lambda draw, words: (Points(count=draw.randint(2, 5)), Words(present=words[:1]))),
    ("three", lambda draw, words: (_length(draw), Words(present=words[:1], absent=words[1:]), Ending(ending="ます"))),
)
"""Kinds of constraint, single and together."""


class Instructions(Checked):
    type: Literal["instructions"] = "instructions"

    def made(self) -> Sequence[Question]:
        found: list[Question] = []
        for at in range(self.count):
            kind, maker = MAKERS[at % len(MAKERS)]
            draw = random.Random(f"{self.make_seed}/{at}")
            topic, words = TOPICS[draw.randrange(len(TOPICS))]
            checks = maker(draw, words)
            said = "".join(check.said for check in checks)
            found.append(
                Question(
                    f"{kind}-{at}", {"question": f"{topic}{said}"}, (said,), line=at + 1, category=kind, checks=checks
                )
            )
        return found
