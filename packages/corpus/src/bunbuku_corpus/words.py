"""Cutting a text into words: by Sudachi or MeCab, or by the changes of script alone. The one module that knows them.

Sudachi in its shortest mode is what FineWeb-2's thresholds were measured with (spaCy's Japanese tokenizer wraps it). It is
the slowest thing that can be done to a text here, so measures that need words share one analysis of it. MeCab with UniDic's small dictionary is twice as fast and
cuts into nearly the same words; changes of script cost nothing and make other ones.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray

from bunbuku_corpus.ngrams import codepoints

type Analyzer = Literal["sudachi", "mecab", "scripts"]

MAX_BYTES = 40_000
"""Sudachi takes no more than 49,149 bytes at once; longer texts are cut at a line or sentence end."""
_BETWEEN = ord(" ")
_CONTROL = re.compile(r"[\x01-\x08\x0b-\x1f]")
_BREAK = re.compile(r"[\n。！？]")
_SCRIPTS = re.compile(
    r"(?P<other>[ぁ-ゖ]+|[a-zA-Zａ-ｚＡ-Ｚ]+)|(?P<noun>[ァ-ヺー]+|[々〇〻\u3400-\u9fff\uf900-\ufaff]+|[0-9０-９]+|[^\w\s])|\w"
)
_NOUNS = ("名詞", "代名詞", "記号", "補助記号")


class Analysis(NamedTuple):
    """The words of one text; white space between them may be among them."""

    starts: NDArray[np.int64]
    chars: NDArray[np.int64]
    nouns: NDArray[np.bool_] | None
    """Nouns and symbols, if they were asked for."""


def analyze(text: str, analyzer: Analyzer, *, nouns: bool = False) -> Analysis:
    """The text's words.

    >>> analyze("新しいPCを買った。", "scripts").chars.tolist()
    [1, 2, 2, 1, 1, 2, 1]
    """
    if analyzer == "scripts":
        return _by_script(text)
    cut = (_sudachi() if analyzer == "sudachi" else _mecab()).cut
    found: list[Analysis] = []
    place = 0
    for piece in pieces(text) if text else ("",):
        one = cut(piece, nouns=nouns)
        found.append(one._replace(starts=one.starts + place))
        place += len(piece)
    if len(found) == 1:
        return found[0]
    return Analysis(
        np.concatenate([one.starts for one in found]),
        np.concatenate([one.chars for one in found]),
        np.concatenate([one.nouns for one in found if one.nouns is not None]) if nouns else None,
    )


def _by_script(text: str) -> Analysis:
    found = list(_SCRIPTS.finditer(text))
    starts = np.array([one.start() for one in found], np.int64)
    ends = np.array([one.end() for one in found], np.int64)
    return Analysis(starts, ends - starts, np.array([one["noun"] is not None for one in found], np.bool_))


class _Sudachi:
    """A tokenizer, and what says whether a part of speech is a noun's: one for a process, since both take long to make."""

    def __init__(self) -> None:
        try:
            from sudachipy import Dictionary, Morpheme, SplitMode
        except ModuleNotFoundError as error:
            hint = 'pip install "bunbuku-corpus[words]", or analyzer = "scripts"'
            raise BunbukuError("a measure of words needs Sudachi, which is not installed", hint=hint) from error
        self._dictionary = Dictionary(dict="core")
        # Numbers such as 2,000 are joined to one word only if normalized forms are looked up; readings are not needed.
        self._tokenizer = self._dictionary.tokenizer(mode=SplitMode.A, fields={"pos", "normalized_form"})
        self._words = self._tokenizer.tokenize("")
        self._end, self._kind = Morpheme.end, Morpheme.part_of_speech_id
        self._nouns = np.zeros(0, np.bool_)

    def cut(self, text: str, *, nouns: bool) -> Analysis:
        """The text's words; they and the white space among them join to the text."""
        words = self._tokenizer.tokenize(text, out=self._words)
        if " " in text:
            ends = np.fromiter(map(self._end, words), np.int64, len(words))
        else:
            # Written as one string with spaces, they need not be asked for their ends one by one.
            spaces = np.flatnonzero(codepoints(str(words)) == _BETWEEN)
            ends = np.append(spaces - np.arange(len(spaces)), len(text))[: len(words)]
        starts = np.append(0, ends)[:-1]
        kinds = np.fromiter(map(self._kind, words), np.int64, len(words)) if nouns else None
        return Analysis(starts, ends - starts, None if kinds is None else self._are_nouns(kinds))

    def _are_nouns(self, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether parts of speech are those of nouns and symbols."""
        known = len(self._nouns)
        if len(kinds) and (most := int(kinds.max())) >= known:
            names = [(self._dictionary.pos_of(kind) or ("",))[0] for kind in range(known, most + 1)]
            self._nouns = np.append(self._nouns, np.array([name in _NOUNS for name in names], np.bool_))
        return self._nouns[kinds]


_sudachi = cache(_Sudachi)


class _Mecab:
    """A tagger with UniDic's small dictionary, one for a process."""

    def __init__(self) -> None:
        try:
            from fugashi import GenericTagger  # pyright: ignore[reportAttributeAccessIssue] -- it is compiled
            from unidic_lite import DICDIR
        except ModuleNotFoundError as error:
            hint = 'pip install "bunbuku-corpus[mecab]", or analyzer = "scripts"'
            raise BunbukuError("words by MeCab need fugashi and unidic-lite, which are not there", hint=hint) from error
        self._tagger = GenericTagger(f"-Owakati -r {DICDIR}/mecabrc -d {DICDIR}")

    def cut(self, text: str, *, nouns: bool) -> Analysis:
        """The text's words, without white space."""
        text = text.replace("\0", " ")  # MeCab reads no further
        plain = None if nouns or _CONTROL.search(text) else self._without_nouns(text)
        if plain:
            return plain
        nodes = self._tagger.parseToNodeList(text)
        chars = np.array([len(node.surface) for node in nodes], np.int64)
        kinds = np.array([node.feature[0] in _NOUNS for node in nodes], np.bool_)
        return Analysis(_starts(text, [node.surface for node in nodes]), chars, kinds if nouns else None)

    def _without_nouns(self, text: str) -> Analysis | None:
        """The words, written as one string with spaces; `None` where more than white space was left out."""
        words, points = codepoints(self._tagger.parse(text)), codepoints(text)
        visible = np.flatnonzero(points > _BETWEEN)
        if not np.array_equal(points[visible], words[words != _BETWEEN]):
            return None
        ends = np.append(np.flatnonzero(words == _BETWEEN), len(words))
        chars = np.diff(ends, prepend=-1) - 1
        chars = chars[chars > 0]
        return Analysis(visible[np.cumsum(chars) - chars], chars, None)


def _starts(text: str, words: list[str]) -> NDArray[np.int64]:
    """Where each of the words stands, looked for from left to right."""
    starts: list[int] = []
    place = 0
    for word in words:
        place = text.index(word, place)
        starts.append(place)
        place += len(word)
    return np.array(starts, np.int64)


_mecab = cache(_Mecab)


def pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most `MAX_BYTES` of UTF-8 that join to it, cut behind a line or sentence where there is one."""
    while len(text) * 4 > MAX_BYTES and len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        most = MAX_BYTES // 4
        cut = max((one.end() for one in _BREAK.finditer(text, 0, most)), default=most)
        yield text[:cut]
        text = text[cut:]
    if text:
        yield text
