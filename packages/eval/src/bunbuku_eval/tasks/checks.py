"""Constraints that a program can hold an answer to: JSON, numbers of points, length, words, letters of one kind.

A constraint is a config. It says itself in Japanese (`said`), and whether a text keeps to it (`kept`), so that what is asked
and what is checked cannot come apart. `kept` takes the text as it came; a patient reader's text is `stripped`.
"""

import json
import re
import unicodedata
from typing import Annotated, Any, Literal

from bunbuku_contracts import Config
from pydantic import Field, PositiveInt

_POINT = re.compile(r"^\s*(?:[-*・•●]|\d+[.)、．）])\s*\S", re.MULTILINE)
_FENCE = re.compile(r"^\s*```[a-z]*\n(.*?)\n?```\s*$", re.DOTALL)
_PREFACE = re.compile(r"^(?:はい|承知|了解|わかりました|以下|もちろん)[^\n]{0,60}[。:：!！]\s*\n+", re.IGNORECASE)
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?]?")


class Json(Config):
    """The whole text is a JSON object with these keys and no others."""

    type: Literal["json"] = "json"
    keys: tuple[str, ...] = Field(min_length=1)

    @property
    def said(self) -> str:
        return f"キーが {'、'.join(self.keys)} だけの JSON オブジェクトのみを出力してください。"

    def kept(self, text: str) -> bool:
        try:
            value: Any = json.loads(text)
        except ValueError:
            return False
        return isinstance(value, dict) and set(value) == set(self.keys)


class Points(Config):
    """A list of exactly so many points."""

    type: Literal["points"] = "points"
    count: PositiveInt

    @property
    def said(self) -> str:
        return f"箇条書きで、ちょうど{self.count}項目にしてください。"

    def kept(self, text: str) -> bool:
        return len(_POINT.findall(text)) == self.count


class Characters(Config):
    """At least and at most so many characters, white space left out."""

    type: Literal["characters"] = "characters"
    least: int = 0
    most: PositiveInt = 10_000

    @property
    def said(self) -> str:
        if not self.least:
            return f"{self.most}文字以内で書いてください。"
        return f"{self.least}文字以上{self.most}文字以内で書いてください。"

    def kept(self, text: str) -> bool:
        return self.least <= len(re.sub(r"\s", "", text)) <= self.most and bool(text.strip())


class Sentences(Config):
    """Exactly so many sentences."""

    type: Literal["sentences"] = "sentences"
    count: PositiveInt

    @property
    def said(self) -> str:
        return f"ちょうど{self.count}文で書いてください。"

    def kept(self, text: str) -> bool:
        return len([one for one in _SENTENCE.findall(text) if one.strip()]) == self.count


class Words(Config):
    """Words that the text has, and words that it has not."""

    type: Literal["words"] = "words"
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        parts = []
        if self.present:
            parts.append(f"「{'」「'.join(self.present)}」という語を必ず使ってください。")
        if self.absent:
            parts.append(f"「{'」「'.join(self.absent)}」という語は使わないでください。")
        return "".join(parts)

    def kept(self, text: str) -> bool:
        text = unicodedata.normalize("NFKC", text)
        return (
            bool(text.strip())
            and all(one in text for one in self.present)
            and not any(one in text for one in self.absent)
        )


class Script(Config):
    """Letters of one kind alone; digits, white space and punctuation are free."""

    type: Literal["script"] = "script"
    script: Literal["hiragana", "katakana", "latin"]

    @property
    def said(self) -> str:
        name = {"hiragana": "ひらがな", "katakana": "カタカナ", "latin": "ローマ字（アルファベット）"}[self.script]
        return f"{name}だけで書いてください。"

    def kept(self, text: str) -> bool:
        first, last = {"hiragana": ("ぁ", "ゖ"), "katakana": ("ァ", "ヺ"), "latin": ("A", "z")}[self.script]
        letters = [one for one in unicodedata.normalize("NFKC", text) if one.isalpha() and one != "ー"]
        return bool(letters) and all(first <= one <= last for one in letters)


class Ending(Config):
    """Every sentence ends so, as a manner of speech asks."""

    type: Literal["ending"] = "ending"
    ending: str = Field(min_length=1)

    @property
    def said(self) -> str:
        return f"すべての文を「{self.ending}」で終えてください。"

    def kept(self, text: str) -> bool:
        found = [one.strip().rstrip("。！？!?」） ") for one in _SENTENCE.findall(text) if one.strip()]
        return bool(found) and all(one.endswith(self.ending) for one in found)


class Starting(Config):
    """The text begins so."""

    type: Literal["starting"] = "starting"
    start: str = Field(min_length=1)

    @property
    def said(self) -> str:
        return f"回答は必ず「{self.start}」で始めてください。"

    def kept(self, text: str) -> bool:
        return text.strip().startswith(self.start)


type Check = Annotated[
    Json | Points | Characters | Sentences | Words | Script | Ending | Starting, Field(discriminator="type")
]


def stripped(text: str) -> str:
    r"""The text without what a patient reader looks past: a code fence around it, a sentence of preface.

    >>> stripped('```json\n{"名前": "猫"}\n```'), stripped("はい、以下の通りです。\n\n- 猫")
    ('{"名前": "猫"}', '- 猫')
    """
    text = _PREFACE.sub("", text.strip())
    if fenced := _FENCE.match(text):
        text = fenced[1]
    return text.strip()
