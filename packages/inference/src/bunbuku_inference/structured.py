"""Replies that are to be JSON: read as they are if they fit, mended by name if that is enough, else no value.

Engines that hold a model to a schema give what fits. Others give fences around it, a sentence before it, a comma too many or an
end that was cut off; each mending has a name, to be counted, and none invents a value.
"""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)(?:\n\s*```|\Z)", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_EXTRA_COMMA = re.compile(r",(\s*[}\]])")


class Read[M: BaseModel](NamedTuple):
    """What a reply says, and the names of the mendings it took."""

    value: M | None
    """`None`: it does not fit, whatever is mended."""
    repairs: tuple[str, ...] = ()


def schema_of(kind: type[BaseModel]) -> str:
    """The JSON Schema of a class, for `Request.reply_schema`: the same text for the same class."""
    return json.dumps(kind.model_json_schema(), ensure_ascii=False, sort_keys=True)


def read_json[M: BaseModel](text: str, kind: type[M]) -> Read[M]:
    r"""What a reply says, as a value of `kind`.

    >>> class Point(BaseModel):
    ...     x: int
    ...     y: int = 0
    >>> read_json('{"x": 1}', Point)
    Read(value=Point(x=1, y=0), repairs=())
    >>> read_json('はい。\n```json\n{"x": 1,}\n```', Point)
    Read(value=Point(x=1, y=0), repairs=('fence', 'comma'))
    >>> read_json('{"x": 1, "y', Point), read_json("なし", Point)
    (Read(value=Point(x=1, y=0), repairs=('cut_off',)), Read(value=None, repairs=()))
    """
    repairs: list[str] = []
    text = text.strip()
    if (value := _validated(text, kind)) is not None:
        return Read(value)
    for name, mend in _MENDINGS.items():
        mended = mend(text)
        if mended is not None and mended != text:
            text, repairs = mended, [*repairs, name]
            if (value := _validated(text, kind)) is not None:
                return Read(value, tuple(repairs))
    return Read(None)


def _validated[M: BaseModel](text: str, kind: type[M]) -> M | None:
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        return None


def _inside_fence(text: str) -> str | None:
    found = _FENCE.search(text)
    return found[1].strip() if found else None


def _between_braces(text: str) -> str | None:
    """From the first bracket to the last one that closes, or to the end if none does."""
    first = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if first < 0:
        return None
    last = max(text.rfind("}"), text.rfind("]"))
    return text[first : last + 1] if last > first else text[first:]


def _without_commas(text: str) -> str:
    """Without commas before a closing bracket, those in strings left alone."""
    held: list[str] = []

    def hold(found: re.Match[str]) -> str:
        held.append(found[0])
        return f'"{len(held) - 1}"'

    bare = _EXTRA_COMMA.sub(r"\1", _STRING.sub(hold, text))
    return re.sub(r'"(\d+)"', lambda found: held[int(found[1])], bare)


def _closed(text: str) -> str | None:
    """The longest beginning that ends after a whole value, with its brackets closed."""
    for end in range(len(text), 0, -1):
        if text[end - 1] in '"}]' or text[end - 1].isalnum():
            beginning = text[:end]
            candidate = beginning + _closing(beginning)
            if _is_json(candidate):
                return candidate
    return None


def _closing(text: str) -> str:
    pairs = {"{": "}", "[": "]"}
    open_: list[str] = []
    for c in _STRING.sub("", text):
        if c in pairs:
            open_.append(pairs[c])
        elif open_ and c == open_[-1]:
            open_.pop()
    return "".join(reversed(open_))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


_MENDINGS: dict[str, Callable[[str], str | None]] = {
    "fence": _inside_fence,
    "around": _between_braces,
    "comma": _without_commas,
    "cut_off": _closed,
}
