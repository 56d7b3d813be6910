"""The forms an answer can have: one of a few labels, a number, or a few words. Each is a kind of `Task`.

A form says what keeps to it, and how a reader finds the answer in a text that does not.
"""

import math
import re
import unicodedata
from abc import abstractmethod
from typing import Any, ClassVar

from bunbuku_eval.metrics import char_f1, exact_match, normalized, numbers, parse_float
from bunbuku_eval.tasks.saying import MARKER, NUMBER, announced, corrected, quoted, without_denial
from bunbuku_eval.tasks.task import Category, Metric, Phrasing, Question, Task

_ENDING = re.compile(
    r"(?:に|と|だと)?(?:です|である|でした|だ|になります|となります|と思います|でしょう|考えられます)[。.!]*$"
)
_ANNOUNCES = re.compile(
    r"(?:以下|次|訳|翻訳|回答|答え|はい|承知|sure|here|translation)[^\n]*(?:。|:|：|!|！)$", re.IGNORECASE
)
_ANNOUNCED = re.compile(r"^(?:訳文?|翻訳|英訳|和訳|回答|答え|translation|answer)\s*[:：]\s*", re.IGNORECASE)
MAX_ANSWER_CHARS = 60
"""More than a short answer has."""


class Labelled(Task):
    """The answer is one of a few labels.

    A reader also takes a label with words around it ("3. 机"), or the thing itself in the place of its label ("机"), as
    long as only one can be meant; what follows 「答えは」 counts before what stands elsewhere.
    """

    synonyms: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Other words for a label."""

    def well_formed(self, text: str, question: Question) -> bool:
        return normalized(text) in question.choices

    def understood(self, text: str, question: Question) -> str | None:
        text = self._without_listing(normalized(text), question)
        for part in (corrected(text), text):
            if part and (found := self._found(part, question)) is not None:
                return found
        return None

    def _found(self, text: str, question: Question) -> str | None:
        text, denied = self._without_denials(text, question)
        if (after := announced(text)) is not None and (found := self._first(after.split("\n")[0], question)):
            return found
        head = text.split("\n")[0]
        if (found := self._leading(head, question)) is not None:
            return found
        for part in (head, text):
            said = self._named(part, question)
            if len(said) == 1:
                return question.choices[said.pop()]
            if said:
                continue
        left = set(range(len(question.choices))) - denied
        # Who says which of two it is not has said which it is.
        return question.choices[left.pop()] if len(question.choices) == 2 and denied and len(left) == 1 else None

    def _without_denials(self, text: str, question: Question) -> tuple[str, set[int]]:
        """The text without what it says the answer is not, and which choices that is."""
        denied: set[int] = set()
        words = [(word, at) for at in range(len(question.choices)) for word in self._words(question, at)]
        for word, at in sorted(words, key=lambda one: -len(one[0])):
            shorter = without_denial(text, _whole(word))
            if shorter != text:
                denied.add(at)
                text = shorter
        return text, denied

    def _without_listing(self, text: str, question: Question) -> str:
        """The text without the list of all choices, which says nothing of which it is."""
        for words in (question.choices, question.meanings):
            if len(words) < 2:
                continue
            entries = (
                [
                    rf"[(\[]?{re.escape(normalized(label))}[)\]]?\s*[.:、,)]?\s*{re.escape(normalized(meaning))}"
                    for label, meaning in zip(question.choices, question.meanings or question.choices, strict=True)
                ]
                if words is question.choices and question.meanings
                else [re.escape(normalized(word)) for word in words]
            )
            text = re.sub(r"\s*(?:[,、・/|]|と|か|または|or)?\s*".join(entries), " ", text, flags=re.IGNORECASE)
        return text.strip()

    def score(self, answer: str, question: Question) -> float:
        return max(exact_match(answer, gold) for gold in question.gold)

    def _words(self, question: Question, at: int) -> list[str]:
        label = question.choices[at]
        meaning = question.meanings[at] if question.meanings else ""
        return [normalized(word) for word in (label, meaning, *self.synonyms.get(label, ())) if word]

    def _named(self, text: str, question: Question) -> set[int]:
        """Which choices the text names, longer words first, so that 「非容認」 is not 「容認」."""
        words = [(word, at) for at in range(len(question.choices)) for word in self._words(question, at)]
        said: set[int] = set()
        for word, at in sorted(words, key=lambda one: -len(one[0])):
            pattern = _whole(word)
            if pattern.search(text):
                said.add(at)
                text = pattern.sub("\0", text)
        return said

    def _first(self, text: str, question: Question) -> str | None:
        """The choice that is named first."""
        places = [
            (found.start(), -len(word), at)
            for at in range(len(question.choices))
            for word in self._words(question, at)
            if (found := _whole(word).search(text))
        ]
        return question.choices[min(places)[2]] if places else None

    def _leading(self, head: str, question: Question) -> str | None:
        """The label that the text begins with, as in "3. 机" or "(B)"."""
        for label in sorted(question.choices, key=len, reverse=True):
            pattern = rf"[(\[【「『*]*{re.escape(normalized(label))}(?:[)\]】」』*.:、。,]|\s|番|$)"
            if found := re.match(pattern, head, re.IGNORECASE):
                # "1.5" and "1,200" begin with no label, and "1 と 2" with two.
                rest = head[found.end() :]
                if self._lists_another(rest, label, question):
                    return None
                if rest[:1].isdigit() or re.match(r"\s*(?:と|か|or|または|,|、)\s*[A-Za-z0-9](?!\w)", rest):
                    return None
                return label
        return None

    def _lists_another(self, rest: str, label: str, question: Question) -> bool:
        """Whether another label with what it stands for follows: then it is a list, and no answer."""
        return any(
            re.search(rf"(?<![\w.]){re.escape(normalized(other))}[.:、,)\]]\s*{re.escape(normalized(meaning))}", rest)
            for other, meaning in zip(question.choices, question.meanings, strict=False)
            if other != label and meaning
        )


class Numeric(Task):
    """The answer is a number, and nothing around it. A reader takes the number after 「答えは」, or else the last one."""

    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="number",
            instruction="問題の答えとなる数だけを、単位を付けずに出力してください。",
            input="問題：{question}",
        ),
        Phrasing(name="terse", instruction="答えの数だけを書け。", input="{question}"),
    )
    max_tokens: int = 24

    category: ClassVar[Category] = "arithmetic"

    def well_formed(self, text: str, question: Question) -> bool:
        return parse_float(text) is not None

    def understood(self, text: str, question: Question) -> str | None:
        text = without_denial(normalized(text), NUMBER)
        for part in (corrected(text), announced(text)):
            if part and (found := numbers(part)):
                return _plain(found[-1] if "=" in part or part == corrected(text) else found[0])
        found = numbers(text)
        return _plain(found[-1]) if found else None

    def score(self, answer: str, question: Question) -> float:
        said = parse_float(answer)
        if said is None:
            return 0.0
        wanted = (parse_float(gold) for gold in question.gold)
        return float(any(one is not None and math.isclose(said, one, rel_tol=1e-9, abs_tol=1e-9) for one in wanted))


class ShortAnswer(Task):
    """The answer is a few words, scored by `char_f1`. A reader takes what is in quotation marks, or leaves out 「答えは」 and 「です」."""

    metric: ClassVar[Metric] = "char_f1"

    def well_formed(self, text: str, question: Question) -> bool:
        text = normalized(text)
        # Some right answers are titles in quotation marks, or whole sentences.
        return text in {normalized(gold) for gold in question.gold} or (
            0 < len(text) <= max(MAX_ANSWER_CHARS, *(len(gold) for gold in question.gold))
            and "\n" not in text
            and not text.endswith(("。", "です", "ます"))
            and not MARKER.match(text)
            and quoted(text) != text[1:-1]
        )

    def understood(self, text: str, question: Question) -> str | None:
        text = normalized(text)
        if not text:
            return None
        marked = MARKER.search(text)
        rest = text[marked.end() :] if marked else text
        line = (corrected(rest) or rest).split("\n")[0].strip()
        line = re.sub(r"^.{1,40}?(?:では|じゃ)な(?:く|くて|い、)[、,]?\s*(?=.)", "", line)
        if said := quoted(line):
            return said.strip()
        sentence = re.split(r"[。!?]", line)[0]
        shorter = _ENDING.sub("", sentence).strip(" 、,.:*")
        return shorter or sentence or None

    def score(self, answer: str, question: Question) -> float:
        return max(char_f1(answer, gold) for gold in question.gold)


class Graded(Task):
    """The answer is a number on a scale; a task's score is its correlation with what people said."""

    metric: ClassVar[Metric] = "pearson"
    low: ClassVar[float]
    high: ClassVar[float]

    def well_formed(self, text: str, question: Question) -> bool:
        said = parse_float(text)
        return said is not None and self.low <= said <= self.high

    def understood(self, text: str, question: Question) -> str | None:
        text = without_denial(normalized(text), NUMBER)
        for part in (corrected(text), announced(text), text):
            said = [one for one in numbers(part or "") if self.low <= one <= self.high]
            if len(set(said)) == 1 or (said and part is not text):
                return _plain(said[0])
        return None

    def value(self, answer: str) -> float | None:
        return parse_float(answer)

    def score(self, answer: str, question: Question) -> float:
        """Nearness to the gold value, for the log of items alone; the task's number is the correlation."""
        said, wanted = parse_float(answer), parse_float(question.gold[0])
        if said is None or wanted is None:
            return 0.0
        return max(0.0, 1 - abs(said - wanted) / (self.high - self.low))

    @abstractmethod
    def question(self, row: dict[str, Any], place: str) -> Question: ...


