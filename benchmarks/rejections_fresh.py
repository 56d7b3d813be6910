"""Spam that no threshold was found on, of nine kinds: what `bench_corpus_rejections.py report` is told on.

It was written before `odd_joints` and `cut_off` and shares no word list, no sentence and no layout with
`rejections_spam.py` and `rejections_unseen.py`, which thresholds were found on since. The kinds are the same nine, since these are
what is asked for; how a page of a kind is made differs. `unlisted` of the benchmark refuses a page in which a word of the package's
lists stands.
"""

import random
import re
from collections.abc import Callable, Sequence
from itertools import product

type Made = Callable[[random.Random], str]

_GOODS = (
    "浮き輪", "水着", "日傘", "麦わら帽子", "作業着", "長靴", "軍手", "耳栓", "アイマスク", "抱き枕", "毛抜き", "爪切り", "綿棒", "歯間ブラシ",
    "ハンドクリーム", "日焼け止め", "洗顔料", "鼻毛カッター", "低周波治療器", "磁気ネックレス", "青竹踏み", "ぶら下がり健康器", "鉄アレイ", "縄跳び",
    "卓球台", "バドミントンラケット", "野球グローブ", "スノーボード", "ルアー", "クーラーボックス", "炭火コンロ", "飯ごう", "蚊取り線香", "殺虫剤",
    "ペット用シーツ", "鳥かご", "熱帯魚用ヒーター", "盆栽鉢", "芝刈り機", "高圧洗浄機", "インパクトドライバー", "電動のこぎり", "塗料", "接着剤",
    "段ボール箱", "緩衝材", "ラベルシール", "シュレッダー",
)  # fmt: skip
_MAKES = (
    "アルファ工房",
    "山川製作所",
    "北欧風",
    "日本製",
    "イタリア製",
    "限定色",
    "廉価版",
    "プロ仕様",
    "お徳用",
    "旧モデル",
)
_COLOURS = ("レッド", "ネイビー", "カーキ", "ベージュ", "シルバー", "透明", "花柄", "水玉")


def listed(chance: random.Random) -> str:
    """A shop's table: numbers, names, colours, prices and stock in columns."""
    mark = chance.choice(("\t", "｜", "  "))
    rows = []
    for _ in range(chance.randint(15, 45)):
        number = f"{chance.choice('ABKMTX')}{chance.choice('CDRSW')}-{chance.randint(100, 9999)}"
        name = f"{chance.choice(_MAKES)}{mark}{chance.choice(_GOODS)}{mark}{chance.choice(_COLOURS)}"
        rows.append(f"{number}{mark}{name}{mark}￥{chance.randint(2, 480) * 50}{mark}在庫{chance.choice('○△×')}")
    return "\n".join(rows)


_SOLD = (
    "矯正歯科", "屋根の葺き替え", "自毛植毛", "ファクタリング", "オンライン占い", "結婚指輪", "人間ドック", "ロボット掃除機", "電力の乗り換え",
    "害獣対策", "相続登記", "介護ベッド", "養毛トニック", "腸活サプリ", "副業スクール", "レーシック", "ドライブレコーダー", "二重整形", "墓じまい", "断熱窓",
)  # fmt: skip
_SELLS = (
    "{0}って、一生のうちに何度も経験するものではありません。", "そのため、{0}の良し悪しを自分で見抜くのは難しいのです。",
    "筆者も{0}のことで半年ほど悩んだ一人です。", "本記事では、{0}の選択肢を十五社から絞り込みました。",
    "まず押さえておきたいのは、{0}にはいくつかの型があるという点です。", "都市部と地方では{0}の値段が倍近く違います。",
    "{0}の口約束ほどあてにならないものはありません。", "担当者が{0}の欠点まで話してくれるかどうかを見てください。",
    "悪い評判が多い{0}には理由があります。", "実は、{0}は時期をずらすだけで一割以上も安くなります。",
    "二十代の女性の七割が{0}を検討したことがあると答えました。", "{0}をするなら春先がねらい目です。",
    "返金に応じてくれる{0}なら、万が一のときも困りません。", "手続きが面倒だと思われがちな{0}ですが、やってみると拍子抜けします。",
    "編集部のいち押しは、全国に支店を持つ{0}です。", "迷う時間がもったいないので、{0}の資料だけでも取り寄せましょう。",
    "家計を見直すうえでも{0}は避けて通れません。", "次の章では{0}の流れを五段階に分けて説明します。",
    "最近は{0}をスマホだけで済ませる人が主流になりました。", "それでも{0}が不安なら、経験者に聞くのがいちばんです。",
)  # fmt: skip
_BESIDE = (
    "うのみにするのは危険です。", "細かい条件は公式の案内で確かめてください。", "相談だけなら費用は要りません。", "早い人はその日のうちに決めています。",
    "ここで差がつきます。", "ちょっと意外ですよね。",
)  # fmt: skip


