"""Flags for text that is not worth reading, raised before anyone, or any model, is asked to judge it.

A flag says what is seen, not how good an answer is: a wrong answer in plain Japanese gets none.
"""

import re
from collections import Counter
from typing import Literal

Flag = Literal["empty", "loop", "garbled", "not_japanese"]

_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9f]")  # kana, kanji, half-width kana
_LETTER = re.compile(r"[^\W\d_]")
_GARBLED = re.compile(r"[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f\x7f-\x9f縺繧]")
"""What stands for bytes that are no text; the last two are what kana in UTF-8 look like, read as Shift JIS."""
GARBLED_SHARE = 0.1
LOOP_CHARS = 4
LOOP_SHARE = 0.5
MIN_LOOP_CHARS = 24


def flags(text: str, *, japanese: bool = True) -> tuple[Flag, ...]:
    """What is wrong with `text` at first sight, none for ordinary prose.

    `empty` has no letter or digit; `loop` is a text of which half or more is four-character pieces that stood before;
    `garbled` is one of whose characters a tenth or more stand for broken bytes; `not_japanese` has fewer Japanese letters than others, where `japanese` is expected.

    >>> flags("今日は天気がいいので、散歩に行きました。"), flags("。。。"), flags("とても" * 20)
    ((), ('empty',), ('loop',))
    >>> flags("I do not know."), flags("I do not know.", japanese=False)
    (('not_japanese',), ())
    >>> flags("縺薙ｓ縺ｫ縺｡縺ｯ")
    ('garbled',)
    """
    if not re.search(r"[^\W_]", text):
        return ("empty",)
    found: list[Flag] = []
    if repetition(text) >= LOOP_SHARE and len(text) >= MIN_LOOP_CHARS:
        found.append("loop")
    if len(_GARBLED.findall(text)) >= GARBLED_SHARE * len(text):
        found.append("garbled")
    letters = len(_LETTER.findall(text))
    if japanese and letters and len(_JAPANESE.findall(text)) < letters / 2:
        found.append("not_japanese")
    return tuple(found)


def repetition(text: str) -> float:
    """The share of four-character pieces that stood in the text before; 0 where there are fewer than two.

    >>> repetition("ありがとう"), repetition("ああああああ")
    (0.0, 0.6666666666666666)
    """
    pieces = Counter(text[at : at + LOOP_CHARS] for at in range(len(text) - LOOP_CHARS + 1))
    total = pieces.total()
    return (total - len(pieces)) / total if total else 0.0
