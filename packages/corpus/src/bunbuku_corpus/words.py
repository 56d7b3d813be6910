"""Cutting a text into words: by Sudachi, or by the changes of script alone. The one module that knows Sudachi.

Sudachi in its shortest mode is what FineWeb-2's thresholds were measured with (spaCy's Japanese tokenizer wraps it). It is
the slowest thing that can be done to a text here, so measures that need words share one analysis of it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from bunbuku_contracts import BunbukuError

if TYPE_CHECKING:
    from sudachipy import Morpheme

type Analyzer = Literal["sudachi", "scripts"]

MAX_BYTES = 40_000
"""Sudachi takes no more than 49,149 bytes at once; longer texts are cut at a line or sentence end."""
_SPACE = re.compile(r"\s")
_BREAK = re.compile(r"[\n。！？]")
_SCRIPTS = re.compile(
    r"(?P<other>[ぁ-ゖ]+|[a-zA-Zａ-ｚＡ-Ｚ]+)|(?P<noun>[ァ-ヺー]+|[々〇〻\u3400-\u9fff\uf900-\ufaff]+|[0-9０-９]+|[^\w\s])|\w"
)
_NOUNS = ("名詞", "代名詞", "記号", "補助記号")


class Analysis(NamedTuple):
    """The words of one text, white space left out."""

    starts: list[int]
    chars: list[int]
    nouns: list[bool]
    """Nouns and symbols."""


def analyze(text: str, analyzer: Analyzer) -> Analysis:
    """The text's words.

    >>> analyze("新しいPCを買った。", "scripts").chars
    [1, 2, 2, 1, 1, 2, 1]
    """
    return _by_script(text) if analyzer == "scripts" else _by_sudachi(text)


def _by_script(text: str) -> Analysis:
    found = list(_SCRIPTS.finditer(text))
    return Analysis(
        [one.start() for one in found],
        [one.end() - one.start() for one in found],
        [one["noun"] is not None for one in found],
    )


@cache
def _sudachi() -> tuple[Callable[[str], Iterable["Morpheme"]], Callable[[int], bool]]:
    """A tokenizer, and what says whether a part of speech is a noun's: one for a process, since both take long to make."""
    try:
        from sudachipy import Dictionary, SplitMode
    except ModuleNotFoundError as error:
        hint = 'pip install "bunbuku-corpus[words]", or analyzer = "scripts"'
        raise BunbukuError("a measure of words needs Sudachi, which is not installed", hint=hint) from error
    dictionary = Dictionary(dict="core")

    @cache
    def is_noun(kind: int) -> bool:
        return (dictionary.pos_of(kind) or ("",))[0] in _NOUNS

    # Readings and dictionary forms are not looked up: that is two fifths of the time.
    return dictionary.tokenizer(mode=SplitMode.A, fields={"pos"}).tokenize, is_noun


def _by_sudachi(text: str) -> Analysis:
    tokenize, is_noun = _sudachi()
    ends: list[int] = []
    kinds: list[int] = []
    place = 0
    for piece in pieces(text):
        found = tokenize(piece)
        ends += [place + word.end() for word in found]
        kinds += [word.part_of_speech_id() for word in found]
        place += len(piece)
    starts = [0, *ends[:-1]] if ends else []
    spans = zip(starts, ends, kinds, strict=True)
    if _SPACE.search(text):
        spans = [span for span in spans if not text[span[0] : span[1]].isspace()]
    kept = list(spans)
    return Analysis(
        [start for start, _, _ in kept],
        [end - start for start, end, _ in kept],
        [is_noun(kind) for _, _, kind in kept],
    )


def pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most `MAX_BYTES` of UTF-8 that join to it, cut behind a line or sentence where there is one."""
    while len(text) * 4 > MAX_BYTES and len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        most = MAX_BYTES // 4
        cut = max((one.end() for one in _BREAK.finditer(text, 0, most)), default=most)
        yield text[:cut]
        text = text[cut:]
    if text:
        yield text
