"""What a judge decided, read from what it wrote: always its last verdict, or none.

Judges think aloud, name both sides, quote the instruction and mend what they said first, at times in other brackets than
before. So every place that looks like a verdict is a *mark*; marks that are only spoken of (quoted choices, examples, what is
denied) are passed over, and of the others the last one counts. What holds no verdict is told to hold none, and asked for again.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from bunbuku_eval.metrics import normalized

type Preference = Literal["a", "b", "tie"]

_SCALE = r"(?:\d+点(?:満点)?中[、の]?\s*)?"
_NUMBER = rf"{_SCALE}([-+]?\d+(?:\.\d+)?)\s*(?:点|/\s*\d+)?"
_WORDS = r"(?:評価|評点|点数|スコア|採点|rating|score)"
_OF_A_SCALE = r"(?:\s*/\s*\[{0,2}\d+\]{0,2})?"
_DOUBLE_RATING = re.compile(rf"\[\[\s*{_WORDS}?\s*[:=]?\s*{_NUMBER}\s*\]\]{_OF_A_SCALE}", re.IGNORECASE)
_LOOSE_RATING = re.compile(rf"(?<!\[)\[{{1,2}}\s*{_NUMBER}\s*\]{{1,2}}(?!\]){_OF_A_SCALE}")
_IN_LINE = r"[^\S\n]*"
_SPOKEN_RATING = re.compile(
    rf"{_WORDS}{_IN_LINE}[\]*]*{_IN_LINE}(?:(?:は|:|=|-){_IN_LINE}\**{_IN_LINE}{_NUMBER}(?![\d.]*(?:満点|点満点|段階|つ|個|件|人))"
    rf"|:?{_IN_LINE}\n\s*\**{_NUMBER}\**{_IN_LINE}(?=\n|$))",
    re.IGNORECASE,
)
_WHO = r"(?:回答|モデル|アシスタント|answer|assistant|model|response)?\s*"
_SIDE = rf"{_WHO}(A|B|C|tie|引き分け|引分け|同等|A\s*[<>]{{1,2}}\s*B|B\s*[<>]{{1,2}}\s*A|A\s*=\s*B)"
_DOUBLE_SIDE = re.compile(
    rf"\[\[\s*{_SIDE}\s*(?:の勝ち|がよい|が良い|が優れている|is better|wins)?\s*\]\]", re.IGNORECASE
)
_LOOSE_SIDE = re.compile(rf"(?<!\[)\[{{1,2}}\s*{_SIDE}\s*\]{{1,2}}(?!\])", re.IGNORECASE)
_SPOKEN_SIDE = re.compile(
    rf"(?:判定|結論|勝者|verdict|winner){_IN_LINE}\**{_IN_LINE}(?:は|:|=){_IN_LINE}\**{_IN_LINE}{_SIDE}"
    r"\**(?=\s*(?:$|\n|[。.!]|です|の勝|のほう|の方|が(?:よ|良|優|勝)))",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(
    r"(?:評価|評点|点数|スコア|rating|score|判定|結論|最終|訂正|正しくは|verdict|final|answer)[^\n。\[\]]{0,12}$",
    re.IGNORECASE,
)
"""What stands before brackets that are a verdict, and no mark in a sentence such as a footnote's."""
_REVISED = re.compile(r"(?:最終|訂正|改め|やはり|正しくは|final|revised|instead)[^\n。]{0,12}$", re.IGNORECASE)
_WHOLE = re.compile(r"(?:総合|最終|final|overall)[^\n。\[\]]{0,12}$", re.IGNORECASE)
"""What stands before the verdict on the whole: marks of single aspects that follow it do not replace it."""
_DENIED_AFTER = re.compile(
    r"\s*[」』\"']?\s*(?:では(?:な|あり)|じゃな|でなく|ほど|には|とするには|にするには|とは(?:言|い)|という形|の(?:よう|形)"
    r"|に(?:届|達)|とする(?:に|ほど)|is not|would |if )"
)
_DENIED_BEFORE = re.compile(
    r"(?:\bnot\s+(?:an?\s+)?[\"']?|(?:instead of|rather than)\s+[\"']?|(?:例えば|たとえば|例:|for example|e\.g\.)[^\n。]{0,14})$",
    re.IGNORECASE,
)
_CHOICES = re.compile(
    r"\[\[[^\[\]\n]+\]\][\"'」]?(?:\s*(?:[、,・~-]|か|または|もしくは|or|から|と)(?:\s*(?:または|or))?\s*[\"'「]?\[\[[^\[\]\n]+\]\]"
    r"[\"'」]?)+",
    re.IGNORECASE,
)
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_BRACKETS = str.maketrans("【】〔〕〖〗", "[][][]")


