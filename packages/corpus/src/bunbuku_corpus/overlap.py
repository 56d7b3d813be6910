"""Whether items of a benchmark stand in a corpus: word for word if they are short, else by how much of them does.

Texts are compared as *letters*: NFKC, lower case, and nothing but letters and digits, so that width, spaces and
punctuation make no difference. An item of fewer than `ngram` letters is looked for as a whole. A longer one is cut into its
n-grams of letters, and its coverage by a document is the share of its letters in n-grams that the document has, too.

Wording that many items share (次の質問に答えてください) is no evidence for any of them: n-grams of more than `shared_by` items
do not count. Items of which too little is left, or that are shorter than `least_chars`, are not judged, and counted.

N-grams are compared by 64-bit hashes: of 10¹² characters against 10⁶ letters of items some 0.05 windows agree by accident.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from ahocorasick_rs import AhoCorasick, MatchKind
from bunbuku_contracts import BunbukuError, Config
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from bunbuku_corpus.benchmarks import Item
from bunbuku_corpus.document import Document
from bunbuku_corpus.ngrams import Hashes, codepoints, ngram_hashes
from bunbuku_corpus.sampling import rank

type Method = Literal["whole", "ngrams", "not judged"]

_NO_LETTER = re.compile(r"[\W_]+")
_FILTER_BITS = 22
_AROUND = 20
_LONGEST_SHOWN = 160


class Evidence(Config):
    """What shows that an item stands in a corpus."""

    ngram: PositiveInt = 13
    """Letters in an n-gram."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """Coverage by one document from which an item is contaminated."""
    least_chars: PositiveInt = 6
    """Items of fewer letters are not judged: they would be found anywhere."""
    shared_by: PositiveInt = 20
    """N-grams that more items than so many share are the benchmark's wording, and do not count."""

    @model_validator(mode="after")
    def _whole_items_are_shorter(self) -> "Evidence":
        if self.least_chars > self.ngram:
            raise ValueError(f"`least_chars` {self.least_chars} is more than `ngram` {self.ngram}")
        return self


def letters(text: str) -> str:
    """The text as it is compared.

    >>> letters("「ＡＢＣ」って、何？ ｶﾞｿﾘﾝ！")
    'abcって何ガソリン'
    """
    return _NO_LETTER.sub("", unicodedata.normalize("NFKC", text).lower())


@dataclass
class Finding:
    """What is known of one item."""

    item: Item
    letters: str
    method: Method
    documents: int = 0
    """Documents that contaminate it."""
    coverage: float = 0.0
    """The best by one document."""
    document: str | None = None
    """Id of that one: of several as good, one that no order of documents changes."""
    passage: str = ""
    """Of that one, in letters."""
    rank: int = 0
    hits: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    """Ids of the documents that contaminate it, each with its coverage."""

    def add(self, other: "Finding") -> None:
        """Count what `other` counted of the same item, too."""
        self.documents += other.documents
        self.hits += other.hits
        if (other.coverage, other.rank) > (self.coverage, self.rank):
            self.coverage, self.rank = other.coverage, other.rank
            self.document, self.passage = other.document, other.passage

    @property
    def contaminated(self) -> bool:
        """Whether some document covers enough of it."""
        return self.documents > 0


class _Grams(NamedTuple):
    """The n-grams of all items that count: those of one hash side by side."""

    hashes: Hashes
    """Each once, sorted."""
    offsets: NDArray[np.int64]
    """Where each one's places begin in the two below, and the end."""
    items: NDArray[np.int64]
    places: NDArray[np.int64]


class Counts(NamedTuple):
    """What was counted in some of the documents."""

    documents: int
    characters: int
    findings: dict[int, Finding]
    """Of the items that some document covers in part, by their numbers."""


