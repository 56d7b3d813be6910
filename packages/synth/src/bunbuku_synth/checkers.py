"""Whether an answer is right: a pure function a task, given the right answer and another one.

A verdict is `right`, `wrong` or `unclear`. `wrong` is said only where it is certain by the task's own rule; a paraphrase
of a translation or a synonym in a blank is `unclear`, and nothing is made of it.
"""

import re
from collections.abc import Sequence
from typing import Literal

from bunbuku_synth.answers import ANSWER, same_answer
from bunbuku_synth.language import content, normalized
from bunbuku_synth.numerals import numbers

type Verdict = Literal["right", "wrong", "unclear"]

_QUOTED = re.compile(r"「([^「」]+)」")


def translation(right: str, given: str) -> Verdict:
    """Right if it is the known translation; wrong if both say something and share no word that carries meaning.

    >>> translation("I like dogs.", "i like dogs"), translation("I like dogs.", "It rained."), translation("犬だ。", "犬。")
    ('right', 'wrong', 'unclear')
    """
    if normalized(given) == normalized(right):
        return "right"
    if not normalized(given):
        return "wrong"
    ours, theirs = content(right), content(given)
    return "wrong" if ours and theirs and not ours & theirs else "unclear"


def cloze(right: str, given: str) -> Verdict:
    """Right if it is the word that was left out; wrong if it has no letter in common with it.

    >>> cloze("「電車」", "電車"), cloze("電車", "バス"), cloze("電車", "車")
    ('right', 'wrong', 'unclear')
    """
    ours, theirs = normalized(quoted(right)), normalized(quoted(given))
    if ours == theirs:
        return "right"
    return "unclear" if set(ours) & set(theirs) else "wrong"


def arithmetic(right: str, given: str) -> Verdict:
    """Right if its only number is the answer's; wrong if none of its numbers is.

    >>> arithmetic("八です。", "8"), arithmetic("八です。", "九です。"), arithmetic("八です。", "八か九です。")
    ('right', 'wrong', 'unclear')
    """
    expected = {value for _, _, value in numbers(right)}
    found = {value for _, _, value in numbers(given)}
    if found == expected:
        return "right"
    return "unclear" if found & expected else "wrong"


def exact(right: str, given: str) -> Verdict:
    r"""Right if it ends in the same answer as mathematics; wrong if it ends in another one; unclear if it ends in none.

    >>> exact("1 + 1 = 2\n答え: 2", "答え: 2個"), exact("答え: 3/4", "3で割ると\n答え: 1/4"), exact("答え: 2", "分かりません。")
    ('right', 'wrong', 'unclear')
    """
    ours, theirs = _last(right), _last(given)
    if not theirs or not any(c.isnumeric() for c in theirs):
        return "unclear"
    return "right" if same_answer(ours, theirs) else "wrong"


def choice(choices: Sequence[str], answer: int, given: str) -> Verdict:
    """Right if it is the right choice, wrong if it is another one or names none; unclear if it names several.

    >>> choice(["犬", "猫"], 1, "猫。"), choice(["犬", "猫"], 1, "犬"), choice(["犬", "猫"], 1, "犬か猫")
    ('right', 'wrong', 'unclear')
    """
    said = normalized(given)
    exact = [index for index, text in enumerate(choices) if normalized(text) == said]
    if exact:
        return "right" if exact == [answer] else "wrong"
    return "unclear" if normalized(choices[answer]) in said else "wrong"


def _last(text: str) -> str:
    """The answer that a solution ends in: after 答え, or its last line."""
    found = ANSWER.findall(text)
    return found[-1] if found else text.strip().rpartition("\n")[2].strip()


def quoted(text: str) -> str:
    """What stands in 「」, if exactly one thing does; else the whole text.

    >>> quoted("空欄に入るのは「電車」です。"), quoted("電車")
    ('電車', '電車')
    """
    found = _QUOTED.findall(text)
    return found[0] if len(found) == 1 else text
