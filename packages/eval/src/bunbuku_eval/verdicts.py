"""What a judge decided, read from what it wrote: always its last verdict, or none.

Judges think aloud, name both sides, quote the instruction and mend what they said first, at times in other brackets than
before. Whoever takes the first verdict that looks like one takes the wrong one; what holds no verdict is told to hold none.
"""

import re
from collections.abc import Sequence
from typing import Literal

from bunbuku_eval.metrics import normalized

type Preference = Literal["a", "b", "tie"]

_NUMBER = r"([-+]?\d+(?:\.\d+)?)\s*(?:点|/\s*\d+)?"
_DOUBLE = re.compile(rf"\[\[\s*(?:rating|評価|score)?\s*[:=]?\s*{_NUMBER}\s*\]\]", re.IGNORECASE)
_SINGLE = re.compile(rf"(?<!\[)\[\s*{_NUMBER}\s*\](?!\])")
_SPOKEN = re.compile(
    r"(?:評価|評点|点数|スコア|採点|rating|score)\s*(?:は|:|=|-)?\s*\**\s*([-+]?\d+(?:\.\d+)?)(?![\d.]*(?:点満点|段階|つ|個|件|人))",
    re.IGNORECASE,
)
_SIDES: dict[str, Preference] = {"a": "a", "b": "b", "c": "tie", "tie": "tie", "引き分け": "tie", "同等": "tie"}
_SIDE = r"\s*(A|B|C|tie|引き分け|同等)\s*"
_CHOICE = re.compile(rf"\[\[{_SIDE}\]\]", re.IGNORECASE)
_LOOSE = re.compile(rf"(?<!\[)\[{_SIDE}\](?!\])", re.IGNORECASE)
_ANNOUNCED = re.compile(
    r"(?:^|\n|評価|評点|点数|スコア|rating|score|判定|結論|最終|訂正|正しくは|verdict|final|answer)[^\n。\[\]]{0,12}$",
    re.IGNORECASE,
)
"""What stands before brackets that are a verdict, and no mark in a sentence such as a footnote's."""
_REVISED = re.compile(r"(?:最終|訂正|改め|やはり|正しくは|final|revised|instead)[^\n。]{0,12}$", re.IGNORECASE)


def rating(text: str, *, low: float, high: float) -> float | None:
    r"""The last rating on the scale from `low` to `high`; `None` if there is none.

    >>> rating("初めは[[5]]と思ったが、評価：[[８]]", low=1, high=10), rating("[[11]]", low=1, high=10)
    (8.0, None)
    >>> rating("Rating: 7/10", low=1, high=10), rating("よい答えです", low=1, high=10)
    (7.0, None)
    >>> rating("評価：[[5]]\n訂正します。評価：[7]", low=1, high=10), rating("[[8]]。出典は文献[3]。", low=1, high=10)
    (7.0, 8.0)
    """
    said = _last(normalized(text), (_DOUBLE, _SINGLE, _SPOKEN))
    value = float(said) if said is not None else None
    return value if value is not None and low <= value <= high else None


def preference(text: str) -> Preference | None:
    r"""The last side that was named as the better one; `None` if there is none.

    >>> preference("[[A]]のようだが、よく見ると[[B]]"), preference("［［Ｃ］］"), preference("Aがよい")
    ('b', 'tie', None)
    >>> preference("[[A]]\n訂正：[B]"), preference("[[B]]。[A]は短すぎます。")
    ('b', 'b')
    """
    said = _last(normalized(text), (_CHOICE, _LOOSE))
    return _SIDES[said.lower()] if said is not None else None


def _last(text: str, patterns: Sequence[re.Pattern[str]]) -> str | None:
    """What the last verdict says. Clearer forms come first; a less clear one counts after them only where it is announced."""
    found: re.Match[str] | None = None
    for pattern in patterns:
        announced = _REVISED if pattern is _SPOKEN else _ANNOUNCED
        for one in pattern.finditer(text):
            if found is None or (
                one.start() > found.start() and (one.re is found.re or announced.search(text[: one.start()]))
            ):
                found = one
    return found[1] if found else None
