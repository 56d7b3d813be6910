"""Flags for text that is not worth reading, raised before anyone, or any model, is asked to judge it.

A flag says what is seen, not how good an answer is: a wrong answer in plain Japanese gets none.
"""

import re
import unicodedata
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Literal

Flag = Literal["empty", "loop", "garbled", "salad", "not_japanese"]

_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9f]")  # kana, kanji, half-width kana
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9f]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[A-Za-z]")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|\$\$.*?\$\$|https?://\S+", re.DOTALL)
"""No language: it is left out before letters are counted."""
_PUNCTUATION = re.compile(r"[。、．，.,!?！？\n]")
_WORD = re.compile(r"[A-Za-z]{5,}")
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}", re.IGNORECASE)
_GARBLED = re.compile(r"[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f\x7f-\x9f縺繧]")
"""What stands for bytes that are no text; the last two are what kana in UTF-8 look like, read as Shift JIS."""
_CHINESE = frozenset("的是了我你他她们們这這嗎吗呢吧很就也在不有和")
"""Words of Chinese that Japanese writes in kana; together, and without kana, they are not Japanese."""
GARBLED_SHARE = 0.1
LOOP_CHARS = 4
LOOP_SHARE = 0.5
LONG_LOOP_CHARS = 12
LONG_LOOP_SHARE = 0.4
MIN_LOOP_CHARS = 24
MIN_LETTERS = 16
"""Fewer are a name or a label, of which no language can be told."""
MIN_SALAD_LETTERS = 60
SWITCHES_SHARE = 0.06
MANY_SWITCHES_SHARE = 0.15
PUNCTUATION_SHARE = 0.015
"""Changes of script inside a word, a letter: prose has fewer than the first, or ends its sentences; see benchmarks/RESULTS.md."""


def flags(text: str, *, japanese: bool = True) -> tuple[Flag, ...]:
    """What is wrong with `text` at first sight, none for ordinary prose.

    `empty` has no letter or digit; `loop` is a text of which half or more is four-character pieces that stood before, and much of it longer ones;
    `garbled` is one of whose characters a tenth or more stand for broken bytes; `salad` is made of pieces of several
    scripts in no order, or of Latin letters that are no words; `not_japanese` is in another language, Chinese
    included, where `japanese` is expected. Programs and addresses in a text are no language.

    >>> flags("今日は天気がいいので、散歩に行きました。"), flags("。。。"), flags("とても" * 20)
    ((), ('empty',), ('loop',))
    >>> flags("I am afraid I do not know."), flags("I am afraid I do not know.", japanese=False)
    (('not_japanese',), ())
    >>> flags("我不知道这个问题的答案，很抱歉。"), flags("縺薙ｓ縺ｫ縺｡縺ｯ")
    (('not_japanese',), ('garbled',))
    """
    if not re.search(r"[^\W_]", text):
        return ("empty",)
    found: list[Flag] = []
    if _loops(text):
        found.append("loop")
    if len(_GARBLED.findall(text)) >= GARBLED_SHARE * len(text):
        found.append("garbled")
    if is_salad(text):
        found.append("salad")
    if japanese and foreign(text):
        found.append("not_japanese")
    return tuple(found)


def _loops(text: str) -> bool:
    """Long texts, and sums even more, say short things again; to say long ones again is a loop. Programs may."""
    prose = _CODE.sub(" ", text)
    short, long = repetition(prose), repetition(prose, size=LONG_LOOP_CHARS)
    return len(prose) >= MIN_LOOP_CHARS and short >= LOOP_SHARE and long >= LONG_LOOP_SHARE


def repetition(text: str, *, size: int = LOOP_CHARS) -> float:
    """The share of pieces of `size` characters that stood in the text before; 0 where there are fewer than two.

    >>> repetition("ありがとう"), repetition("ああああああ")
    (0.0, 0.6666666666666666)
    """
    pieces = Counter(text[at : at + size] for at in range(len(text) - size + 1))
    total = pieces.total()
    return (total - len(pieces)) / total if total else 0.0


def foreign(text: str) -> bool:
    """Whether a text of some length is in another language than Japanese.

    >>> foreign("The answer is a desk."), foreign("contradiction"), foreign("東京都千代田区霞が関"), foreign("这是一张桌子，我认为是对的。")
    (True, False, False, True)
    """
    prose = _CODE.sub(" ", text)
    letters, ours, latin = len(_LETTER.findall(prose)), len(_JAPANESE.findall(prose)), len(_LATIN.findall(prose))
    # A word takes about three times as many Latin letters as Japanese ones.
    if letters >= MIN_LETTERS and ours < latin / 3 + (letters - ours - latin):
        return True
    return _is_chinese(prose)


def _is_chinese(text: str) -> bool:
    han, kana = _HAN.findall(text), len(_KANA.findall(text))
    if len(han) < 8 or kana > len(han) / 4:
        return False
    unknown = sum(not _in_japanese(one) for one in han)
    words = _CHINESE & set(han)
    return unknown >= max(3, 0.08 * len(han)) or (kana <= len(han) / 20 and len(words) >= 4)


@cache
def _in_japanese(character: str) -> bool:
    """Whether Japanese character sets have it; those of Chinese simplified characters are mostly in none."""
    try:
        character.encode("cp932")
    except UnicodeEncodeError:
        return False
    return True


def is_salad(text: str) -> bool:
    """Whether a text is pieces of words in no order: scripts that change within words, or Latin letters that are none.

    >>> is_salad("電子フォックスcla待ちELLjecla奥前電子待ち青GALLERYhepうら有限注フォックスミネjeLOCボーダーBoot静かなワイヤーvista田中BOX奥")
    True
    """
    prose = _CODE.sub(" ", text)
    scripts = [_script(one) for one in prose]
    letters = sum(one != "" for one in scripts)
    if letters < MIN_SALAD_LETTERS:
        return _is_noise(prose)
    switches = sum(
        one != other and "" not in (one, other) and "kana" not in (one, other) for one, other in pairwise(scripts)
    )
    counts = Counter(one for one in scripts if one)
    strangers = [name for name, count in counts.items() if name not in _USUAL and count >= 2]
    ends = len(_PUNCTUATION.findall(prose)) / len(prose)
    return (
        switches >= (SWITCHES_SHARE if ends < PUNCTUATION_SHARE else MANY_SWITCHES_SHARE) * letters
        or (len(strangers) >= 2 and counts.most_common(1)[0][1] < 0.7 * letters)
        or _is_noise(prose)
    )


_USUAL = ("kana", "katakana", "han", "latin", "greek")


def _script(character: str) -> str:
    """The script of a letter; nothing for what is none."""
    code = ord(character)
    if character.isascii():
        return "latin" if character.isalpha() else ""
    for first, last, name in _RANGES:
        if first <= code <= last:
            return name
    return unicodedata.name(character, "").partition(" ")[0].lower() if character.isalpha() else ""


_RANGES = (
    (0x3041, 0x3096, "kana"),
    (0x30A1, 0x30FE, "katakana"),
    (0x3400, 0x9FFF, "han"),
    (0xFF21, 0xFF5A, "latin"),
    (0xFF66, 0xFF9F, "katakana"),
)


def _is_noise(text: str) -> bool:
    """Whether most of the Latin words can be said in no language."""
    words = _WORD.findall(text)
    return len(words) >= 4 and sum(bool(_CONSONANTS.search(one)) for one in words) >= len(words) / 2