class Overlap:
    """The tally of all items over a corpus."""

    def __init__(self, items: Sequence[Item], evidence: Evidence) -> None:
        self.evidence = evidence
        self.documents = 0
        self.characters = 0
        self.findings = [self._finding(item) for item in items]
        self._grams, self._lengths = self._index()
        self._table = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._table[_slots(self._grams.hashes)] = True
        whole = [index for index, one in enumerate(self.findings) if one.method == "whole"]
        words = dict.fromkeys(self.findings[index].letters for index in whole)
        self._owners = [[index for index in whole if self.findings[index].letters == word] for word in words]
        self._automaton = AhoCorasick(list(words), matchkind=MatchKind.Standard) if words else None
        if all(one.method == "not judged" for one in self.findings):
            raise BunbukuError(
                f"not one of {len(self.findings)} items has text to look for: each has fewer than "
                f"{evidence.least_chars} letters, or none of its own",
                hint="correct `fields`, or lower `least_chars`",
            )

    def _finding(self, item: Item) -> Finding:
        text = letters(item.text)
        size = len(text)
        whole: Method = "whole" if size < self.evidence.ngram else "ngrams"
        return Finding(item, text, whole if size >= self.evidence.least_chars else "not judged")

    def _index(self) -> tuple[_Grams, NDArray[np.int64]]:
        """The n-grams that count, and how many letters of each item they cover."""
        n = self.evidence.ngram
        found = [ngram_hashes(codepoints(one.letters), n) if one.method == "ngrams" else _NONE for one in self.findings]
        shared = Counter(hash for hashes in found for hash in set(hashes.tolist()))
        common = np.array([hash for hash, times in shared.items() if times > self.evidence.shared_by], np.uint64)
        lengths = np.zeros(len(found), np.int64)
        kept: list[tuple[Hashes, NDArray[np.int64], NDArray[np.int64]]] = []
        for index, hashes in enumerate(found):
            places = np.flatnonzero(~np.isin(hashes, common))
            lengths[index] = _covered(places, n)
            if lengths[index] < self.evidence.least_chars and self.findings[index].method == "ngrams":
                self.findings[index].method = "not judged"
                continue
            kept.append((hashes[places], np.full(len(places), index, np.int64), places))
        if not kept:
            return _Grams(_NONE, np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)), lengths
        hashes, items, places = (np.concatenate(column) for column in zip(*kept, strict=True))
        order = np.lexsort((places, items, hashes))
        unique, first = np.unique(hashes[order], return_index=True)
        return _Grams(unique, np.append(first, len(order)), items[order], places[order]), lengths

    def add(self, document: Document) -> None:
        """Look for all items in a document."""
        self.documents += 1
        self.characters += len(document.text)
        text = letters(document.text)
        if self._automaton:
            for word in {word for word, _, _ in self._automaton.find_matches_as_indexes(text, overlapping=True)}:
                for index in self._owners[word]:
                    at = text.index(self.findings[index].letters)
                    self._record(index, 1.0, document, text, at, at + len(self.findings[index].letters))
        if len(self._grams.hashes) and len(text) >= self.evidence.ngram:
            self._add_grams(document, text)

    def counts(self) -> Counts:
        """What was counted, to be sent to another process; from here on it begins anew."""
        found = {number: one for number, one in enumerate(self.findings) if one.document is not None}
        counts = Counts(self.documents, self.characters, found)
        self.documents = self.characters = 0
        self.findings = [Finding(one.item, one.letters, one.method) for one in self.findings]
        return counts

    def merge(self, counts: Counts) -> None:
        """Count what was counted elsewhere, too."""
        self.documents += counts.documents
        self.characters += counts.characters
        for number, found in counts.findings.items():
            self.findings[number].add(found)

    def _add_grams(self, document: Document, text: str) -> None:
        hashes = ngram_hashes(codepoints(text), self.evidence.ngram)
        # Most windows of most documents are in no item: a table of bits tells so without a search.
        maybe = np.flatnonzero(self._table[_slots(hashes)])
        found = np.searchsorted(self._grams.hashes, hashes[maybe])
        found[found == len(self._grams.hashes)] = 0
        hit = self._grams.hashes[found] == hashes[maybe]
        grams, at = found[hit], maybe[hit]
        if not len(grams):
            return
        once = np.unique(grams)
        rows = np.concatenate([np.arange(*self._grams.offsets[gram : gram + 2]) for gram in once])
        items, places = self._grams.items[rows], self._grams.places[rows]
        order = np.lexsort((places, items))
        items, places = items[order], places[order]
        borders = np.flatnonzero(np.diff(items)) + 1
        for start, end in pairwise([0, *borders.tolist(), len(items)]):
            index = int(items[start])
            coverage = _covered(places[start:end], self.evidence.ngram) / int(self._lengths[index])
            if coverage >= min(self.findings[index].coverage, self.evidence.threshold):
                mine = np.isin(grams, np.searchsorted(self._grams.hashes, self._hashes_of(index)))
                first, last = int(at[mine].min()), int(at[mine].max())
                self._record(index, coverage, document, text, first, last + self.evidence.ngram)

    def _hashes_of(self, index: int) -> Hashes:
        hashes = ngram_hashes(codepoints(self.findings[index].letters), self.evidence.ngram)
        return hashes[np.isin(hashes, self._grams.hashes)]

    def _record(self, index: int, coverage: float, document: Document, text: str, start: int, end: int) -> None:
        finding = self.findings[index]
        if coverage >= self.evidence.threshold:
            finding.documents += 1
            finding.hits.append((document.id, coverage))
        place = rank(document.id, 0)
        if (coverage, place) <= (finding.coverage, finding.rank):
            return
        finding.coverage, finding.rank, finding.document = coverage, place, document.id
        shown = text[max(start - _AROUND, 0) : end + _AROUND]
        half = _LONGEST_SHOWN // 2
        finding.passage = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:half]} … {shown[-half:]}"


_NONE = np.empty(0, np.uint64)


def _slots(hashes: Hashes) -> NDArray[np.int64]:
    return (hashes >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)


def _covered(places: NDArray[np.int64], n: int) -> int:
    """Letters in windows of `n` that begin at sorted places, each counted once.

    >>> _covered(np.array([0, 1, 7]), 3)
    7
    """
    return int(np.minimum(np.diff(places), n).sum()) + n if len(places) else 0
