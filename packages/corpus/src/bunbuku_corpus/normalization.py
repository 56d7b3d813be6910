"""Normalization of text that says what it changed, and what a stronger one would change.

NFC joins a kana and its voicing mark into one character and leaves ①, ㈱, half-width kana and full-width letters as they
are written. It would also replace some 600 kanji that Unicode calls compatibility ideographs by their usual forms
(神 U+FA19 by 神 U+795E), which are variants that people use in their names: those are kept unless the config says otherwise.
NFKC folds all of these. Whatever the config says, the tally counts what NFKC would fold, so that it can be decided with
open eyes.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from bunbuku_contracts import Config

_IDEOGRAPHS = re.compile("([\uf900-\ufaff\U0002f800-\U0002fa1f]+)")
_NEWLINE = re.compile("\r\n?")
# Controls other than tab and newline, and the byte order mark: they are no text, and trip tokenizers.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")


class Normalization(Config):
    """What is done to every text before it is judged."""

    form: Literal["none", "NFC", "NFKC"] = "NFC"
    """Unicode normalization form."""
    keep_compatibility_ideographs: bool = True
    """Leave kanji variants such as 神 (U+FA19) as they are, which both forms would replace."""
    newlines: bool = True
    """Make CR LF and CR a newline."""
    remove_controls: bool = True
    """Remove control characters other than tab and newline, and byte order marks."""


@dataclass
class Changes:
    """A tally of what normalization did to many texts, and of what NFKC would do to the results."""

    documents: int = 0
    """Texts that came out different."""
    newlines: int = 0
    controls: int = 0
    replaced: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Characters, with their marks, and what the form made of them."""
    edited: Counter[str] = field(default_factory=Counter[str])
    """Texts that each edit changed."""
    foldable_documents: int = 0
    """Texts that NFKC would still change."""
    foldable: Counter[str] = field(default_factory=Counter[str])
    """Characters that NFKC would still fold."""

    def add(self, other: "Changes") -> None:
        """Count what `other` counted, too."""
        self.documents += other.documents
        self.newlines += other.newlines
        self.controls += other.controls
        self.replaced.update(other.replaced)
        self.edited.update(other.edited)
        self.foldable_documents += other.foldable_documents
        self.foldable.update(other.foldable)


def normalize(text: str, how: Normalization, changes: Changes) -> str:
    r"""The text in its normal form; what that changed is added to `changes`.

    >>> changes = Changes()
    >>> normalize("か\u3099っこう①\r\n", Normalization(), changes)
    'がっこう①\n'
    >>> changes.documents, changes.newlines, dict(changes.foldable)
    (1, 1, {'①': 1})
    """
    result = text
    if how.newlines and "\r" in result:
        result, count = _NEWLINE.subn("\n", result)
        changes.newlines += count
    if how.remove_controls:
        result, count = _CONTROL.subn("", result)
        changes.controls += count
    if how.form != "none" and not unicodedata.is_normalized(how.form, result):
        result = _compose(result, how.form, how.keep_compatibility_ideographs, changes)
    changes.documents += result != text
    if not unicodedata.is_normalized("NFKC", result):
        changes.foldable_documents += 1
        changes.foldable.update({char: result.count(char) for char in set(result) if fold(char) != char})
    return result


@cache
def fold(char: str) -> str:
    """What NFKC makes of one character.

    >>> fold("㈱"), fold("ｶ"), fold("猫")
    ('(株)', 'カ', '猫')
    """
    return unicodedata.normalize("NFKC", char)


def _compose(text: str, form: Literal["NFC", "NFKC"], keep_ideographs: bool, changes: Changes) -> str:
    pieces = _IDEOGRAPHS.split(text) if keep_ideographs else [text]
    # Every other piece is a run of compatibility ideographs, which are left alone.
    changed = [piece if index % 2 else _normal(piece, form, changes) for index, piece in enumerate(pieces)]
    return "".join(changed)


def _normal(text: str, form: Literal["NFC", "NFKC"], changes: Changes) -> str:
    if not unicodedata.is_normalized(form, text):
        for cluster in _clusters(text):
            normal = unicodedata.normalize(form, cluster)
            if normal != cluster:
                changes.replaced[cluster, normal] += 1
    return unicodedata.normalize(form, text)


def _clusters(text: str) -> Iterator[str]:
    """Characters with the combining marks that follow them."""
    start = 0
    for index in range(1, len(text)):
        if not unicodedata.combining(text[index]):
            yield text[start:index]
            start = index
    if text:
        yield text[start:]
