"""Text that was decoded wrongly: how much of it there is, and its repair where nothing was lost.

Nothing here touches text that was decoded rightly: full-width letters, half-width katakana, ideographic spaces and
compatibility characters stay as they are. (Repairers made for European text fold them.)
"""

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_LATIN = "\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u2026\u2030\u2039\u203a\u20ac\u2122"
_PATTERNS = (
    "\ufffd+",
    "[縺繧繝].?",  # UTF-8 read as Shift_JIS: E3 81, E3 82 and E3 83, with which kana begin
    f"(?:[ã-é][{_LATIN}]{{1,2}}){{2,}}",  # UTF-8 read as Windows-1252 or Latin-1, or less of it once controls are removed
    f"(?:[‚ƒ][{_LATIN} -~]){{3,}}",  # Shift_JIS read as Windows-1252
    "(?:[¤¥][\u00a1-\u00ff]){3,}",  # EUC-JP read as Latin-1
    "(?:[､･･][\uff61-\uff9f]){3,}",  # EUC-JP read as Shift_JIS
    "鐃緒申|锟斤拷",  # U+FFFD, encoded in UTF-8 and decoded wrongly again
)
_GARBLED = re.compile("|".join(_PATTERNS))
# What every pattern has one of: texts without are not searched.
_TRACES = re.compile("[\ufffd縺繧繝ã-é‚ƒ¤¥､･鐃锟]")

_MISREAD_UTF8 = re.compile(f"[Â-ô][{_LATIN}]+(?:[Â-ô\\s!-~][{_LATIN}]*)*")
_JAPANESE = re.compile("[\u3041-\u30fc\u4e00-\u9fff]")


def garbled(texts: Iterable[str]) -> NDArray[np.int64]:
    """How many characters of each text a wrong decoding left.

    >>> garbled(["文字化け", "\ufffd\ufffd字化け", "縺薙ｓ縺ｫ縺｡縺ｯ"]).tolist()
    [0, 2, 8]
    """
    return np.array(
        [sum(len(one[0]) for one in _GARBLED.finditer(text)) if _TRACES.search(text) else 0 for text in texts], np.int64
    )


def repair(text: str) -> str:
    """The text with what was UTF-8 and read as Windows-1252 or Latin-1 read anew, where that gives Japanese.

    >>> repair("“こんにちは”".encode().decode("latin-1"))
    '“こんにちは”'
    >>> repair("Ｐｙｔｈｏｎ　３．１２　ｶﾞｲﾄﾞ ① café")
    'Ｐｙｔｈｏｎ　３．１２　ｶﾞｲﾄﾞ ① café'
    """
    if not _TRACES.search(text):
        return text
    return _MISREAD_UTF8.sub(lambda found: _reread(found[0]), text)


def _reread(text: str) -> str:
    try:
        read = b"".join(map(_byte, text)).decode("utf-8")
    except UnicodeError:
        return text
    return read if _JAPANESE.search(read) else text


def _byte(char: str) -> bytes:
    """The byte that Windows-1252 shows as this character, or Latin-1 where Windows-1252 shows none."""
    return char.encode("latin-1") if ord(char) < 0x100 else char.encode("cp1252")
