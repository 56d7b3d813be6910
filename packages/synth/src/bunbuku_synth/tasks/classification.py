"""Which class a word or a sentence is in: the classes are lists, and sentences are built of what makes them of their class."""

from typing import Annotated, Literal

from pydantic import Field

from bunbuku_synth.tasks.family import Dice, Family, Posed
from bunbuku_synth.tasks.forms import FORMS, Form, asking

WORDS: dict[str, tuple[str, ...]] = {
    "動物": ("犬", "猫", "馬", "狸", "狐", "鹿", "熊", "猿", "兎", "牛", "羊", "象"),
    "野菜": ("大根", "人参", "白菜", "ほうれん草", "玉ねぎ", "ごぼう", "レタス", "かぼちゃ", "きゅうり", "なす"),
    "乗り物": ("自転車", "電車", "バス", "飛行機", "船", "タクシー", "地下鉄", "オートバイ", "新幹線"),
    "楽器": ("ピアノ", "三味線", "太鼓", "尺八", "ギター", "フルート", "琴", "トランペット", "バイオリン"),
    "文房具": ("鉛筆", "消しゴム", "定規", "はさみ", "のり", "万年筆", "ホチキス", "付箋"),
    "天気": ("雨", "雪", "晴れ", "曇り", "霧", "雷雨", "吹雪", "みぞれ"),
    "家具": ("机", "椅子", "本棚", "たんす", "ソファ", "食器棚", "ベッド"),
    "職業": ("医者", "看護師", "大工", "消防士", "美容師", "弁護士", "漁師", "料理人"),
}
_PRAISED = ("料理", "部屋", "店員の対応", "景色", "音楽", "説明", "椅子の座り心地", "画面", "香り", "値段")
_GOOD = ("とても良かった", "期待以上だった", "申し分なかった", "大満足だ", "素晴らしかった")
_BAD = ("ひどかった", "期待外れだった", "残念だった", "不満が残った", "最悪だった")
_AGAIN = {
    "肯定的": ("また来たいと思う。", "人にも勧めたい。", "買ってよかった。"),
    "否定的": ("二度と来ない。", "人には勧めない。", "お金を返してほしい。"),
}
_WHO = ("先生", "弟", "隣の人", "課長", "祖母", "店長", "友人")
_DOES = (
    ("本を読む", "本を読め", "本を読んだ"),
    ("駅へ行く", "駅へ行け", "駅へ行った"),
    ("窓を開ける", "窓を開けろ", "窓を開けた"),
    ("手紙を書く", "手紙を書け", "手紙を書いた"),
)
Kind = Literal["word", "sentiment", "mood"]
KINDS: tuple[Kind, ...] = ("word", "sentiment", "mood")


class Classification(Family):
    """Say which class a word or a sentence is in."""

    type: Literal["classification"] = "classification"
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = KINDS
    """What a word names; whether a review praises; whether a sentence asks, orders or states."""
    forms: Annotated[tuple[Form, ...], Field(min_length=1)] = FORMS

    def pose(self, dice: Dice, number: int) -> Posed:
        kind = dice.one("kind", self.kinds)
        text, labels, right = _WORLDS[kind](dice, number)
        form: Form = dice.one("form", self.forms)
        asked = asking(form, labels)
        return Posed(
            f"{kind}-{form.replace('_', '-')}@1", f"{text}\n{asked.request}", asked.answers[right], asked.answers, right
        )


def _word(dice: Dice, number: int) -> tuple[str, tuple[str, ...], int]:
    count = dice.number("classes", 3, 5)
    classes = dice.some("class", tuple(WORDS), count)
    right = number % count
    word = dice.one("word", WORDS[classes[right]])
    ask = dice.one(
        "ask",
        (
            f"「{word}」は何の仲間ですか。",
            f"次の言葉を分類してください。\n言葉: {word}",
            f"「{word}」が属する分類を選びなさい。",
        ),
    )
    return ask, tuple(classes), right


def _sentiment(dice: Dice, number: int) -> tuple[str, tuple[str, ...], int]:
    labels = ("肯定的", "否定的")
    right = number % 2
    first, second = dice.some("what", _PRAISED, 2)
    one, other = dice.some("how", _BAD if right else _GOOD, 2)
    text = f"{first}は{one}。{second}も{other}。" + dice.one("again", _AGAIN[labels[right]])
    ask = dice.one(
        "ask", (f"次の感想は肯定的ですか、否定的ですか。\n{text}", f"感想の極性を判定してください。\n感想: {text}")
    )
    return ask, labels, right


def _mood(dice: Dice, number: int) -> tuple[str, tuple[str, ...], int]:
    labels = ("疑問文", "命令文", "平叙文")
    right = number % 3
    _plain, order, past = dice.one("does", _DOES)
    who = dice.one("who", _WHO)
    when = dice.one("when", ("今朝", "昨日", "さっき", "先週"))
    sentence = (
        f"{when}、{who}は{past}か。",
        f"{dice.one('now', ('早く', '今すぐ', '明日までに'))}{order}。",
        f"{when}、{who}は{past}。",
    )[right]
    return f"次の文の種類を答えてください。\n文: {sentence}", labels, right


_WORLDS = {"word": _word, "sentiment": _sentiment, "mood": _mood}
