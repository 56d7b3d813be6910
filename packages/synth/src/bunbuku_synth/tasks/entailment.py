"""Whether a hypothesis follows from a premise, contradicts it, or neither: small worlds whose facts are known.

Each kind draws a world, says some of it as the premise, and says something true, false or undecided in it as the hypothesis.
"""

from typing import Annotated, Literal

from pydantic import Field

from bunbuku_synth.tasks.family import Dice, Family, Posed
from bunbuku_synth.tasks.forms import FORMS, Form, asking

Label = Literal["entailment", "contradiction", "neutral"]
LABELS: tuple[Label, ...] = ("entailment", "contradiction", "neutral")
NAMES: tuple[tuple[str, str, str], ...] = (
    ("含意", "矛盾", "中立"),
    ("正しい", "誤り", "分からない"),
    ("entailment", "contradiction", "neutral"),
    ("前提から言える", "前提と食い違う", "どちらとも言えない"),
)
"""What the three labels are called, in their order."""
PEOPLE = ("佐藤", "鈴木", "高橋", "田中", "伊藤", "渡辺", "山本", "中村", "小林", "加藤", "吉田", "山田")
_SCALES = (
    ("背が高い", "背が低い"),
    ("年上だ", "年下だ"),
    ("足が速い", "足が遅い"),
    ("給料が高い", "給料が安い"),
    ("家が駅に近い", "家が駅から遠い"),
)
_CLUBS = ("将棋部", "合唱部", "陸上部", "美術部", "放送部", "科学部")
_HAS = (
    "自転車を持っている",
    "犬を飼っている",
    "眼鏡をかけている",
    "電車で通っている",
    "弁当を持ってくる",
    "英語を習っている",
)
_PLACES = ("図書館", "郵便局", "病院", "市役所", "公園", "銀行", "博物館", "体育館")
_ACTS = ("掃除をした", "買い物をした", "手紙を書いた", "散歩をした", "料理をした", "洗濯をした")
_QUESTIONS = (
    "前提を読んで、仮説が前提とどのような関係にあるかを判断してください。\n\n前提: {premise}\n仮説: {hypothesis}\n\n{request}",
    "次の二つの文の関係を答えなさい。\n文1: {premise}\n文2: {hypothesis}\n{request}",
    "「{premise}」\n\nこれだけが分かっているとき、「{hypothesis}」と言えますか。{request}",
)
Kind = Literal["order", "everyone", "count", "time"]
KINDS: tuple[Kind, ...] = ("order", "everyone", "count", "time")


class Entailment(Family):
    """Say whether one sentence follows from another."""

    type: Literal["entailment"] = "entailment"
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = KINDS
    """Comparisons, what all members of a group do, how many there are, what came before what."""
    forms: Annotated[tuple[Form, ...], Field(min_length=1)] = FORMS
    """In which the label is asked for."""

    def pose(self, dice: Dice, number: int) -> Posed:
        label = LABELS[number % 3]
        kind = dice.one("kind", self.kinds)
        premise, hypothesis = _WORLDS[kind](dice, label)
        which = dice.number("names", 0, len(NAMES) - 1)
        form: Form = dice.one("form", self.forms)
        question = dice.number("question", 0, len(_QUESTIONS) - 1)
        asked = asking(form, NAMES[which])
        text = _QUESTIONS[question].format(premise=premise, hypothesis=hypothesis, request=asked.request)
        right = LABELS.index(label)
        name = f"{kind}-{question}-{which}-{form.replace('_', '-')}@1"
        return Posed(name, text, asked.answers[right], asked.answers, right)


def _order(dice: Dice, label: Label) -> tuple[str, str]:
    """Four in an order; the premise says three neighbours, or leaves the middle open."""
    more, less = dice.one("scale", _SCALES)
    first, second, third, fourth = dice.some("people", PEOPLE, 4)
    if label == "neutral":
        # Both are over the same one: which of them is over the other is open.
        premise = [f"{first}は{third}より{more}。", f"{second}は{third}より{more}。", f"{third}は{fourth}より{more}。"]
        upper, lower = first, second
    else:
        premise = [f"{first}は{second}より{more}。", f"{second}は{third}より{more}。", f"{third}は{fourth}より{more}。"]
        upper, lower = dice.one("pair", ((first, third), (first, fourth), (second, fourth)))
    if label == "contradiction":
        upper, lower = lower, upper
    hypothesis = dice.one("side", (f"{upper}は{lower}より{more}。", f"{lower}は{upper}より{less}。"))
    return "".join(dice.some("shown", tuple(premise), 3)), hypothesis


def _everyone(dice: Dice, label: Label) -> tuple[str, str]:
    club, other = dice.some("clubs", _CLUBS, 2)
    does, more = dice.some("does", _HAS, 2)
    person, second = dice.some("people", PEOPLE, 2)
    premise = f"{club}の部員は全員{does}。{person}は{club}の部員だ。{second}は{other}の部員だ。"
    match label:
        case "entailment":
            return premise, f"{person}は{does}。"
        case "contradiction":
            return premise, dice.one("how", (f"{club}には、{_not(does)}部員がいる。", f"{person}は{_not(does)}。"))
        case "neutral":
            return premise, dice.one("how", (f"{second}は{does}。", f"{person}は{more}。"))


def _count(dice: Dice, label: Label) -> tuple[str, str]:
    place = dice.one("place", _PLACES)
    total = dice.number("total", 12, 60)
    part = dice.number("part", 3, total - 3)
    premise = f"今朝、{place}には{total}人の人がいて、そのうち{part}人が子供で、残りは大人だった。"
    adults = total - part
    match label:
        case "entailment":
            least = dice.number("least", 1, adults)
            return premise, dice.one(
                "how", (f"今朝、{place}には大人が{adults}人いた。", f"今朝、{place}には{least}人以上の大人がいた。")
            )
        case "contradiction":
            wrong = adults + dice.number("off", 1, 5)
            return premise, dice.one(
                "how", (f"今朝、{place}には大人が{wrong}人いた。", f"今朝、{place}には{total + 1}人以上の人がいた。")
            )
        case "neutral":
            return premise, dice.one(
                "how",
                (
                    f"今朝、{place}にいた子供のうち{max(1, part // 2)}人は女の子だった。",
                    f"昨日の朝も、{place}には{total}人いた。",
                ),
            )


def _time(dice: Dice, label: Label) -> tuple[str, str]:
    person = dice.one("person", PEOPLE)
    first, second, third, other = dice.some("acts", _ACTS, 4)
    premise = f"{person}は{_te(first)}から{second}。その後で{third}。"
    earlier, later = dice.one("pair", ((first, second), (second, third), (first, third)))
    match label:
        case "entailment":
            return premise, f"{person}が{earlier}のは、{later}のより前だ。"
        case "contradiction":
            return premise, f"{person}が{later}のは、{earlier}のより前だ。"
        case "neutral":
            return premise, dice.one("how", (f"{person}は{other}。", f"{person}は、{earlier}ときに音楽を聞いていた。"))


def _not(does: str) -> str:
    """The negation of one of the listed habits.

    >>> _not("犬を飼っている"), _not("弁当を持ってくる")
    ('犬を飼っていない', '弁当を持ってこない')
    """
    return does.removesuffix("くる") + "こない" if does.endswith("くる") else does.removesuffix("る") + "ない"


def _te(act: str) -> str:
    """Before から.

    >>> _te("掃除をした"), _te("手紙を書いた")
    ('掃除をして', '手紙を書いて')
    """
    return act.removesuffix("た") + "て"


_WORLDS = {"order": _order, "everyone": _everyone, "count": _count, "time": _time}
