"""What a teacher's reply is worth: small repairs, then reasons to turn it down.

Both are counted by name and neither is silent. A reply is repaired only by leaving something out (a preface, quotation
marks around the whole, a sentence that was cut off), never by adding a word.
"""

import itertools
import re
import unicodedata
from collections import Counter
from difflib import SequenceMatcher
from typing import NamedTuple

from bunbuku_synth.language import content, japanese_ratio, normalized, sentences
from bunbuku_synth.numerals import numbers
from bunbuku_synth.sources import Language

_PREFACE = re.compile(
    r"^(?:(?:sure|certainly|of course|okay)\b[^\n]*?[:.!]\s*|(?:here(?:'s| is| are)|the (?:rewritten|rephrased))\b[^\n]*?:\s*"
    r"|(?:はい、)?(?:以下|次)[^\n]*?[。：:]\s*|(?:simple|rewritten|new) (?:text|version|sentences?)\s*:\s*)",
    re.IGNORECASE,
)
_META = re.compile(
    r"\bas an? (?:AI|language model)\b|\bI(?:'m| am) (?:sorry|an AI)\b|\b(?:the|this) (?:text|passage|sentence)s?\b"
    r"|\brewrit|\brephras|AIとして|言語モデル|申し訳(?:あり|ござい)|書き換え|言い換え",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "“": "”", "「": "」", "'": "'", "*": "*"}
_TURNS = re.compile(
    r"^\W*(?P<who>questions?|q|answers?|a|質問|問題|問|答え|回答|答)\s*\d*\W*?[:：.．]\W*(?P<what>.+?)\s*$",
    re.IGNORECASE | re.MULTILINE,
)

_NUMBER = re.compile(
    r"\d+|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundred|thousand|million)\b"
)


class Repaired(NamedTuple):
    """A reply after repair, and the names of the repairs it took."""

    text: str
    repairs: tuple[str, ...]


class Exchange(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


def repair(text: str, language: Language, *, cut_off: bool) -> Repaired:
    """A reply without a preface, quotation marks around it and what was cut off at its end.

    >>> repair('Here is a simple version: "I like cats. I al', "en", cut_off=True)
    Repaired(text='"I like cats.', repairs=('preface', 'cut_off'))
    >>> repair('"I like cats."', "en", cut_off=False)
    Repaired(text='I like cats.', repairs=('quotes',))
    """
    repairs: list[str] = []
    text = text.strip()
    without = _PREFACE.sub("", text, count=1).strip()
    if without != text:
        text, repairs = without, [*repairs, "preface"]
    while len(text) > 2 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text, repairs = text[1:-1].strip(), [*repairs, "quotes"]
    if cut_off:
        spans = sentences(text, language)
        whole = [end for _, end in spans if text[end - 1] in '.!?。！？"”」']
        text, repairs = text[: max(whole, default=0)].strip(), [*repairs, "cut_off"]
    return Repaired(text, tuple(dict.fromkeys(repairs)))


def exchanges(text: str) -> list[Exchange]:
    r"""Every question that is followed by an answer.

    >>> exchanges("Q: Who ran?\nA: The dog.\nQ: Why?")
    [Exchange(question='Who ran?', answer='The dog.')]
    >>> exchanges("**質問1**: 誰が走りましたか。\n**答え**：犬です。")
    [Exchange(question='誰が走りましたか。', answer='犬です。')]
    """
    turns = [(_is_question(match["who"]), match["what"].strip("* ")) for match in _TURNS.finditer(text)]
    pairs = itertools.pairwise(turns)
    return [Exchange(asked, said) for (first, asked), (second, said) in pairs if first and not second]


def flaw(text: str, language: Language) -> str | None:
    """Why a text in one language should not be kept, whatever it is about; `None` if nothing is wrong with it."""
    if not normalized(text):
        return "empty"
    if (japanese_ratio(text) > 0.5) != (language == "ja"):
        return "wrong_language"
    if _META.search(text):
        return "meta"
    if is_repetitive(text):
        return "repetitive"
    return None


def rewriting_flaw(passage: str, text: str) -> str | None:
    """Why a text is no rewriting of a passage.

    >>> rewriting_flaw("The dog ran to the old house.", "The dog ran to the old house!")
    'copied'
    >>> rewriting_flaw("The dog ran to the old house.", "It is a nice day at the sea.")
    'unrelated'
    >>> rewriting_flaw("Two dogs ran to the old house.", "Three dogs ran toward an old house.")
    'changes_numbers'
    >>> rewriting_flaw("The dog ran to the old house.", "A dog was running toward the house.")
    """
    ours, theirs = content(passage), content(text)
    if SequenceMatcher(None, normalized(passage), normalized(text), autojunk=False).ratio() > 0.9:
        return "copied"
    if len(ours & theirs) < 0.4 * len(ours):
        return "unrelated"
    if new_numbers(passage, text):
        return "changes_numbers"
    if len(theirs - ours) > max(2, len(ours) // 2):
        return "adds_too_much"
    if not 0.4 <= len(text) / len(passage) <= 2.5:
        return "length"
    return None


def exchange_flaw(passage: str, exchange: Exchange) -> str | None:
    """Why a question and its answer do not belong to a passage.

    >>> exchange_flaw("The dog ran to the old house.", Exchange("Where did the dog run?", "To the old house."))
    >>> exchange_flaw("The dog ran to the old house.", Exchange("Where did the dog run?", "To the sea."))
    'answer_not_in_passage'
    """
    question, answer = content(exchange.question), content(exchange.answer)
    if exchange.question.rstrip()[-1] not in "?？" and not exchange.question.endswith(("か。", "か")):
        return "no_question"
    known = content(passage)
    if len(question & known) < 0.5 * len(question) or not question:
        return "question_not_about_passage"
    if not answer or len(answer & known) < 0.8 * len(answer):
        return "answer_not_in_passage"
    if answer <= question:
        return "answer_repeats_question"
    if len(exchange.answer) > 2 * len(passage):
        return "length"
    return None


def is_repetitive(text: str) -> bool:
    """Whether a sentence is said twice, or a run of four words or eight Japanese letters three times.

    >>> is_repetitive("I am so sad. I am so sad."), is_repetitive("I am so sad. I am sad.")
    (True, False)
    """
    japanese = japanese_ratio(text) > 0.5
    said = [normalized(text[start:end]) for start, end in sentences(text, "ja" if japanese else "en")]
    if len(set(said)) < len(said):
        return True
    units, size = (list(normalized(text)), 8) if japanese else (text.lower().split(), 4)
    seen = Counter(tuple(units[start : start + size]) for start in range(len(units) - size + 1))
    return max(seen.values(), default=0) >= 3


def new_numbers(passage: str, text: str) -> bool:
    """Whether a text has a number that the passage has not.

    >>> new_numbers("三匹の犬", "3匹の犬"), new_numbers("三匹の犬", "四匹の犬")
    (False, True)
    """
    return bool(_numbers(text) - _numbers(passage))


def _numbers(text: str) -> set[str]:
    """Numbers of two or more, as they are written; one is too often no number."""
    japanese = {str(value) for _, _, value in numbers(text)} if japanese_ratio(text) > 0.5 else set[str]()
    return (set(_NUMBER.findall(unicodedata.normalize("NFKC", text).lower())) | japanese) - {"1"}


def _is_question(who: str) -> bool:
    return who.lower()[0] in "q質問"