def unwrapped(text: str) -> str:
    r"""The text without an announcement before it, quotation marks around it, or what follows its first paragraph.

    >>> unwrapped("訳文は以下の通りです。\n\n「猫がいる。」\n\n補足：…"), unwrapped("I have a cat.")
    ('猫がいる。', 'I have a cat.')
    """
    parts = [part.strip() for part in text.strip().split("\n") if part.strip()]
    if len(parts) > 1 and _ANNOUNCES.search(parts[0]):
        parts = parts[1:]
    said = re.sub(_ANNOUNCED, "", parts[0]) if parts else ""
    if (inner := quoted(said)) and inner == said[1:-1]:
        said = inner
    return said.strip()


def _whole(word: str) -> re.Pattern[str]:
    """The word where it is not a part of a longer Latin word or number."""
    left = r"(?<![A-Za-z0-9_.-])" if _latin(word[0]) else ""
    right = r"(?![A-Za-z0-9_-])(?!\.\d)" if _latin(word[-1]) else ""
    if word.isdigit():
        # "3個" counts things, and "3番" names a choice.
        right += r"(?![個つ円人本枚回年月日時分歳匹台冊点度倍件階])"
    return re.compile(left + re.escape(word) + right, re.IGNORECASE)


def _latin(character: str) -> bool:
    return character.isascii() or unicodedata.category(character) == "Nd"


def _plain(value: float) -> str:
    """A number without what it does not need.

    >>> _plain(3.0), _plain(2.5)
    ('3', '2.5')
    """
    return f"{value:.10g}"
