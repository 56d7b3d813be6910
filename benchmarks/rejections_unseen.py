"""Spam that thresholds of `web` were found on, of nine kinds; figures of 2026-11-30 were told on it before.

It was written before the filters of phrasing and shares no word list and no sentence with `rejections_spam.py`. Three kinds are of the form
of earlier ones with other words, other sentences and larger vocabularies; six have no counterpart there. `unlisted` of the benchmark refuses
a page in which a word of the package's lists stands.
"""

import random
import re
from collections.abc import Callable, Sequence
from itertools import product

type Made = Callable[[random.Random], str]

_THINGS = (
    "トレッキングシューズ", "レインコート", "ダウンベスト", "折りたたみ傘", "電気毛布", "空気清浄機", "コーヒーメーカー", "圧力鍋",
    "まな板", "砥石", "体重計", "血圧計", "電動歯ブラシ", "ひげそり", "ヘアアイロン", "アイシャドウ", "乳液", "入浴剤", "猫砂", "犬用首輪",
    "金魚鉢", "園芸ばさみ", "植木鉢", "脚立", "工具箱", "懐中電灯", "防犯カメラ", "延長コード", "外付けハードディスク", "液晶モニター",
    "三脚", "交換レンズ", "双眼鏡", "天体望遠鏡", "将棋盤", "碁石", "万年筆", "システム手帳", "書道セット", "学習机", "座椅子", "こたつ",
)  # fmt: skip
_QUALITIES = (
    "軽量",
    "防水",
    "大容量",
    "静音",
    "国産",
    "業務用",
    "コンパクト",
    "新型",
    "二個組",
    "黒",
    "白",
    "紺",
    "木目",
    "ステンレス製",
)
_SIZES = ("Mサイズ", "Lサイズ", "27.5cm", "1.5L", "500g", "60W", "8畳用", "A4判", "12本入り", "2024年モデル")


def priced(chance: random.Random) -> str:
    """Names of wares with sizes and prices: a shop's page without a sentence."""
    lines = []
    for _ in range(chance.randint(20, 50)):
        name = " ".join((chance.choice(_QUALITIES), chance.choice(_THINGS), chance.choice(_SIZES)))
        lines.append(
            f"{name} {chance.randrange(98, 30_000) * 10:,}円{chance.choice(('（税込）', '', '～', ' 残り3点'))}"
        )
    return chance.choice(("\n", " ", " / ")).join(lines)


_KEYS = (
    "外壁塗装", "白アリ駆除", "骨盤矯正", "遺品整理", "仮想通貨", "投資用マンション", "育毛シャンプー", "通信制高校", "婚活パーティー", "蓄電池",
    "プロテイン", "浄水器", "宅配弁当", "永久歯", "葬儀", "痩身エステ", "自動車保険", "中古スマホ", "家庭教師", "鍵", "畳", "墓石",
)  # fmt: skip
_ABOUT = (
    "近ごろ{0}のことで頭を抱えている方が増えているそうです。", "{0}の相場って、正直よく分かりませんよね。",
    "そこで今回は{0}にくわしいスタッフが本音でお話しします。", "結論から言うと、{0}は業者選びで九割が決まります。",
    "とはいえ、{0}の会社は全国に数えきれないほどあります。", "わが家でも去年の秋に{0}を頼みました。",
    "比較サイトで{0}を調べてみると、評判はさまざまでした。", "{0}にかかる日数はおよそ一週間から十日です。",
    "見積もりを三社から取れば、{0}の費用はぐっと下がります。", "電話一本で{0}の相談に乗ってくれるところもあります。",
    "{0}で損をした人に共通しているのは、急いで契約してしまったことです。", "{0}の契約書は隅々まで読みましょう。",
    "{0}のプロが教える三つのコツを紹介します。", "一つ目のコツは、{0}の実績を数字で聞くことです。",
    "二つ目は、{0}の保証がいつまで続くかを確かめることです。", "最後は、{0}のあとの手入れまで任せられるかどうかです。",
    "ここまで読んだあなたは、もう{0}で失敗しません。", "{0}の比較表はこちらからダウンロードできます。",
    "{0}なら当サイトの一括見積もりが便利です。", "たった六十秒の入力で{0}の料金が分かります。",
)  # fmt: skip
_ASIDE = (
    "そんな声をよく耳にします。", "意外と知られていませんが、これは本当の話です。", "迷ったら、まず話だけでも聞いてみてください。",
    "もちろん、しつこい勧誘は一切ありません。", "実際に使った方の感想をご覧ください。", "安さだけで飛びつくのは考えものです。",
    "土日も夜九時まで受け付けています。", "家族みんなが笑顔になりました。",
)  # fmt: skip


