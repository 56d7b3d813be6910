"""What an answer must be like, whatever it is about. Each filter is its own config, and its name the reason that is counted."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from typing import Annotated, Any, Literal

from bunbuku_contracts import Config
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_synth.item import Item
from bunbuku_synth.language import japanese_ratio, sentences
from bunbuku_synth.phrases import repeats_phrases

_REFUSAL = re.compile(
    r"\bas an? (?:AI|language model)\b|\bI(?:'m| am) (?:sorry|unable)\b|\bI can(?:'t|not) (?:help|assist|provide)"
    r"|AI(?:アシスタント)?として(?:は)?、|言語モデル(?:として|なので|です)|申し訳(?:あり|ござい)ません(?:が|。)"
    r"|お(?:答え|手伝い)(?:することは)?(?:でき|いたしかね)"
)
_META = re.compile(
    r"(?:^|\n)\s*(?:以下(?:は|が|に)|こちらが).{0,30}(?:書き直し|言い換え|翻訳|回答|文章)|### ?(?:指示|応答|入力)|<\|?(?:im_|end|start|system|user)"
    r"|\{\{.*?\}\}|(?:Sure|Certainly)[,!] here"
)
_FOREIGN = re.compile(r"[\uac00-\ud7a3\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f]")
_SIMPLIFIED = re.compile("[们这说为对时间问题吗还过开关见话语读书车钱银飞风马鸟鱼龙东乐观让认识谢请谁]")


class Filter(Config, ABC):
    """One reason to turn an item down."""

    type: Any
    """A `Literal` in each: its name in TOML, and the reason."""

    @abstractmethod
    def drops(self, item: Item) -> bool:
        """Whether an item is turned down."""


class TooLittleJapanese(Filter):
    """Answers that are to be Japanese, and have little kana and kanji among their letters. Code, numbers and single words pass."""

    type: Literal["too_little_japanese"] = "too_little_japanese"
    min_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_letters: NonNegativeInt = 20

    def drops(self, item: Item) -> bool:
        text = _prose(_said(item))
        return item.language == "ja" and len(text) >= self.min_letters and japanese_ratio(text) < self.min_ratio


class MixedLanguages(Filter):
    """Letters of other scripts, or Chinese forms that Japanese does not write, as teachers slip into them."""

    type: Literal["mixed_languages"] = "mixed_languages"
    max_letters: NonNegativeInt = 1

    def drops(self, item: Item) -> bool:
        text = _said(item)
        return len(_FOREIGN.findall(text)) + len(_SIMPLIFIED.findall(text)) > self.max_letters


class Repetitive(Filter):
    """A run of letters that comes again and again, or sentences that are said more than once."""

    type: Literal["repetitive"] = "repetitive"
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Of the text that its most frequent run of `letters` letters may take."""
    letters: PositiveInt = 10
    max_said_again: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Share of sentences that were said before."""

    def drops(self, item: Item) -> bool:
        return any(self.found(turn.content) for turn in item.messages if turn.role == "assistant")

    def found(self, text: str) -> bool:
        """Whether a text repeats itself.

        >>> Repetitive().found("とてもいい天気ですね。" * 4), Repetitive().found("雨が降ってきたので、傘を持って駅まで迎えに行きました。")
        (True, False)
        """
        runs = Counter(text[at : at + self.letters] for at in range(len(text) - self.letters + 1))
        most = max(runs.values(), default=0)
        if most >= 3 and most * self.letters > self.max_share * len(text):
            return True
        said = [text[start:end] for start, end in sentences(text, "ja")]
        return len(said) >= 3 and len(said) - len(set(said)) > self.max_said_again * len(said)


class RepeatedPhrases(Filter):
    """An answer that Tanuki's filter for repetition would have thrown away; it was made for documents.

    Of a short text nearly every phrase is a large share, so answers below `min_chars` pass.
    """

    type: Literal["repeated_phrases"] = "repeated_phrases"
    min_chars: NonNegativeInt = 100

    def drops(self, item: Item) -> bool:
        answers = [turn.content for turn in item.messages if turn.role == "assistant"]
        return any(len(answer) >= self.min_chars and repeats_phrases(answer) for answer in answers)


class Refusal(Filter):
    """The teacher would not, or could not, and said so."""

    type: Literal["refusal"] = "refusal"

    def drops(self, item: Item) -> bool:
        return bool(_REFUSAL.search(_said(item)))


class Meta(Filter):
    """It speaks of its own task, or shows marks of a template."""

    type: Literal["meta"] = "meta"

    def drops(self, item: Item) -> bool:
        return bool(_META.search(_said(item)))


class Length(Filter):
    """Answers, all together, shorter or longer than they may be."""

    type: Literal["length"] = "length"
    min_chars: NonNegativeInt = 1
    max_chars: PositiveInt = 20_000

    def drops(self, item: Item) -> bool:
        return not self.min_chars <= len(_said(item)) <= self.max_chars


AnyFilter = Annotated[
    TooLittleJapanese | MixedLanguages | Repetitive | RepeatedPhrases | Refusal | Meta | Length,
    Field(discriminator="type"),
]
DEFAULTS: tuple[AnyFilter, ...] = (
    Length(),
    TooLittleJapanese(),
    MixedLanguages(),
    Repetitive(),
    Refusal(),
    Meta(),
)


def _said(item: Item) -> str:
    return "\n".join(turn.content for turn in item.messages if turn.role == "assistant")


def _prose(text: str) -> str:
    """Without blocks of code."""
    return re.sub(r"```.*?(?:```|\Z)", "", text, flags=re.DOTALL)
