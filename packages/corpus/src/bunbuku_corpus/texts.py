"""A batch of texts, looked at all at once: their characters, lines, paragraphs, sentences and words.

Everything is worked out when it is first asked for and kept with the batch, so that twenty measures of a text pass over it
once, and a morphological analysis, if any measure wants one, is made once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunbuku_corpus.characters import LETTERS, SCRIPTS, Class, Counts, classes, count_classes
from bunbuku_corpus.items import Hashes, Items, Mask, Places
from bunbuku_corpus.vocabulary import fold
from bunbuku_corpus.words import Analysis, Analyzer, analyze

LONGEST = 1_000_000
"""Characters of a text that are looked at, so that one dump in a batch costs no more memory than a batch does."""
_NEWLINE = ord("\n")
_ASCII_TERMINATORS = (ord("!"), ord("?"))
_NO_PLACES: Places = np.empty(0, np.int64)
_MARKS = (Class.OTHER, Class.TOTEN, Class.KUTEN, Class.REPLACEMENT)


def within(mask: Mask, starts: Places, ends: Places) -> Places:
    """For how many places from each start to before its end the mask is true."""
    before = np.concatenate(([0], np.cumsum(mask)))
    return before[ends] - before[starts]


@dataclass(frozen=True)
class Pieces:
    """Lines, paragraphs or sentences of a batch, empty ones left out."""

    starts: Places
    ends: Places
    documents: Places
    hashes: Hashes
    count: int
    """Number of documents."""

    @property
    def chars(self) -> Places:
        """Length of each."""
        return self.ends - self.starts

    @property
    def numbers(self) -> Places:
        """How many each document has."""
        return np.bincount(self.documents, minlength=self.count)

    def total(self, values: NDArray[np.int64] | Mask) -> Places:
        """The sum of the values, one a piece, by document."""
        return np.bincount(self.documents, values, minlength=self.count).astype(np.int64)

    def within(self, mask: Mask) -> Places:
        """For how many characters of each the mask is true."""
        return within(mask, self.starts, self.ends)

    @cached_property
    def again(self) -> Mask:
        """Which equal a piece that stands further left in the same document."""
        order = np.lexsort((self.starts, self.hashes, self.documents))
        same = np.zeros(len(order), np.bool_)
        left, right = order[:-1], order[1:]
        same[right] = (self.hashes[left] == self.hashes[right]) & (self.documents[left] == self.documents[right])
        return same

    @property
    def shared(self) -> Mask:
        """Which equal another piece of the same document."""
        order = np.lexsort((self.hashes, self.documents))
        left, right = order[:-1], order[1:]
        same = (self.hashes[left] == self.hashes[right]) & (self.documents[left] == self.documents[right])
        shared = np.zeros(len(order), np.bool_)
        shared[left[same]] = shared[right[same]] = True
        return shared


class Runs(NamedTuple):
    """The runs of one script of a batch, in order."""

    starts: Places
    ends: Places
    documents: Places
    scripts: NDArray[np.uint8]


class Words(NamedTuple):
    """The words of a batch."""

    items: Items[np.uint64]
    """A hash of each word."""
    chars: Places
    nouns: Mask | None
    """Which are nouns or symbols to the analyzer, if that was asked for."""
    letters: Mask
    """Which have a letter."""
    symbols: Mask
    """Which are of punctuation and symbols alone."""


class Texts:
    """A batch of texts, with the addresses they were found at."""

    def __init__(self, texts: Sequence[str], urls: Sequence[str | None] | None = None) -> None:
        self.lengths: Places = np.array([len(text) for text in texts], np.int64)
        texts = [text[:LONGEST] for text in texts]
        self.texts = texts
        self.urls = urls if urls is not None else [None] * len(texts)
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        self.characters = Items(codes, offsets)
        self._words: dict[Analyzer, Words] = {}

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def chars(self) -> Places:
        """Length of each text, `LONGEST` at most."""
        return self.characters.sizes

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """The class of every character."""
        return classes(self.characters.values)

    @cached_property
    def counts(self) -> Counts:
        """Characters by document and class."""
        return count_classes(self.kinds, self.characters.documents, len(self))

    def number(self, kinds: Sequence[Class]) -> Places:
        """How many characters of these classes each text has."""
        return self.counts[:, list(kinds)].sum(axis=1)

    @property
    def visible_chars(self) -> Places:
        """How many characters of each text are no white space."""
        return self.chars - self.counts[:, Class.SPACE]

    @cached_property
    def visible(self) -> Items[np.uint32]:
        """The characters without white space."""
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.visible_chars, out=offsets[1:])
        return Items(self.characters.values[self.kinds != Class.SPACE], offsets)

    @cached_property
    def _is_newline(self) -> Mask:
        return self.characters.values == _NEWLINE

    @cached_property
    def newlines(self) -> Places:
        """How many newlines each text has."""
        return self.characters.totals(self._is_newline)

    @cached_property
    def lines(self) -> Pieces:
        """Lines without the white space at their ends; blank ones are left out."""
        return self._split(self._is_newline, strip=True)

    @cached_property
    def full_lines(self) -> Pieces:
        """Lines as they stand, with white space at their ends; those without a character are left out."""
        return self._split(self._is_newline, strip=False)

    @cached_property
    def paragraphs(self) -> Pieces:
        """What blank lines divide, without the white space at its ends."""
        # A character belongs to the next paragraph if two newlines lie between it and the visible one before it.
        places = np.flatnonzero(self.kinds != Class.SPACE)
        documents = self.characters.documents[places]
        before = np.concatenate(([0], np.cumsum(self._is_newline)))[places]
        apart = (np.diff(documents) != 0) | (np.diff(before) >= 2)
        return self._pieces(places, apart)

    @cached_property
    def sentences(self) -> Pieces:
        """Runs of a line that end with 。．！？!?, as swallow-corpus cuts them; further marks right behind are left out."""
        codes = self.characters.values
        ends = (self.kinds == Class.KUTEN) | np.isin(codes, _ASCII_TERMINATORS)
        inside = ~ends & ~self._is_newline
        places = np.flatnonzero(inside)
        apart = (np.diff(places) != 1) | (np.diff(self.characters.documents[places]) != 0)
        pieces = self._pieces(places, apart)
        last = len(codes)
        closed = np.zeros(len(pieces.ends), np.int64)
        within = np.flatnonzero(pieces.ends < last)
        behind = pieces.ends[within]
        same = self.characters.documents[behind] == pieces.documents[within]
        closed[within] = ends[behind] & same
        whole = pieces.ends + closed
        return Pieces(
            pieces.starts, whole, pieces.documents, self.characters.hashes(pieces.starts, whole), pieces.count
        )

    @cached_property
    def runs(self) -> Runs:
        """What kanji, katakana, hiragana, marks, white space and other characters divide a text into."""
        scripts, documents = SCRIPTS[self.kinds], self.characters.documents
        cuts = np.flatnonzero((np.diff(scripts) != 0) | (np.diff(documents) != 0)) + 1
        starts = np.concatenate(([0], cuts)) if len(scripts) else _NO_PLACES
        return Runs(starts, np.append(starts[1:], len(scripts))[: len(starts)], documents[starts], scripts[starts])

    def _split(self, borders: Mask, *, strip: bool) -> Pieces:
        """Pieces between borders."""
        inside = self.kinds != Class.SPACE if strip else ~borders
        places = np.flatnonzero(inside)
        passed = np.concatenate(([0], np.cumsum(borders)))[places]
        apart = (np.diff(self.characters.documents[places]) != 0) | (np.diff(passed) != 0)
        return self._pieces(places, apart)

    def _pieces(self, places: Places, apart: Mask) -> Pieces:
        """Pieces from the places that belong to any, and between which of them a new one begins."""
        cuts = np.flatnonzero(apart)
        if len(places):
            starts = places[np.concatenate(([0], cuts + 1))]
            ends = places[np.concatenate((cuts, [len(places) - 1]))] + 1
        else:
            starts = ends = np.empty(0, np.int64)
        documents = self.characters.documents[starts]
        return Pieces(starts, ends, documents, self.characters.hashes(starts, ends), len(self))

    def last_characters(self, pieces: Pieces) -> NDArray[np.uint32]:
        """The last character of each piece."""
        return self.characters.values[pieces.ends - 1]

    @cached_property
    def folded(self) -> list[str]:
        """The texts as words are looked for in them."""
        return [fold(text) for text in self.texts]

    def words(self, analyzer: Analyzer, *, nouns: bool = False) -> Words:
        """The texts' words; every text is analyzed once, whoever asks how often. Who wants `nouns` asks first."""
        known = self._words.get(analyzer)
        if known is None or (nouns and known.nouns is None):
            known = self._as_words([analyze(text, analyzer, nouns=nouns) for text in self.texts])
            self._words[analyzer] = known
        return known

    def _as_words(self, found: list[Analysis]) -> Words:
        begin = np.repeat(self.characters.offsets[:-1], [len(one.starts) for one in found])
        starts = begin + np.concatenate([_NO_PLACES, *(one.starts for one in found)])
        ends = starts + np.concatenate([_NO_PLACES, *(one.chars for one in found)])
        words = within(self.kinds != Class.SPACE, starts, ends) > 0
        starts, ends = starts[words], ends[words]
        nouns = [one.nouns for one in found if one.nouns is not None]
        return Words(
            items=Items(self.characters.hashes(starts, ends), np.searchsorted(starts, self.characters.offsets)),
            chars=ends - starts,
            nouns=np.concatenate(nouns)[words] if nouns else None,
            letters=within(np.isin(self.kinds, LETTERS), starts, ends) > 0,
            symbols=within(np.isin(self.kinds, _MARKS), starts, ends) == ends - starts,
        )
