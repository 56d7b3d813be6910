"""What the checks know about Japanese and English text: sentences, content words, and words that can be left out.

No dictionary is asked, so that the same text gives the same items wherever it is read. Japanese nouns are found by
their looks: a run of kanji or katakana between a particle, a comma or the sentence's end and another one.

>>> [blank.word for blank in blanks("私は図書館で本を読んだ。")]
['図書館', '本']
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_KANJI = "一-鿿々"
_KATAKANA = "ァ-ヺー"
_KANA = re.compile(r"[ぁ-ゖァ-ヺ]")
_JAPANESE = re.compile(rf"[ぁ-ゖ{_KATAKANA}{_KANJI}]")
_LATIN = re.compile(r"[A-Za-z]")
_JAPANESE_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?]+[」』）]*|[^。！？!?\n]+")
_ENGLISH_SENTENCE = re.compile(r"""\S.*?(?:[.!?]+["')\]]*(?=\s|$)|$)""", re.MULTILINE)
_BLANK = re.compile(
    rf"(?:(?<=^)|(?<=[、はがをにもでのへと]))((?P<kanji>[{_KANJI}]+)|[{_KATAKANA}]{{2,}})(?=[、。をがはにでのともへ！？])"
)
_ENGLISH_WORD = re.compile(r"[a-z]+|[0-9]+")
_JAPANESE_WORD = re.compile(rf"[{_KATAKANA}]{{2,}}|[{_KANJI}]|[0-9]+")
_NEVER_BLANK = frozenset(
    [
        "私",
        "僕",
        "俺",
        "彼",
        "君",
        "彼女",
        "何",
        "誰",
        "人",
        "時",
        "事",
        "方",
        "物",
        "者",
        "上",
        "下",
        "中",
        "前",
        "後",
        "間",
        "内",
        "為",
        "様",
        "所",
        "今日",
        "昨日",
        "今",
        "一人",
    ]
)
_LIGHT_KANJI = frozenset("私僕俺彼女君何誰")
_LIGHT_ENGLISH = frozenset(
    [
        "a",
        "about",
        "all",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "down",
        "for",
        "from",
        "get",
        "go",
        "got",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "just",
        "like",
        "make",
        "me",
        "more",
        "my",
        "no",
        "not",
        "of",
        "off",
        "on",
        "one",
        "or",
        "our",
        "out",
        "over",
        "please",
        "she",
        "should",
        "so",
        "some",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "too",
        "up",
        "us",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "t",
        "s",
        "m",
        "re",
        "ll",
        "ve",
        "d",
        "don",
        "didn",
        "doesn",
        "isn",
        "won",
    ]
)
_BRACKETS = ("()", "（）", "「」", "『』", "“”", "[]")
_ENDINGS = ("ingly", "ings", "ing", "edly", "ied", "ies", "ed", "es", "ly", "s", "e", "y")


@dataclass(frozen=True, slots=True)
class Blank:
    """A word of a sentence that can be left out."""

    start: int
    word: str


def normalized(text: str) -> str:
    """Text as answers are compared: NFKC, lower case, without white space and punctuation.

    >>> normalized("「ＡＢＣ」 です。"), normalized("-3")
    ('abcです', '-3')
    """
    while (folded := _folded(text)) != text:  # folding case can make letters that compose
        text = folded
    return text


def sentences(text: str, language: str) -> list[tuple[int, int]]:
    """Where each sentence of `text` begins and ends, white space around it left out.

    >>> sentences("はい。そうです！", "ja"), sentences("Yes. It is 3.5 km.", "en")
    ([(0, 3), (3, 8)], [(0, 4), (5, 18)])
    """
    pattern = _JAPANESE_SENTENCE if language == "ja" else _ENGLISH_SENTENCE
    found: list[tuple[int, int]] = []
    for match in pattern.finditer(text):
        inner = match.group().strip()
        if inner:
            start = match.start() + match.group().index(inner)
            found.append((start, start + len(inner)))
    return found


def blanks(sentence: str) -> list[Blank]:
    """The nouns of a Japanese sentence that could be left out: they occur in it once, and are no pronouns."""
    found = [Blank(match.start(1), match.group(1)) for match in _BLANK.finditer(sentence)]
    return [blank for blank in found if _can_be_left_out(blank.word) and sentence.count(blank.word) == 1]


def is_katakana(word: str) -> bool:
    """Whether a word is written in katakana.

    >>> is_katakana("バス"), is_katakana("電車")
    (True, False)
    """
    return re.fullmatch(rf"[{_KATAKANA}]+", word) is not None


def content(text: str) -> frozenset[str]:
    """The words of a text that carry its meaning, roughly: English stems, kanji, katakana words, numbers.

    >>> sorted(content("She was walking her dogs.")), sorted(content("彼女はパンを食べた。"))
    (['dog', 'walk'], ['パン', '食'])
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    english = {_stem(word) for word in _ENGLISH_WORD.findall(folded) if word not in _LIGHT_ENGLISH}
    return frozenset(english | (set(_JAPANESE_WORD.findall(folded)) - _LIGHT_KANJI))


def japanese_ratio(text: str) -> float:
    """Share of Japanese letters among all Japanese and Latin letters.

    >>> japanese_ratio("猫 cat"), japanese_ratio("...")
    (0.25, 0.0)
    """
    japanese, latin = len(_JAPANESE.findall(text)), len(_LATIN.findall(text))
    return japanese / (japanese + latin) if japanese + latin else 0.0


def is_plain_japanese(sentence: str, *, min_chars: int, max_chars: int) -> bool:
    """Whether it is one whole Japanese sentence, without quotation, Latin letters or list marks.

    >>> is_plain_japanese("猫が好きです。", min_chars=4, max_chars=30)
    True
    >>> is_plain_japanese("猫が好き", min_chars=4, max_chars=30)
    False
    """
    return (
        min_chars <= len(sentence) <= max_chars
        and sentence[-1] in "。！？"
        and len(sentences(sentence, "ja")) == 1
        and len(_KANA.findall(sentence)) >= 2
        and re.search(r"[A-Za-zＡ-Ｚａ-ｚ「」『』（）()＿□\[\]\s…‥]", sentence) is None
    )


def is_plain_english(sentence: str, *, min_chars: int, max_chars: int) -> bool:
    """Whether it is one whole English sentence, without quotation or brackets.

    >>> is_plain_english("I like cats.", min_chars=4, max_chars=80)
    True
    """
    return (
        min_chars <= len(sentence) <= max_chars
        and sentence[-1] in ".!?"
        and len(sentences(sentence, "en")) == 1
        and re.search(r'["“”()\[\]\n_]|[^\x20-\x7e’–—éèêàçöüñ]', sentence) is None
    )


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c in "-+" or unicodedata.category(c)[0] not in "PZC")


def _can_be_left_out(word: str) -> bool:
    """Longer runs of kanji are several words; with a pronoun in it, a run is not one noun."""
    return word not in _NEVER_BLANK and not set(word) & _LIGHT_KANJI and (len(word) <= 4 or is_katakana(word))


def is_whole(text: str) -> bool:
    """Whether every quotation and bracket that begins in a text also ends in it.

    >>> is_whole('He said "no".'), is_whole("だめだ」と言った。")
    (True, False)
    """
    return text.count('"') % 2 == 0 and all(text.count(one) == text.count(other) for one, other in _BRACKETS)


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            stem = word[: -len(ending)]
            return stem[:-1] if stem[-1] == stem[-2] else stem
    return word
