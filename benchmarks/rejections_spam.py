"""Spam that thresholds of `web` were found on, of two sets that share no word and no sentence.

The second was once what was reported; figures are told on that of `rejections_fresh.py`.

None of its words stands in the lists of the corpus package; `bench_corpus_rejections.py` refuses to run if one does.
"""

import random
from collections.abc import Callable


def stuffed(words: tuple[str, ...], separators: tuple[str, ...]) -> Callable[[random.Random], str]:
    """Names of wares one after another, some of them again and again."""

    def make(chance: random.Random) -> str:
        few = chance.sample(words, 14)
        mark = chance.choice(separators)
        return mark.join(chance.choice(few) for _ in range(chance.randint(60, 160)))

    return make


def told(
    subjects: tuple[str, ...], openings: tuple[str, ...], middles: tuple[str, ...], endings: tuple[str, ...]
) -> Callable[[random.Random], str]:
    """Sentences around a key word, none of them twice: pages made for search engines."""

    def make(chance: random.Random) -> str:
        key = chance.choice(subjects)
        pool = [one.format(key) for one in (*openings, *middles, *endings)]
        said = chance.sample(pool, chance.randint(9, len(pool)))
        return "".join(one + ("\n" if chance.random() < 0.3 else "") for one in said).strip()

    return make


def shouted(nouns: tuple[str, ...], cries: tuple[str, ...]) -> Callable[[random.Random], str]:
    """One cry after another."""

    def make(chance: random.Random) -> str:
        return "".join(chance.choice(cries).format(chance.choice(nouns)) for _ in range(chance.randint(18, 40)))

    return make


def salad(nouns: tuple[str, ...], verbs: tuple[str, ...]) -> Callable[[random.Random], str]:
    """Words in any order with particles between them: what generators leave."""

    def make(chance: random.Random) -> str:
        said = []
        for _ in range(chance.randint(15, 30)):
            parts = [chance.choice(nouns) + chance.choice("はがをにでとのも") for _ in range(chance.randint(3, 7))]
            said.append("".join(parts) + chance.choice(verbs) + "。")
        return "".join(said)

    return make


_TUNE_WARES = (
    "スニーカー",
    "サンダル",
    "ブーツ",
    "パンプス",
    "長財布",
    "折り財布",
    "キーケース",
    "トートバッグ",
    "リュック",
    "腕時計",
    "ネックレス",
    "ピアス",
    "指輪",
    "香水",
    "口紅",
    "ファンデーション",
    "美容液",
    "化粧水",
    "シャンプー",
    "掃除機",
    "炊飯器",
    "加湿器",
    "扇風機",
    "布団",
    "枕",
    "カーテン",
    "ソファ",
)
_WARES = (
    "ドレス",
    "ワンピース",
    "ジャケット",
    "コート",
    "マフラー",
    "手袋",
    "帽子",
    "ベルト",
    "ネクタイ",
    "サングラス",
    "革靴",
    "ゴルフクラブ",
    "釣り竿",
    "テント",
    "寝袋",
    "自転車",
    "タイヤ",
    "カーナビ",
    "充電器",
    "イヤホン",
    "スピーカー",
    "プリンター",
    "インク",
    "トナー",
    "電池",
    "包丁",
    "フライパン",
    "弁当箱",
    "水筒",
    "食器",
)
_TUNE_TOPICS = ("青汁", "育毛剤", "浮気調査", "脱毛サロン", "カードローン", "占い電話", "不用品回収", "引越し業者")
_TOPICS = (
    "水素水",
    "酵素ドリンク",
    "車買取",
    "結婚相談所",
    "株",
    "歯のホワイトニング",
    "ウォーターサーバー",
    "英会話教材",
    "太陽光発電",
    "増毛",
    "脱毛",
    "借金",
)

