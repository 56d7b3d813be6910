"""What a judge decided, read from what it wrote: always its last verdict, or none.

Judges think aloud, name both sides, quote the instruction and mend what they said first. Whoever takes the first verdict
that looks like one takes the wrong one; what holds no verdict is told to hold none.
"""

import re
from typing import Literal

from bunbuku_eval.metrics import normalized

type Preference = Literal["a", "b", "tie"]

_DOUBLE = re.compile(
    r"\[\[\s*(?:rating|評価|score)?\s*[:=]?\s*([-+]?\d+(?:\.\d+)?)\s*(?:点|/\s*\d+)?\s*\]\]", re.IGNORECASE
)
_SINGLE = re.compile(r"(?<!\[)\[\s*([-+]?\d+(?:\.\d+)?)\s*\](?!\])")
_SPOKEN = re.compile(
    r"(?:評価|評点|点数|スコア|採点|rating|score)\s*(?:は|:|=|-)?\s*\**\s*([-+]?\d+(?:\.\d+)?)(?!\d)", re.IGNORECASE
)
_SIDES: dict[str, Preference] = {"a": "a", "b": "b", "c": "tie", "tie": "tie", "引き分け": "tie", "同等": "tie"}
_CHOICE = re.compile(r"\[\[\s*(A|B|C|tie|引き分け|同等)\s*\]\]", re.IGNORECASE)
_LOOSE = re.compile(r"(?<!\[)\[\s*(A|B|C|tie|引き分け|同等)\s*\](?!\])", re.IGNORECASE)


def rating(text: str, *, low: float, high: float) -> float | None:
    """The last rating on the scale from `low` to `high`; `None` if there is none.

    >>> rating("初めは[[5]]と思ったが、評価：[[８]]", low=1, high=10), rating("[[11]]", low=1, high=10)
    (8.0, None)
    >>> rating("Rating: 7/10", low=1, high=10), rating("よい答えです", low=1, high=10)
    (7.0, None)
    """
    text = normalized(text)
    for pattern in (_DOUBLE, _SINGLE, _SPOKEN):
        if found := pattern.findall(text):
            value = float(found[-1])
            return value if low <= value <= high else None
    return None


def preference(text: str) -> Preference | None:
    """The last side that was named as the better one; `None` if there is none.

    >>> preference("[[A]]のようだが、よく見ると[[B]]"), preference("［［Ｃ］］"), preference("Aがよい")
    ('b', 'tie', None)
    """
    text = normalized(text)
    for pattern in (_CHOICE, _LOOSE):
        if found := pattern.findall(text):
            return _SIDES[found[-1].lower()]
    return None
