"""Paragraphs that the whole corpus repeats: menus, notices, "送料無料", "お問い合わせ".

A paragraph is a line. In how many documents each is found is counted over the whole corpus, as it is compared (see
`comparison`), perhaps with all digits alike. What too many documents share is boilerplate: it goes, and the document stays.

    documents ── CountParagraphs ──> rows that meet by paragraph ── Frequent ──> the table of frequent paragraphs
    documents ── Thin ──> documents without them
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from bunbuku_contracts import Config
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.comparison import Buffer
from bunbuku_corpus.engine import BUCKET
from bunbuku_corpus.items import Items
from bunbuku_corpus.shards import read_arrow

PARAGRAPH, DOCUMENTS, REMOVED, SPARED = "paragraph", "documents", "removed", "spared"
_DIGITS = r"\p{Nd}+"


class Boilerplate(Config):
    """Which paragraphs go."""

    min_documents: PositiveInt = Field(default=100, ge=2)
    """A paragraph found in at least so many documents is boilerplate."""
    keep_documents: NonNegativeInt = 1
    """About so many of the documents keep a paragraph of boilerplate, chosen by a hash: it is still something people wrote."""
    min_chars: NonNegativeInt = 3
    """Shorter paragraphs stay: 「はい。」 is said in a thousand novels, and `}` ends a thousand functions."""
    min_run: PositiveInt = 1
    """Only so many paragraphs of boilerplate after one another go: a menu has several, prose that quotes a proverb one."""
    digits_matter: bool = False
    """Paragraphs that differ in their digits alone are different; otherwise 「1月2日更新」 and 「3月4日更新」 are the same."""


class Lines(NamedTuple):
    """The lines of a batch of texts."""

    hashes: NDArray[np.uint64]
    """A number for each line; 0 for a line that is too short to be judged."""
    texts: NDArray[np.int64]
    """Which text each is of."""


def paragraph_hashes(texts: pa.StringArray, rules: Boilerplate) -> Lines:
    """The lines of all texts, by their hashes.

    Of 64 bits: that any two of a billion different lines share one has a probability of some 3 %, and then a line that is not
    boilerplate goes if the other one is.
    """
    if not rules.digits_matter:
        texts = compute.replace_substring_regex(texts, pattern=_DIGITS, replacement="0")
    lines = compute.split_pattern(texts, pattern="\n")
    compared = Buffer.of(lines.flatten())
    characters = Items(compared.points, compared.offsets)
    hashes = np.maximum(characters.hashes(compared.offsets[:-1], compared.offsets[1:]), np.uint64(1))
    hashes[compared.lengths() < max(1, rules.min_chars)] = 0
    return Lines(hashes, np.repeat(np.arange(len(texts)), compute.list_value_length(lines).to_numpy()))


@dataclass(frozen=True)
class CountParagraphs:
    """In how many documents of the batch each paragraph is found."""

    rules: Boilerplate
    buckets: int

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        lines = paragraph_hashes(batch["text"], self.rules)
        order = np.lexsort((lines.texts, lines.hashes))
        hashes, texts = lines.hashes[order], lines.texts[order]
        once = np.append(True, (hashes[1:] != hashes[:-1]) | (texts[1:] != texts[:-1]))[: len(hashes)]
        found, counts = np.unique(hashes[once & (hashes != 0)], return_counts=True)
        buckets = ((found >> np.uint64(20)) % np.uint64(self.buckets)).astype(np.uint16)
        return pa.record_batch({PARAGRAPH: pa.array(found), DOCUMENTS: pa.array(counts), BUCKET: pa.array(buckets)})


@dataclass(frozen=True)
class Frequent:
    """Paragraphs that enough documents have."""

    rules: Boilerplate

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        found, places = np.unique(batch[PARAGRAPH].to_numpy(), return_inverse=True)
        counts = np.bincount(places, weights=batch[DOCUMENTS].to_numpy(), minlength=len(found)).astype(np.int64)
        often = counts >= self.rules.min_documents
        return pa.record_batch({PARAGRAPH: pa.array(found[often]), DOCUMENTS: pa.array(counts[often])})


class Thinned(NamedTuple):
    """A text, and the paragraphs that were taken out of it."""

    text: str
    removed: list[str]
    hashes: list[int]
    spared: bool = False
    """Whether it is nothing but boilerplate, and was left as it is."""


@dataclass(frozen=True)
class Thin:
    """Takes boilerplate out of texts. A document that is nothing else keeps all of it."""

    rules: Boilerplate
    table: Path
    """The frequent paragraphs, sorted."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts, ids = batch["text"].to_pylist(), batch["id"].to_pylist()
        lines = paragraph_hashes(batch["text"], self.rules)
        documents = self._documents(lines.hashes)
        ends = np.searchsorted(lines.texts, np.arange(1, len(texts) + 1))
        thinned = [Thinned(text, [], []) for text in texts]
        for at in np.unique(lines.texts[documents > 0]).tolist():
            mine = slice(ends[at - 1] if at else 0, ends[at])
            thinned[at] = self._one(texts[at], ids[at], lines.hashes[mine], documents[mine])
        columns = {name: batch[name] for name in batch.schema.names}
        columns["text"] = pa.array([one.text for one in thinned], pa.string())
        columns[REMOVED] = pa.array([one.removed for one in thinned], pa.list_(pa.string()))
        columns[PARAGRAPH] = pa.array([one.hashes for one in thinned], pa.list_(pa.uint64()))
        columns[SPARED] = pa.array([one.spared for one in thinned], pa.bool_())
        return pa.record_batch(columns)

    def _documents(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """In how many documents each line is; 0 if it is no boilerplate."""
        known, documents = _table(self.table)
        if not len(known):
            return np.zeros(len(hashes), np.int64)
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return np.where((known[places] == hashes) & (hashes != 0), documents[places], 0)

    def _one(self, text: str, id: str, hashes: NDArray[np.uint64], documents: NDArray[np.int64]) -> Thinned:
        goes = documents > 0
        for at in np.flatnonzero(goes).tolist():
            goes[at] = _chance(id, int(hashes[at])) * documents[at] >= self.rules.keep_documents
        goes = _in_runs(goes, hashes, self.rules.min_run)
        lines = text.split("\n")
        if not goes.any():
            return Thinned(text, [], [])
        stays = [line for line, gone in zip(lines, goes, strict=True) if not gone]
        if not any(line.strip() for line in stays):
            return Thinned(text, [], [], spared=True)
        removed = [line for line, gone in zip(lines, goes, strict=True) if gone]
        return Thinned("\n".join(stays).strip("\n"), removed, hashes[goes].tolist())


def _chance(id: str, paragraph: int) -> float:
    """A number from 0 to 1 that this document draws for this paragraph."""
    return int.from_bytes(hashlib.blake2b(f"{paragraph}\n{id}".encode(), digest_size=8).digest()) / 2**64


def _in_runs(goes: NDArray[np.bool_], hashes: NDArray[np.uint64], least: int) -> NDArray[np.bool_]:
    """Those of them that stand in a run of at least so many; blank and short lines neither count nor interrupt.

    >>> marks, lines = np.array([True, False, True, False, True]), np.array([1, 0, 2, 3, 4], np.uint64)
    >>> _in_runs(marks, lines, 2).tolist()
    [True, False, True, False, False]
    """
    judged = np.flatnonzero(hashes)
    runs = np.cumsum(~goes[judged])
    sizes = Counter(runs[goes[judged]].tolist())
    kept = goes.copy()
    kept[judged] &= np.array([sizes[run] >= least for run in runs.tolist()], np.bool_)
    return kept


@lru_cache(2)
def _table(path: Path) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    table = read_arrow(path)
    return table[PARAGRAPH].to_numpy(), table[DOCUMENTS].to_numpy()
