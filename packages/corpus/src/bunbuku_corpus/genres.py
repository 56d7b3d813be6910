"""What a text is for and what form it has, by rules that anybody can read and correct.

Purpose goes by words: each purpose has some, and how many of them a thousand characters must have; the purpose that has its
measure most often over wins, and a text of which none has is `other`. Form goes by the shapes of lines. Rules are a first
judge, cheap and the same for ever; how far they are to be believed is for another judge to say, which is why `balance`
compares.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from bunbuku_contracts import Config
from pydantic import Field, PositiveFloat

from bunbuku_corpus.vocabulary import words_of

OTHER = "other"


class Purpose(Config):
    """A purpose, and the words that tell it."""

    name: str
    words: tuple[str, ...] = Field(min_length=1)
    """Looked for as they stand, in NFKC."""
    per_1000_chars: PositiveFloat
    """So many a thousand characters make a text one of this purpose."""

    def strength(self, text: str) -> float:
        """How many times over a text in NFKC has what is needed."""
        found = sum(text.count(word) for word in self.words)
        return 1000 * found / (self.per_1000_chars * max(len(text), 100))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PURPOSES = (
    Purpose(name="advertising", words=words_of("advertising"), per_1000_chars=5),
    Purpose(
        name="education",
        words=_words(
            "学習 授業 生徒 教科書 練習問題 例題 学びます 学ぶ 学び 講座 試験 勉強 演習 課題 宿題 先生 小学校 中学校 高校 受験 "
            "解き方 復習 予習 教材 単元 みましょう しましょう"
        ),
        per_1000_chars=6,
    ),
    Purpose(
        name="news",
        words=_words(
            "発表した と発表 によると 記者 会見 報じ 明らかにした 同社 首相 取材 速報 調べでは 見通し 今週 リリースされ"
        ),
        per_1000_chars=3,
    ),
    Purpose(
        name="law",
        words=_words("条第 前項 各号 規定 法律 政令 省令 施行 届出 適用する ものとする 条例 罰金 準用 号に 項の"),
        per_1000_chars=12,
    ),
    Purpose(
        name="technical",
        words=_words(
            "関数 引数 クラス メソッド インストール コマンド 実装 ファイル サーバ バージョン 設定 ブラウザ パラメータ 文字列 オブジェクト "
            "モジュール ライブラリ コード 返します 返す 戻り値 クリック オプション コンポーネント プロパティ データ型 プログラ ビルド テスト ツール "
            "プロトコル トランザクション ノード 使用 サポート"
        ),
        per_1000_chars=5,
    ),
    Purpose(
        name="reference",
        words=_words(
            "とは、 世紀 概要 由来 別名 年( 年) 月日 出身 通称 創建 所在 位置する の一つ とされる 称する 呼ばれ 天皇 山号 官位"
        ),
        per_1000_chars=5,
    ),
    Purpose(
        name="literature",
        words=_words(
            "」と と言っ と云っ 彼女 彼は 彼の 私は 僕は のだった のである 眼 微笑 黙っ 思った けれども やがて のような であった た。「"
        ),
        per_1000_chars=6,
    ),
    Purpose(
        name="diary",
        words=_words(
            "今日は 昨日は 今日の 行ってきました 食べました 買いました でした! (笑) 美味し おいしか 楽しか ブログ 日記 嬉し 久しぶり 我が家"
        ),
        per_1000_chars=6,
    ),
    Purpose(
        name="conversation",
        words=_words(
            "ですね。 ですよ。 ですか? ますか? よね。 ですね! そうですね そうなんで こんにちは ありがとうござ はじめまして 私も 僕も"
        ),
        per_1000_chars=9,
    ),
)


def purpose(text: str, purposes: Sequence[Purpose] = PURPOSES) -> str:
    """What the text is for.

    >>> purpose("今だけ送料無料!ポイント10倍セール開催中。お買い得な商品を今すぐご購入ください。")
    'advertising'
    >>> purpose("第三条第二項の規定は、前項の届出について準用する。"), purpose("ゆっくり歩く。")
    ('law', 'other')
    """
    folded = unicodedata.normalize("NFKC", text)
    best = max(purposes, key=lambda one: one.strength(folded))
    return best.name if best.strength(folded) >= 1 else OTHER


_ITEM = re.compile(r"[-*+・●○■□◆◇★☆※]|[(]?[0-9]{1,2}[.)、]|[①-⑳]")
_TURN = re.compile(r"「|[^\s:。]{1,10}[:>]\s*\S")
_ASKED = re.compile(r"(?:Q[0-9]*|質問|問[0-9]*)\s*[.:、)]")
_ANSWERED = re.compile(r"(?:A[0-9]*|回答|答え?)\s*[.:、)]")
_CODE = re.compile(r".*[;{}]$|\s*(?:def|return|import|fn|let|const|var|if|for|class|function|#include|//|/\*)\b.*")
_SHORT_CHARS = 12

FORMATS = ("code", "table", "question_answer", "dialogue", "list", "menu", "prose", OTHER)


def form(text: str) -> str:
    r"""What form the text has: the first of `FORMATS` that enough of its lines have.

    >>> form("むかしむかし、あるところに、おじいさんが住んでいました。")
    'prose'
    >>> form("・りんご\n・みかん\n・ぶどう"), form("ホーム\n会社案内\nお問い合わせ\nログイン\n採用情報")
    ('list', 'menu')
    """
    lines = [line for line in map(str.rstrip, unicodedata.normalize("NFKC", text).splitlines()) if line]
    if not lines:
        return OTHER
    shares = _shares(lines)
    least: Mapping[str, float] = {
        "code": 0.4,
        "table": 0.4,
        "question_answer": 0.2,
        "dialogue": 0.4,
        "list": 0.4,
        "menu": 0.6,
    }
    for name, share in least.items():
        # One line makes prose or nothing, and no list.
        if shares[name] >= share and len(lines) > 1:
            return name
    return "prose" if "。" in text or ". " in text or text.rstrip().endswith((".", "!", "?")) else OTHER


def _shares(lines: Sequence[str]) -> dict[str, float]:
    def share(hits: int) -> float:
        return hits / len(lines)

    asked = sum(bool(_ASKED.match(line.lstrip())) for line in lines)
    answered = sum(bool(_ANSWERED.match(line.lstrip())) for line in lines)
    return {
        "code": share(sum(bool(_CODE.match(line)) for line in lines)),
        "table": share(sum(line.count("\t") >= 2 or line.count("|") >= 2 for line in lines)),
        "question_answer": share(asked + answered) if asked and answered else 0.0,
        "dialogue": share(sum(bool(_TURN.match(line.lstrip())) for line in lines)),
        "list": share(sum(bool(_ITEM.match(line.lstrip())) for line in lines)),
        "menu": share(sum(len(line) <= _SHORT_CHARS and "。" not in line for line in lines)) if len(lines) > 4 else 0.0,
    }
