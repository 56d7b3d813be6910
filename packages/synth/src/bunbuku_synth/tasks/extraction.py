"""A field, all fields as JSON, or a list of names out of a text that was written around them."""

import json
from typing import Annotated, Literal

from pydantic import Field

from bunbuku_synth.tasks.entailment import PEOPLE
from bunbuku_synth.tasks.family import Dice, Family, Posed

_GIVEN = ("健", "恵", "誠", "葵", "翔", "京子", "和夫", "美穂", "大輔", "直美")
_PLACES = ("中央公民館", "北町図書館", "市民ホール", "青葉会館", "港区役所", "第二体育館", "みどり公園", "駅前広場")
_EVENTS = ("防災訓練", "料理教室", "読書会", "音楽会", "説明会", "写真展", "将棋大会", "英会話講座", "古本市")
_FIELDS = {
    "event": "催し",
    "date": "日付",
    "time": "開始時刻",
    "place": "場所",
    "person": "担当者",
    "fee": "参加費",
    "phone": "電話番号",
}
_TEXTS = (
    "{event}のお知らせです。{date}の{time}から、{place}で行います。参加費は{fee}です。申し込みは{person}（電話{phone}）までお願いします。",
    "いつもお世話になっております。{person}です。このたび{place}で{event}を開くことになりました。日にちは{date}、始まりは{time}です。"
    "費用は{fee}をいただきます。ご不明な点は{phone}にお電話ください。",
    "【{event}】{place}にて開催！ 日時：{date} {time}開始 料金：{fee} 問い合わせ：{phone}（担当 {person}）",
    "来月の予定を伝える。{date}は{event}だ。{place}に{time}までに集まること。一人{fee}を集める。遅れる者は{person}に連絡せよ。番号は{phone}。",
)
Kind = Literal["field", "fields", "names"]
KINDS: tuple[Kind, ...] = ("field", "fields", "names")


class Extraction(Family):
    """Take out of a text what it says."""

    type: Literal["extraction"] = "extraction"
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = KINDS
    """One field; several fields as JSON; all names of persons."""

    def pose(self, dice: Dice, number: int) -> Posed:
        kind = dice.one("kind", self.kinds)
        return _names(dice) if kind == "names" else _notice(dice, one=kind == "field")


def _notice(dice: Dice, *, one: bool) -> Posed:
    values = {
        "event": dice.one("event", _EVENTS),
        "date": f"{dice.number('month', 1, 12)}月{dice.number('day', 1, 28)}日",
        "time": f"{dice.number('hour', 9, 19)}時" + dice.one("minutes", ("", "30分", "15分")),
        "place": dice.one("place", _PLACES),
        "person": dice.one("person", PEOPLE) + dice.one("given", _GIVEN),
        "fee": f"{dice.number('fee', 1, 40) * 100}円",
        "phone": f"0{dice.number('area', 10, 99)}-{dice.number('exchange', 100, 999)}-{dice.number('line', 1000, 9999)}",
    }
    which = dice.number("text", 0, len(_TEXTS) - 1)
    text = _TEXTS[which].format(**values)
    if one:
        field = dice.one("field", tuple(_FIELDS))
        said = dice.one(
            "ask",
            (
                f"次の文章から{_FIELDS[field]}を抜き出し、それだけを答えてください。\n\n{text}",
                f"{text}\n\n{_FIELDS[field]}は何ですか。文章にある通りに、余計な言葉を付けずに書いてください。",
            ),
        )
        return Posed(f"field-{which}@1", said, values[field])
    fields = dice.some("fields", tuple(_FIELDS), dice.number("how-many", 2, 4))
    keys = "、".join(f'"{field}"（{_FIELDS[field]}）' for field in fields)
    said = f"次の文章から情報を抜き出し、キーが {keys} であるJSONだけを、この順に書いてください。\n\n{text}"
    answer = json.dumps({field: values[field] for field in fields}, ensure_ascii=False)
    return Posed(f"fields-{which}@1", said, answer)


def _names(dice: Dice) -> Posed:
    people = [family + dice.one(f"given{n}", _GIVEN) for n, family in enumerate(dice.some("people", PEOPLE, 4))]
    count = dice.number("count", 2, 4)
    events = dice.some("events", _EVENTS, count)
    places = dice.some("places", _PLACES, count)
    text = "".join(
        dice.one(f"how{n}", ("{p}さんは{w}で{e}を手伝った。", "{e}には{p}さんが来た。会場は{w}だった。")).format(
            p=people[n], e=events[n], w=places[n]
        )
        for n in range(count)
    )
    separator, how = dice.one(
        "separator", (("、", "「、」で区切って"), ("\n", "一行に一人ずつ"), (", ", "「, 」で区切って"))
    )
    said = f"次の文章に出てくる人の名前を、敬称を除き、出てくる順に{how}すべて書いてください。\n\n{text}"
    return Posed("names@1", said, separator.join(people[:count]))
