"""Bytes of a page to characters, whatever the page says about itself. The one module that knows resiliparse's detector.

What a page declares is often wrong and its bytes are not: UTF-8 is told by its form, ISO-2022-JP by its escapes, and between
Shift_JIS (read as Windows does, cp932) and EUC-JP the reading with more hiragana is right, since each of them reads the
other's hiragana as something else.
"""

import codecs
import re
from typing import NamedTuple

from bunbuku_corpus.language import KANA

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(
    rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([a-zA-Z0-9_:.\-]{2,30})", re.IGNORECASE
)
_HIRAGANA = re.compile("[\u3041-\u3096]")
_HEAD_BYTES = 4096
# Python's names of what the web calls so (WHATWG, Encoding Standard): supersets, with what Windows adds.
_WINDOWS = {
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "ms_kanji": "cp932",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "us-ascii": "cp1252",
    "x-euc-jp": "euc_jp",
    "euc-jp": "euc_jp",
    "iso2022_jp": "iso2022_jp_ext",
    "iso-2022-jp": "iso2022_jp_ext",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}


class Decoded(NamedTuple):
    """A page's characters, and the encoding that they were read by."""

    text: str
    encoding: str


def decode(page: bytes, declared: str | None = None) -> Decoded:
    """The page's characters.

    Args:
        page: Its bytes.
        declared: What an HTTP header said, if one did.

    >>> decode("<meta charset='utf-8'>日本語です".encode("cp932")).text
    "<meta charset='utf-8'>日本語です"
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if page.startswith(mark):
            return Decoded(page[len(mark) :].decode(encoding, "replace"), encoding)
    if (b"\x1b$" in page or b"\x1b(" in page) and (text := _strict(page, "iso2022_jp_ext")) is not None:
        return Decoded(text, "iso2022_jp")
    if (text := _strict(page, "utf-8")) is not None:
        return Decoded(text, "utf-8")
    inside = _DECLARED.search(page[:_HEAD_BYTES])
    names = [declared or "", inside[1].decode("ascii") if inside else "", "cp932", "euc_jp", _detected(page)]
    tried = [
        (text, name) for name in dict.fromkeys(map(_known, names)) if name and (text := _strict(page, name)) is not None
    ]
    if tried:
        # Of equally Japanese ones the first, which is what was declared.
        return Decoded(*max(tried, key=lambda one: len(_HIRAGANA.findall(one[0]))))
    loose = [(page.decode(name, "replace"), name) for name in dict.fromkeys(("utf-8", *map(_known, names))) if name]
    return Decoded(*min(loose, key=lambda one: one[0].count("\ufffd") - len(_HIRAGANA.findall(one[0]))))


def looks_japanese(page: str, min_kana: int) -> bool:
    """Whether a page may hold Japanese, before anything is parsed: kana anywhere in it, `min_kana` at least."""
    return sum(1 for _ in zip(range(min_kana), KANA.finditer(page), strict=False)) >= min_kana


def _known(name: str) -> str:
    """Python's name of an encoding, nothing if there is no such one."""
    name = _WINDOWS.get(name.strip().lower(), name.strip().lower())
    try:
        return codecs.lookup(name).name if name else ""
    except LookupError:
        return ""


def _strict(page: bytes, encoding: str) -> str | None:
    try:
        return page.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _detected(page: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    return str(detect_encoding(page) or "")
