"""How a tokenizer does on a text: how few tokens, how much of it in bytes, and whether everything comes back.

Characters a token are what a Japanese reader means by compression; bytes a token compare languages. Both count tokens of
whole documents without special tokens.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import batched

import numpy as np
from bunbuku_contracts import Curve, Section, Table

from bunbuku_tokenizer.candidates import SPACE
from bunbuku_tokenizer.documents import Document
from bunbuku_tokenizer.encoder import Encoder, is_byte
from bunbuku_tokenizer.unigram import BYTES, SPECIALS

_BATCH_DOCUMENTS = 256
_EXAMPLE_CHARS = 120


@dataclass
class Counts:
    """Sums over documents."""

    documents: int = 0
    chars: int = 0
    bytes: int = 0
    tokens: int = 0
    byte_tokens: int = 0
    not_back: int = 0
    """Documents that do not come back from SentencePiece's ids, or from Hugging Face's."""
    differing: int = 0
    """Documents with different ids by SentencePiece and by Hugging Face."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def chars_per_token(self) -> float:
        return self.chars / max(self.tokens, 1)

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / max(self.tokens, 1)

    @property
    def byte_share(self) -> float:
        return self.byte_tokens / max(self.tokens, 1)

    def metrics(self, name: str) -> dict[str, float]:
        return {
            f"{name}.characters_per_token": self.chars_per_token,
            f"{name}.bytes_per_token": self.bytes_per_token,
            f"{name}.byte_fallback_share": self.byte_share,
            f"{name}.tokens": float(self.tokens),
            f"{name}.round_trip_failures": float(self.not_back),
            f"{name}.id_differences": float(self.differing),
        }


@dataclass
class Measured:
    """What was found."""

    languages: dict[str, Counts] = field(default_factory=dict)
    used: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """How often each id came up."""
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Language and a text with its tokens apart."""
    problem: str | None = None
    """The first document that went wrong, and how."""

    @property
    def overall(self) -> Counts:
        return sum(self.languages.values(), Counts())


def measure_documents(encoder: Encoder, documents: Iterable[Document], *, examples: int) -> Measured:
    """Encode and decode every document in both forms, and count."""
    found = Measured(used=np.zeros(encoder.sentencepiece.get_piece_size(), dtype=np.int64))
    for batch in batched(documents, _BATCH_DOCUMENTS):
        for document, (ids, fast) in zip(batch, encoder.encode_both([each.text for each in batch]), strict=True):
            counts = found.languages.setdefault(document.language, Counts())
            if counts.documents < examples:
                found.examples.append((document.language, _apart(encoder, document.text)))
            counts.documents += 1
            counts.chars += len(document.text)
            counts.bytes += len(document.text.encode())
            counts.tokens += len(ids)
            counts.byte_tokens += sum(map(is_byte, ids))
            found.used += np.bincount(np.asarray(ids, dtype=np.int64), minlength=len(found.used))
            _check(found, counts, encoder, document, ids, fast)
    found.languages = dict(sorted(found.languages.items()))
    return found


def _check(
    found: Measured, counts: Counts, encoder: Encoder, document: Document, ids: list[int], fast: list[int]
) -> None:
    same = ids == fast
    back = encoder.decode(ids) == document.text == encoder.decode_fast(fast)
    counts.differing += not same
    counts.not_back += not back
    if found.problem is None and not (same and back):
        found.problem = f"document {document.id!r}: " + (
            "does not come back" if same else "SentencePiece and Hugging Face give different ids"
        )


def _apart(encoder: Encoder, text: str) -> str:
    return "|".join(encoder.pieces(text[:_EXAMPLE_CHARS])).replace("\n", "\\n").replace("\t", "\\t")


def sections(found: Measured, pieces: list[str]) -> Iterator[Section]:
    """What people see: compression by language, what the vocabulary is spent on, and how text is cut."""
    rows = {**found.languages, "overall": found.overall} if len(found.languages) > 1 else found.languages
    yield Section(
        title="Compression and losses",
        paragraphs=(found.problem or "Every document came back, and both forms gave the same ids for it.",),
        tables=(_compression(rows),),
    )
    yield Section(
        title="What the vocabulary is spent on", tables=(_spending(found, pieces),), curves=(_coverage(found),)
    )
    if found.examples:
        table = Table(columns=("language", "tokens"), rows=tuple(found.examples), caption=f"{SPACE} is a space")
        yield Section(title="How text is cut", tables=(table,))


def _compression(rows: dict[str, Counts]) -> Table:
    return Table(
        columns=(
            "language",
            "documents",
            "characters",
            "tokens",
            "characters a token",
            "bytes a token",
            "byte tokens %",
            "documents that do not come back",
            "documents with differing ids",
        ),
        rows=tuple(
            (
                name,
                each.documents,
                each.chars,
                each.tokens,
                round(each.chars_per_token, 3),
                round(each.bytes_per_token, 3),
                round(100 * each.byte_share, 3),
                each.not_back,
                each.differing,
            )
            for name, each in rows.items()
        ),
    )


def _spending(found: Measured, pieces: list[str]) -> Table:
    kinds = [kind_of(id, piece) for id, piece in enumerate(pieces)]
    total = max(int(found.used.sum()), 1)
    rows: list[tuple[str | int | float, ...]] = []
    for kind in sorted(set(kinds), key=kinds.count, reverse=True):
        ids = [id for id, each in enumerate(kinds) if each == kind]
        used = found.used[ids]
        rows.append((kind, len(ids), int((used == 0).sum()), round(100 * float(used.sum()) / total, 2)))
    return Table(columns=("pieces of", "how many", "never used here", "% of the tokens"), rows=tuple(rows))


def _coverage(found: Measured) -> Curve:
    """Share of all tokens that are among the n most frequent pieces."""
    ranked = np.sort(found.used)[::-1].cumsum() / max(int(found.used.sum()), 1)
    ranks = sorted({min(len(ranked), round(2 ** (step / 2))) for step in range(2 * len(ranked).bit_length() + 1)})
    points = tuple((float(rank), round(float(ranked[rank - 1]), 5)) for rank in ranks)
    return Curve(
        name="Share of the tokens that are among the most frequent pieces",
        x_label="most frequent pieces",
        y_label="share of the tokens",
        points=points,
    )


def kind_of(id: int, piece: str) -> str:
    """What a piece is made of.

    >>> [kind_of(9999, piece) for piece in ("石油", "食べる", "です", "ネコ", "▁the", "。", "7")]
    ['kanji', 'kanji and kana', 'hiragana', 'katakana', 'letters of other scripts', 'signs, digits and spaces', 'signs, digits and spaces']
    """
    if id < len(SPECIALS):
        return "special"
    if id < len(SPECIALS) + BYTES:
        return "bytes"
    scripts = {_script(character) for character in piece.replace("ー", "").strip(SPACE)} or {"other"}
    if len(scripts) > 1 and "kanji" in scripts:
        return "kanji and kana"
    return _NAMES[max(scripts)]


_NAMES = {
    "kanji": "kanji",
    "hiragana": "hiragana",
    "katakana": "katakana",
    "letter": "letters of other scripts",
    "other": "signs, digits and spaces",
}


def _script(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("CJK") or character in "々〇〆":
        return "kanji"
    if name.startswith(("HIRAGANA", "KATAKANA")):
        return "hiragana" if name.startswith("HIRAGANA") else "katakana"
    return "letter" if character.isalpha() else "other"