SPAM: dict[str, Callable[[random.Random], str]] = {
    "tune stuffed": stuffed(_TUNE_WARES, (" ", "、", "/", "\n")),
    "tune told": told(
        _TUNE_TOPICS,
        ("{0}をお探しですか。", "{0}の情報ならこのサイトにおまかせ！", "{0}が気になる方は必見です。"),
        (
            "{0}は今とても注目されています。",
            "{0}を使ってみた人の声を集めました。",
            "{0}で失敗しないためには選び方が大切です。",
            "{0}には様々な種類があります。",
            "{0}の効果はすぐに現れると評判です。",
            "本当に良い{0}とは何でしょうか？",
            "安い{0}には注意が必要です。",
            "多くの方が{0}に満足しています！",
        ),
        ("{0}を試すなら今です！", "まずは{0}をチェックしてみてください。", "{0}であなたの毎日が変わります！"),
    ),
    "tune shouted": shouted(
        ("英語", "肌", "髪", "お金", "恋", "仕事"),
        (
            "{0}の悩みが消えた！",
            "みんな驚いた{0}の裏技！！",
            "{0}が変わる！",
            "もう{0}で困らない！",
            "テレビで紹介された{0}！",
            "{0}の真実とは！？",
            "見逃すな{0}！",
        ),
    ),
    "tune salad": salad(
        ("世界", "窓", "青空", "保険", "車", "彼女", "値段", "笑顔", "電話", "朝", "山", "会社", "猫", "時間"),
        ("歩きます", "思う", "買った", "光る", "高いです", "飛ばして", "ありました"),
    ),
    "stuffed": stuffed(_WARES, (" ", "　", " | ", "・", "\n", "，")),
    "told": told(
        _TOPICS,
        (
            "こんにちは、{0}アドバイザーのさくらです。",
            "最近よく耳にする{0}ですが、皆さんはもう始めていますか。",
            "{0}で迷っているあなたへ。",
            "ここでは{0}を比べてみた結果を公開しています。",
        ),
        (
            "{0}と一口に言っても、会社によって中身は全く違います。",
            "私も最初は{0}なんて怪しいと思っていました。",
            "ところが{0}を始めて三日目、鏡を見てびっくりしました。",
            "友人にも{0}をすすめたところ、とても喜ばれました。",
            "{0}に興味はあるけれど、一歩が踏み出せない人も多いはず。",
            "値段だけで{0}を選ぶと後悔することになります。",
            "雑誌の{0}特集で一位に輝いたのも納得です。",
            "芸能人の間でも{0}は大流行していますよ。",
            "専門家が認めた{0}だから安心して続けられます。",
            "実は{0}には知られていない秘密があるのです。",
            "{0}のおかげで人生が明るくなりました。",
        ),
        (
            "気になる{0}の中身は、下のリンクから確かめてくださいね。",
            "{0}を申し込むなら早いほうがお得ですよ。",
            "枠が埋まる前に{0}を押さえておきましょう。",
        ),
    ),
    "shouted": shouted(
        ("バストアップ", "ロト6", "競馬", "彼氏", "小顔", "速読", "せどり", "メルマガ"),
        (
            "{0}で人生大逆転！",
            "なんと{0}が10倍に！！",
            "えっ、まだ{0}してないの？",
            "先着30名さまだけに{0}の極意を伝授！",
            "口だけじゃない、本物の{0}がここに！",
            "一日5分で{0}、嘘みたいな本当の話！",
            "驚愕の{0}、ついに解禁！！！",
            "迷っている暇はない、{0}は早い者勝ち！",
        ),
    ),
    "salad": salad(
        (
            "音楽",
            "部屋",
            "税金",
            "海岸",
            "先生",
            "野菜",
            "機械",
            "約束",
            "雨",
            "雑誌",
            "道路",
            "友達",
            "写真",
            "薬",
            "祭り",
        ),
        ("食べられる", "探している", "重かった", "忘れました", "広がるだろう", "見せた", "静かだ", "届かない"),
    ),
}