def around(chance: random.Random) -> str:
    """Sentences of which three quarters or more name the thing that is sold, none of them twice."""
    key = chance.choice(_KEYS)
    said = [one.format(key) for one in chance.sample(_ABOUT, chance.randint(8, 16))]
    said += chance.sample(_ASIDE, chance.randint(0, len(said) // 4))
    chance.shuffle(said)
    return "".join(one + ("\n" if chance.random() < 0.3 else "") for one in said).strip()


_BOASTS = (
    "英検一級", "ぽっこりお腹", "宝くじ", "老眼", "カラオケ", "早起き", "株主優待", "ギター", "片づけ", "くせ毛", "いびき", "腰痛",
)  # fmt: skip
_SHOUTS = (
    "{0}がたった3日で？！", "もう{0}であきらめない☆", "{0}、ウソでしょ！？と言われたい人へ！", "奇跡の{0}メソッド、ここだけで公開♪",
    "知らないと大損！{0}の新常識！", "あの有名人も夢中！{0}革命！！", "ズボラでもOK！{0}はほったらかしで！", "満足度98％、{0}の決定版！",
    "今夜0時で終了！{0}のすべて！！", "やった人から変わっていく、それが{0}！", "{0}の先生が泣いて止めた方法とは…！",
    "先着100名！{0}の動画をプレゼント！", "疑う人ほどハマる{0}！！！",
)  # fmt: skip


def cried(chance: random.Random) -> str:
    """One cry after another, of a dozen about a dozen things."""
    mark = chance.choice(("", "\n", " "))
    return mark.join(chance.choice(_SHOUTS).format(chance.choice(_BOASTS)) for _ in range(chance.randint(15, 40)))


_NOUNS = (
    "石油", "蜂蜜", "裁判所", "ピアノ", "水曜日", "階段", "農家", "選挙", "毛布", "天気", "体育館", "切符", "絵本", "火山", "銀河", "妹",
    "議長", "冷蔵庫", "畑", "哲学", "船長", "湖", "靴下", "演説", "秘密", "昆虫", "橋", "法律", "おにぎり", "太鼓", "図書館", "看護師",
    "砂糖", "工場", "影", "遠足", "眼鏡", "屋根", "切手", "バス停",
)  # fmt: skip
_DOES = ("落とした", "数えている", "甘かった", "光りません", "塞がるだろう", "運びました", "青い", "泳いでいた", "曲がる", "笑われた", "足りない", "始まった", "静まり返る", "拾えば")  # fmt: skip
_LINKS = ("は", "が", "を", "に", "で", "と", "の", "も", "から", "まで", "より", "など")


def jumbled(chance: random.Random) -> str:
    """Nouns and particles in any order, of forty nouns."""
    said = []
    for _ in range(chance.randint(14, 30)):
        parts = [chance.choice(_NOUNS) + chance.choice(_LINKS) for _ in range(chance.randint(2, 7))]
        said.append("".join(parts) + chance.choice(_DOES) + chance.choice("。。。、"))
    return "".join(said)


_PLACES = (
    "札幌", "仙台", "さいたま", "千葉", "横浜", "新潟", "静岡", "浜松", "名古屋", "京都", "堺", "神戸", "岡山", "広島", "北九州", "熊本", "那覇",
    "宇都宮", "長野", "岐阜", "高松", "松山", "大分", "鹿児島",
)  # fmt: skip
_TRADES = (
    "水漏れ 修理",
    "鍵 交換",
    "エアコン 掃除",
    "蜂の巣 駆除",
    "ピアノ 買取",
    "着物 レンタル",
    "税理士",
    "整体",
    "雨漏り",
    "解体 工事",
)
_HOW = ("24時間", "即日", "土日", "料金", "費用", "評判", "相場", "駅近", "夜間", "一覧")


def doorway(chance: random.Random) -> str:
    """Places, trades and what people ask for: a page that search engines are to find."""
    phrases = [" ".join(one) for one in product(_PLACES, chance.sample(_TRADES, 3), chance.sample(_HOW, 3))]
    return chance.choice(("\n", "、", " | ")).join(chance.sample(phrases, chance.randint(30, 90)))


_WHO = ("ゆかり", "まりあ", "ナナ", "みさき", "りょうこ", "エミ", "かおる", "しのぶ")
_HELLO = (
    "はじめまして、{0}です。",
    "{0}といいます。突然ごめんなさい。",
    "久しぶり！{0}だけど覚えてる？",
    "{0}と申します、よろしくね。",
)
_STORY = (
    "{1}に住んでいる{2}歳の会社員です。", "{1}で一人暮らしを始めて半年になります。", "夫は単身赴任で、{1}の家にはほとんど帰ってきません。",
    "前に{1}の集まりで一度お会いした気がします。", "主人の遺産が{3}万円ほどあって、使い道に困っています。",
    "お礼に{3}万円を受け取ってもらえませんか。", "プロフィールを見て、どうしても話したくなりました。", "携帯を替えたので、こちらの宛先に返事をください。",
)  # fmt: skip
_BYE = (
    "返信待ってるね。",
    "あなただけに送っています。",
    "下のページから私の写真が見られるよ。",
    "今夜あいてますか？",
    "登録は一分で済みます。",
)


def greeted(chance: random.Random) -> str:
    """Messages of strangers who want an answer, a handful of them on a page."""

    def message() -> str:
        said = [chance.choice(_HELLO), *chance.sample(_STORY, chance.randint(2, 4)), chance.choice(_BYE)]
        fill = (chance.choice(_WHO), chance.choice(_PLACES), chance.randint(19, 45), chance.randint(2, 90) * 10)
        return "".join(one.format(*fill) for one in said)

    return chance.choice(("\n", "\n\n", "")).join(message() for _ in range(chance.randint(4, 12)))


_SPIN = (
    ("毎日の{}を", ("暮らし", "食事", "通勤", "家事", "仕事", "睡眠")), ("{}見直すことで、", ("少しだけ", "根本から", "楽しく", "無理なく")),
    ("{}は", ("私たちの体", "心と体", "お財布", "人間関係", "将来の自分")), ("{}変わっていきます。", ("確実に", "みるみる", "自然と", "目に見えて")),
)  # fmt: skip
_SPIN_MORE = (
    (("専門家", "愛用者", "先輩", "研究者", "編集部"), ("は口をそろえて", "も以前から", "によれば、"), ("続けることが何より大事だ", "早く始めるほど得だ", "道具を選ぶべきだ"), ("と話しています。", "と言います。", "と勧めています。")),
    (("朝", "夜", "週末", "休憩中", "移動中"), ("の十分間", "のひととき", "のすき間時間"), ("を使うだけで", "に試すだけで", "に取り入れれば"), ("驚くほど差が出ます。", "気分まで明るくなります。", "周りの目も違ってきます。")),
    (("もちろん", "ただし", "とはいえ", "だからこそ"), ("最初から", "何もかも", "一人で"), ("完璧を目指す", "がんばりすぎる", "決めてしまう"), ("必要はありません。", "のは逆効果です。", "人ほど長続きしません。")),
    (("この方法", "こちらの品", "新しい習慣", "この一冊"), ("なら", "を選べば"), ("手間も", "費用も", "時間も"), ("ほとんどかかりません。", "今までの半分で済みます。", "気にならなくなります。")),
)  # fmt: skip


def spun(chance: random.Random) -> str:
    """Sentences from slots with synonyms: fluent, and about nothing."""
    said = []
    for _ in range(chance.randint(12, 25)):
        if chance.random() < 0.3:
            said.append("".join(frame.format(chance.choice(words)) for frame, words in _SPIN))
        else:
            said.append("".join(chance.choice(slot) for slot in chance.choice(_SPIN_MORE)))
    return "".join(one + ("\n" if chance.random() < 0.2 else "") for one in said).strip()


def snippets(texts: Sequence[str]) -> Made:
    """Ends and beginnings of other people's sentences, as a search engine shows them, with dates."""

    def make(chance: random.Random) -> str:
        found = []
        for _ in range(chance.randint(12, 30)):
            text = chance.choice(texts).replace("\n", "")
            start = chance.randrange(max(len(text) - 90, 1))
            date = f"{chance.randint(2009, 2023)}年{chance.randint(1, 12)}月{chance.randint(1, 28)}日"
            found.append(f"{date} … {text[start : start + chance.randint(30, 70)]} …")
        return chance.choice(("\n", " ")).join(found)

    return make


_WORD = re.compile(r"[一-鿿々]+|[ァ-ヺー]+|[ぁ-ゖ]+|[^\W\d_]+|\d+|[^\w\s]")


def shuffled(texts: Sequence[str]) -> Made:
    """The words of a real text, of one script each, in any order: word salad with a vocabulary as large as prose has."""

    def make(chance: random.Random) -> str:
        words = _WORD.findall(chance.choice(texts))
        chance.shuffle(words)
        return "".join(words)

    return make


UNSEEN: dict[str, Made] = {
    "wares with prices": priced,
    "around a key word": around,
    "cries": cried,
    "word salad of 40 nouns": jumbled,
    "doorways": doorway,
    "strangers' greetings": greeted,
    "spun sentences": spun,
}
"""Kinds that are made of words alone; `snippets` and `shuffled` take texts."""
