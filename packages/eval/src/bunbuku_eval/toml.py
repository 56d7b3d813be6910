"""A recorded config as the TOML file that would give it again.

Python reads TOML and does not write it. Recorded configs are plain JSON, of which a short subset of TOML is enough:
one line a field, tables inside as inline tables. TOML has no null: a field that is null is left out, and is null again
when its default is.
"""

import json
import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(config: Mapping[str, JsonValue]) -> str:
    """TOML text of a config; empty for an empty one.

    >>> print(dumps({"rows": 7, "filters": [{"type": "too_short", "min_chars": 10}], "note": None, "title": "猫"}), end="")
    rows = 7
    filters = [{ type = "too_short", min_chars = 10 }]
    title = "猫"
    """
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in config.items() if value is not None)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(name)} = {_value(child)}" for name, child in value.items() if child is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_value(child) for child in value if child is not None)}]"
    raise TypeError(f"{value!r} has no TOML")


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for the one control character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