def about(chance: random.Random) -> str:
    """An article that turns around what it sells, in most of its sentences."""
    key = chance.choice(_SOLD)
    said = [one.format(key) for one in chance.sample(_SELLS, chance.randint(9, 18))]
    for _ in range(chance.randint(0, len(said) // 5)):
        said.insert(chance.randrange(len(said)), chance.choice(_BESIDE))
    lines: list[str] = []
    while said:
        lines.append("".join(said[: (take := chance.randint(1, 4))]))
        said = said[take:]
    return "\n".join(lines)


_DREAMS = ("早口言葉", "二重まぶた", "志望校", "モテ期", "肩こり", "第二外国語", "ゴルフの飛距離", "花粉", "寝坊", "人見知り", "物忘れ", "猫背", "貯金", "面接", "断捨離")  # fmt: skip
_CRIES = (
    "まさか{0}がこんなに簡単だったなんて！", "{0}を笑う者は{0}に泣く！", "全国の家庭が大騒ぎ！", "さらば{0}！！", "待ってました、{0}の決定打！",
    "{0}に悩む時代は終わりました！", "読むだけで{0}！！", "知る人ぞ知る{0}の抜け道！", "累計八万部突破！！！", "{0}、これが答えだ！", "やらなきゃ損、{0}！",
    "もう後戻りできない{0}の世界へようこそ！", "先生も{0}にびっくり仰天！", "締め切り間近！急げ！",
)  # fmt: skip


def yelled(chance: random.Random) -> str:
    """Headlines that cry, some of them with a line of their own."""
    return "".join(
        chance.choice(_CRIES).format(chance.choice(_DREAMS)) + chance.choice(("", "\n", "★"))
        for _ in range(chance.randint(14, 35))
    )


_NAMES = (
    "鉛筆", "大統領", "味噌汁", "自転車置き場", "星座", "弟", "原稿", "井戸", "ガラス", "洗濯機", "経済", "羊", "交差点", "漢字", "瓦", "温泉", "市長", "葡萄",
    "台所", "踊り子", "貨物船", "算数", "毛糸", "停電", "化石", "領収書", "雷", "歯車", "孫", "灯台", "制服", "塩", "討論", "梯子", "風船", "郵便局", "睡眠", "竹",
    "望遠鏡", "踏切", "監督", "暖炉", "岬", "消しゴム", "茶碗", "合唱",
)  # fmt: skip
_ENDS = ("植えた", "揺れている", "長い", "許しません", "漏れる", "測られた", "遅かった", "飼うだろう", "折れて", "眩しい", "配った", "溶けません", "集めていた", "失くす", "乾いた", "騒ぐ")  # fmt: skip
_TIES = ("を", "が", "は", "の", "に", "へ", "で", "も", "と", "や", "まで", "だけ", "ほど")


def mixed(chance: random.Random) -> str:
    """Nouns and particles as they come, sentences of uneven length, with commas."""
    said: list[str] = []
    for _ in range(chance.randint(12, 26)):
        parts = [chance.choice(_NAMES) + chance.choice(_TIES) for _ in range(chance.randint(3, 8))]
        if chance.random() < 0.4:
            parts.insert(chance.randrange(1, len(parts)), "、")
        said.append("".join(parts) + chance.choice(_ENDS) + "。")
    return chance.choice(("", "\n")).join(said)


_TOWNS = (
    "旭川", "盛岡", "郡山", "水戸", "川越", "船橋", "立川", "藤沢", "甲府", "富山", "金沢", "福井", "豊橋", "津", "大津", "奈良", "姫路", "倉敷", "福山", "徳島",
    "高知", "久留米", "佐世保", "宮崎",
)  # fmt: skip
_WORKS = (
    "畳 張り替え",
    "庭木 剪定",
    "探偵",
    "行政書士",
    "ネイル",
    "引っ越し 単身",
    "車検",
    "網戸",
    "合鍵",
    "遺影 写真",
    "ドローン 空撮",
)
_ASKED = ("安い", "おすすめ店", "当日", "学割", "深夜", "女性スタッフ", "出張", "何日", "選び方", "ランク")


def gated(chance: random.Random) -> str:
    """Towns, trades and questions in a row of links."""
    works, asked = chance.sample(_WORKS, 3), chance.sample(_ASKED, 4)
    links = [
        f"{town}の{work}を{how}で探す" if chance.random() < 0.2 else f"{town} {work} {how}"
        for town, work, how in product(_TOWNS, works, asked)
    ]
    return chance.choice(("\n", "　", " » ", "／")).join(chance.sample(links, chance.randint(25, 80)))


_PEOPLE = ("さやか", "れいな", "ともみ", "アキ", "はるか", "ミホ", "じゅんこ", "カレン", "千夏")
_OPEN = (
    "こんばんは、{0}です。",
    "{0}より、最後のお知らせです。",
    "急なメールでびっくりさせたらごめんね、{0}です。",
    "あのときの{0}です。",
)
_TELLS = (
    "{1}から上京して{2}か月、友達がまだいません。", "亡くなった父の会社を{1}で継ぎました。", "{3}万円の受け取り手続きがまだのようです。",
    "お会いできる日を{2}日後に決めてもいいですか。", "{1}駅の近くでひとりで暮らしています。", "写真を送りたいので別の連絡先を教えてほしいな。",
    "弁護士を通じて{3}万円をお預かりしています。", "このあいだの件、{1}の友人にも相談しました。",
)  # fmt: skip
_CLOSE = (
    "お返事をお待ちしています。",
    "今日中に決めてください。",
    "会ってくれたら全部話します。",
    "ここだけの秘密にしてね。",
)


def wooed(chance: random.Random) -> str:
    """What strangers write, several letters below each other."""
    letters = []
    for _ in range(chance.randint(4, 11)):
        fill = (chance.choice(_PEOPLE), chance.choice(_TOWNS), chance.randint(2, 28), chance.randint(3, 70) * 10)
        said = [chance.choice(_OPEN), *chance.sample(_TELLS, chance.randint(2, 4)), chance.choice(_CLOSE)]
        letters.append("".join(one.format(*fill) for one in said))
    return chance.choice(("\n", "\n---\n", "")).join(letters)


_TURNS = (
    (("冬場の", "共働き家庭の", "在宅勤務の", "忙しい人の"), ("台所", "玄関", "机まわり", "クローゼット", "寝室"), ("こそ", "は特に", "なら"), ("工夫しだいで", "ほんのひと手間で", "道具ひとつで"), ("見違えます。", "使いやすくなります。", "気持ちのいい場所になります。")),
    (("多くの人が", "プロほど", "意外にも私たちは", "昔の人は"), ("色", "高さ", "順番", "素材", "置き場所"), ("を気にしません。", "にこだわります。", "から考え始めます。", "を見落とします。")),
    (("一週間", "ひと月", "半年", "三日"), ("も続ければ", "たつころには", "過ぎると"), ("体が", "周りが", "暮らし全体が"), ("軽く感じられます。", "応えてくれます。", "落ち着いてきます。")),
    (("要するに", "言いかえれば", "とどのつまり", "忘れてならないのは"), ("頑張ること", "お金をかけること", "人と比べること", "急ぐこと"), ("が目的ではない", "では解決しない", "から離れるべきだ"), ("ということです。", "のです。", "と考えてください。")),
    (("ある調査では", "知人の話では", "専門誌によると"), ("三割", "半数以上", "九割近く"), ("の人が", "の家庭が", "の職場が"), ("後悔したそうです。", "満足しているとのことです。", "やり方を変えたそうです。")),
)  # fmt: skip


def turned(chance: random.Random) -> str:
    """Sentences from slots with synonyms, of five frames, some lines with a heading."""
    said: list[str] = []
    for _ in range(chance.randint(12, 26)):
        said.append("".join(chance.choice(slot) for slot in chance.choice(_TURNS)))
    return "".join(one + ("\n" if chance.random() < 0.3 else "") for one in said).strip()


_SITES = (
    "みんなの掲示板",
    "まとめ速報",
    "質問箱",
    "○○市公式ホームページ",
    "ブログ日和",
    "用語辞典",
    "PDF資料",
    "ニュース一覧",
)


def results(texts: Sequence[str]) -> Made:
    """What a search engine's page says of other pages: a title, where it is, when, and a piece of the text that is cut off."""

    def make(chance: random.Random) -> str:
        found: list[str] = []
        dots = chance.choice(("...", "…", " ...", "・・・"))
        before = chance.random() < 0.5
        for _ in range(chance.randint(8, 25)):
            text = chance.choice(texts).replace("\n", "")
            start = chance.randrange(max(len(text) - 120, 1))
            title = text[start : start + chance.randint(12, 25)] + dots
            date = chance.choice((f"{chance.randint(1, 11)}か月前", f"20{chance.randint(10, 23)}/0{chance.randint(1, 9)}/1{chance.randint(0, 9)}", ""))  # fmt: skip
            piece = text[start + 30 : start + chance.randint(80, 120)]
            found.append(f"{title} - {chance.choice(_SITES)}\n{date} {dots if before else ''}{piece}{dots}")
        return "\n".join(found)

    return make


_PART = re.compile(r"[一-鿿々]{1,2}|[ァ-ヺー]+|[ぁ-ゖ]{1,4}|[A-Za-z]+|\d+")


def stirred(texts: Sequence[str]) -> Made:
    """Sentences of a real text whose words stand in another order each, its marks where they were."""

    def make(chance: random.Random) -> str:
        text = chance.choice(texts)
        said: list[str] = []
        for sentence in re.split(r"(?<=[。\n])", text):
            marks = re.split(r"([、。「」（）\n])", sentence)
            words = [word for part in marks[::2] for word in _PART.findall(part)]
            counts = [len(_PART.findall(part)) for part in marks[::2]]
            chance.shuffle(words)
            for count, mark in zip(counts, [*marks[1::2], ""], strict=True):
                said.append("".join(words[:count]) + mark)
                words = words[count:]
        return "".join(said)

    return make


FRESH: dict[str, Made] = {
    "wares with prices": listed,
    "around a key word": about,
    "cries": yelled,
    "word salad of 46 nouns": mixed,
    "doorways": gated,
    "strangers' greetings": wooed,
    "spun sentences": turned,
}
"""Kinds that are made of words alone; `results` and `stirred` take texts."""