class _Mark(NamedTuple):
    start: int
    end: int
    form: int
    """0 in double brackets, 1 in others, 2 without."""
    said: str


def rating(text: str, *, low: float, high: float) -> float | None:
    r"""The last rating on the scale from `low` to `high`; `None` if there is none.

    >>> rating("初めは[[5]]と思ったが、評価：[[８]]", low=1, high=10), rating("[[11]]", low=1, high=10)
    (8.0, None)
    >>> rating("Rating: 7/10", low=1, high=10), rating("よい答えです", low=1, high=10)
    (7.0, None)
    >>> rating("評価：[[5]]\n訂正します。評価：[7]", low=1, high=10), rating("[[8]]。出典は文献[3]。", low=1, high=10)
    (7.0, 8.0)
    >>> rating("評価：[[7]]。[[10]]には例が足りません。", low=1, high=10)
    7.0
    """
    said = _last(text, (_DOUBLE_RATING, _LOOSE_RATING, _SPOKEN_RATING))
    value = float(said) if said is not None else None
    return value if value is not None and low <= value <= high else None


def preference(text: str) -> Preference | None:
    r"""The last side that was named as the better one; `None` if there is none.

    >>> preference("[[A]]のようだが、よく見ると[[B]]"), preference("［［Ｃ］］"), preference("Aがよい")
    ('b', 'tie', None)
    >>> preference("[[A]]\n訂正：[B]"), preference("[[B]]。[[A]]ではありません。"), preference("[[A]]か[[B]]か迷います。")
    ('b', 'b', None)
    """
    said = _last(text, (_DOUBLE_SIDE, _LOOSE_SIDE, _SPOKEN_SIDE))
    return _side(said) if said is not None else None


def _side(said: str) -> Preference:
    """Which side, also of signs as in `A>>B`."""
    plain = re.sub(r"\s", "", said).lower()
    if plain in ("a", "b"):
        return "a" if plain == "a" else "b"
    if "<" not in plain and ">" not in plain:
        return "tie"
    return "a" if (plain[0] == "a") == (">" in plain) else "b"


def _last(text: str, patterns: tuple[re.Pattern[str], ...]) -> str | None:
    """What the last verdict says."""
    plain = _THOUGHT.sub("", normalized(text).translate(_BRACKETS))
    choices = [found.span() for found in _CHOICES.finditer(plain)]
    kept: _Mark | None = None
    for mark in _marks(plain, patterns):
        before, after = plain[max(0, mark.start - 60) : mark.start], plain[mark.end : mark.end + 30]
        quoted = any(start <= mark.start < end for start, end in choices)
        if quoted or _DENIED_BEFORE.search(before) or _DENIED_AFTER.match(after):
            continue
        whole = kept is not None and _WHOLE.search(plain[max(0, kept.start - 60) : kept.start]) is not None
        if _counts(mark, kept, before, after, whole=whole):
            kept = mark
    return kept.said if kept else None


def _counts(mark: _Mark, kept: _Mark | None, before: str, after: str, *, whole: bool) -> bool:
    """Whether a mark is a verdict, and stands above the one `kept` so far."""
    announced = _ANNOUNCED.search(before) is not None
    if mark.form == 0:
        return announced or not whole
    if mark.form == 1:
        alone = not before.rsplit("\n", 1)[-1].strip(" *") and not after.strip(" *\n。.")
        return announced or alone
    return kept is None or kept.form == 2 or _REVISED.search(before) is not None


def _marks(plain: str, patterns: tuple[re.Pattern[str], ...]) -> Iterator[_Mark]:
    """Everything that looks like a verdict, in order; of what overlaps, the clearest form."""
    found = [
        _Mark(one.start(), one.end(), form, next(group for group in one.groups() if group is not None))
        for form, pattern in enumerate(patterns)
        for one in pattern.finditer(plain)
    ]
    end = 0
    for mark in sorted(found, key=lambda one: (one.start, one.form)):
        if mark.start >= end:
            yield mark
            end = mark.end
