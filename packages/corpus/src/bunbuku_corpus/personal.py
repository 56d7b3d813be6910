"""Personal information by its form: mail addresses, Japanese telephone numbers and IP addresses."""

import re
import unicodedata
from collections.abc import Callable

_EMAIL = re.compile(r"[A-Za-z0-9_.+-]{1,64}[@＠][A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}")
_PHONE = re.compile(
    r"(?<![\d.\-－])(?:[+＋](?:81|８１)[ -]?|[(（]?[0０])\d{0,4}[)）]?[ \-‐－ー]?[(（]?\d{1,4}[)）]?[ \-‐－ー]?\d{3,4}(?![\d\-－])"
)
_ADDRESS = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")


def masked(text: str, *, email: str | None, phone: str | None, address: str | None) -> str:
    """The text with these in place of what is found; what is `None` is left as it is.

    >>> masked("電話は03-1234-5678、又はa@b.jp", email=None, phone="○", address=None)
    '電話は○、又はa@b.jp'
    """
    if email is not None:
        text = _each(_EMAIL, text, lambda _: email)
    if address is not None:
        text = _each(_ADDRESS, text, lambda _: address)
    if phone is not None:
        text = _each(_PHONE, text, lambda found: phone if _is_phone(found) else found)
    return text


def sizes(text: str) -> list[int]:
    """How many characters each has that stands in the text.

    >>> sizes("03-1234-5678 2024-01-02 taro@mail.co.jp")
    [15, 12]
    """
    found: list[int] = []

    def count(one: str) -> str:
        found.append(len(one))
        return " "

    text = _each(_ADDRESS, _each(_EMAIL, text, count), count)
    _each(_PHONE, text, lambda one: count(one) if _is_phone(one) else one)
    return found


def _each(pattern: re.Pattern[str], text: str, put: Callable[[str], str]) -> str:
    if pattern is _EMAIL and "@" not in text and "＠" not in text:
        return text
    return pattern.sub(lambda found: put(found[0]), text)


def _is_phone(found: str) -> bool:
    digits = "".join(filter(str.isdigit, unicodedata.normalize("NFKC", found)))
    national = "0" + digits[2:] if found[0] in "+＋" else digits
    return len(national) in (10, 11) and len(digits) < len(found)
