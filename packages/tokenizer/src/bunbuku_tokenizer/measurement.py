"""How tokenizers do on a text: how few tokens, how much of it in bytes, how they lie on morphemes, what comes back.

Characters a token are what a Japanese reader means by compression; bytes a token compare languages. Both count tokens of
whole documents without special tokens. Several tokenizers see the same documents in one pass, and MeCab, where it can be
opened, sees each Japanese one once.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from bunbuku_contracts import BunbukuError

from bunbuku_tokenizer import morphemes
from bunbuku_tokenizer.alignment import Cut, cut
from bunbuku_tokenizer.documents import Document
from bunbuku_tokenizer.reader import Reader, Spans
from bunbuku_tokenizer.roundtrip import difference
from bunbuku_tokenizer.scripts import is_japanese

JAPANESE = "ja"
_EXAMPLE_CHARS = 100
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Counts:
    """Sums over documents."""

    documents: int = 0
    chars: int = 0
    bytes: int = 0
    tokens: int = 0
    byte_tokens: int = 0
    """Tokens that hold an incomplete character."""
    lost: int = 0
    """Documents that do not come back."""
    differing: int = 0
    """Documents to which the two forms of the tokenizer give different ids."""
    morphemes: int = 0
    cut_tokens: int = 0
    """Tokens of the documents whose morphemes were counted."""
    straddling: int = 0
    multiple: int = 0

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

    @property
    def tokens_per_morpheme(self) -> float | None:
        """Fertility; `None` where no morphemes were counted, as for the two shares below."""
        return self.cut_tokens / self.morphemes if self.morphemes else None

    @property
    def straddling_share(self) -> float | None:
        return self.straddling / max(self.cut_tokens, 1) if self.morphemes else None

    @property
    def multiple_share(self) -> float | None:
        return self.multiple / max(self.cut_tokens, 1) if self.morphemes else None

    def metrics(self, name: str) -> dict[str, float]:
        found = {
            "characters_per_token": self.chars_per_token,
            "bytes_per_token": self.bytes_per_token,
            "byte_fallback_share": self.byte_share,
            "documents": self.documents,
            "tokens": self.tokens,
            "round_trip_failures": self.lost,
            "tokens_per_morpheme": self.tokens_per_morpheme,
            "straddling_share": self.straddling_share,
            "multiple_share": self.multiple_share,
        }
        return {f"{name}.{key}": float(value) for key, value in found.items() if value is not None}


@dataclass
class Form:
    """One tokenizer file and the time it takes, on one core."""

    reader: Reader
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    bytes: int = 0

    def there_and_back(self, text: str, length: int) -> tuple[list[int], str]:
        """Ids of `text`, of `length` bytes, and their text."""
        start = time.process_time()
        ids = self.reader.encode(text)
        middle = time.process_time()
        back = self.reader.decode(ids)
        self.encode_seconds += middle - start
        self.decode_seconds += time.process_time() - middle
        self.bytes += length
        return ids, back

    def metrics(self, name: str) -> dict[str, float]:
        """Megabytes of UTF-8 a second of processor time, one document after another."""
        seconds = {"encode": self.encode_seconds, "decode": self.decode_seconds}
        return {
            f"{name}.{what}_mb_per_second": self.bytes / _MEGABYTE / spent for what, spent in seconds.items() if spent
        }


@dataclass
class Measured:
    """What was found of one tokenizer."""

    form: Form
    twin: Form | None = None
    """The same tokenizer in its other form, which has to give the same ids."""
    languages: dict[str, Counts] = field(default_factory=dict)
    sources: dict[str, Counts] = field(default_factory=dict)
    used: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """How often each id came up."""
    problem: str | None = None
    """The first document that went wrong, and how."""

    def __post_init__(self) -> None:
        self.used = np.zeros(len(self.reader.spellings), dtype=np.int64)

    @property
    def reader(self) -> Reader:
        return self.form.reader

    @property
    def overall(self) -> Counts:
        return sum(self.languages.values(), Counts())

    @property
    def unused(self) -> int:
        """Entries that spell some text and never came up."""
        return sum(not used for used, spelling in zip(self.used, self.reader.spellings, strict=True) if spelling)

    def add(self, document: Document, found: Cut | None) -> None:
        """Count a document, along with its morphemes if they are known."""
        text, length = document.text, len(document.text.encode())
        ids, back = self.form.there_and_back(text, length)
        other, other_back = self.twin.there_and_back(text, length) if self.twin else (ids, back)
        self._note(document, same=ids == other, back=back if back != text else other_back)
        place = np.asarray(ids, dtype=np.int64)
        self.used += np.bincount(place, minlength=len(self.used))
        spans = self.reader.spans(text) if found else Spans([], [], [])
        straddling, multiple = found.lying(spans.starts, spans.ends) if found else (0, 0)
        counts = Counts(
            documents=1,
            chars=len(text),
            bytes=length,
            tokens=len(ids),
            byte_tokens=int(self.reader.partial[place].sum()),
            lost=back != text or other_back != text,
            differing=ids != other,
            morphemes=len(found.spans) if found else 0,
            cut_tokens=len(ids) if found else 0,
            straddling=straddling,
            multiple=multiple,
        )
        for group, name in ((self.languages, document.language), (self.sources, document.source)):
            group[name] = group.get(name, Counts()) + counts

    def _note(self, document: Document, *, same: bool, back: str) -> None:
        if self.problem is None and not same:
            self.problem = f"document {document.id!r}: the two forms give different ids"
        elif self.problem is None and back != document.text:
            self.problem = f"document {document.id!r}: {difference(document.text, back)}"


@dataclass
class Text:
    """What was found of the text itself."""

    frequent: tuple[str, ...] = ()
    """Its most frequent morphemes of two and more kanji and kana, the most frequent first."""
    examples: list[tuple[str, Cut | None, str]] = field(default_factory=list)
    """Language, morphemes and beginning of some documents."""
    without_morphemes: str | None = None
    """Why no morphemes were counted, if there was Japanese to count them in."""


def measure_documents(
    documents: Iterable[Document],
    tokenizers: Mapping[str, Measured],
    *,
    dictionary: morphemes.Dictionary,
    frequent: int,
    examples: int,
) -> Text:
    """Count every document for every one of `tokenizers`.

    Args:
        documents: The text.
        tokenizers: What is added to.
        dictionary: MeCab's, for documents in Japanese; without MeCab no morphemes are counted, and it is said why.
        frequent: How many of the most frequent morphemes to find.
        examples: How many documents' beginnings to keep of each language.
    """
    text, counted = Text(), Counter[str]()
    kept = Counter[str]()
    segment = None
    for document in documents:
        if document.language == JAPANESE and segment is None and text.without_morphemes is None:
            try:
                segment = morphemes.mecab(dictionary)
            except BunbukuError as error:
                text.without_morphemes = f"Nothing is said of morphemes: {error}"
        found = cut(document.text, segment) if segment and document.language == JAPANESE else None
        if found:
            counted.update(morpheme for morpheme in found.morphemes if len(morpheme) > 1)
        if kept[document.language] < examples:
            kept[document.language] += 1
            beginning = document.text[:_EXAMPLE_CHARS]
            text.examples.append((document.language, cut(beginning, segment) if found and segment else None, beginning))
        for each in tokenizers.values():
            each.add(document, found)
    for each in tokenizers.values():
        each.languages, each.sources = (dict(sorted(group.items())) for group in (each.languages, each.sources))
    ranked = sorted(filter(is_japanese, counted), key=lambda morpheme: (-counted[morpheme], morpheme))
    text.frequent = tuple(ranked[:frequent])
    return text
