"""How often a corpus says a fact: in how many documents, texts and domains, and how near its parts stand.

That subject and object stand in one document says little of a long one, so three levels are counted: anywhere in the
document, with at most `far_chars` between them, with at most `near_chars`. `stated` asks for a word of the relation as
well. Copies teach a model little that is new, so an exposure is a *text*: a cluster of duplicates where the corpus names
clusters, else a document that no other equals.

The counts do not depend on the documents' order. A fact takes some 80 bytes of memory for every text and domain it is
found in, so it is the frequent facts that cost.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappush, heappushpop, nlargest
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from bunbuku_contracts import Config
from pydantic import NonNegativeInt, PositiveInt, model_validator

from bunbuku_corpus.document import Document
from bunbuku_corpus.facts import Fact
from bunbuku_corpus.mentions import Finder, Span, Spans, Written, folded
from bunbuku_corpus.sampling import rank

type Level = Literal["document", "far", "near", "stated"]
_AROUND = 30
_SHOWN = 240


class Windows(Config):
    """What counts as an exposure to a fact, and how many are enough."""

    near_chars: NonNegativeInt = 50
    """At most so many characters between subject and object: some sentence says the fact."""
    far_chars: NonNegativeInt = 500
    """At most so many: some passage is about both."""
    exposure: Level = "near"
    """What is an exposure. `stated` takes facts without a relation as `near`."""
    enough: PositiveInt = 1000
    """Exposures from which a model can be expected to know a fact (Allen-Zhu and Li 2024, arXiv:2404.05405)."""
    samples: NonNegativeInt = 3
    """Passages shown of each fact."""

    @model_validator(mode="after")
    def _far_is_farther(self) -> "Windows":
        if self.far_chars < self.near_chars:
            raise ValueError(f"`far_chars` {self.far_chars} is less than `near_chars` {self.near_chars}")
        return self


class Passage(NamedTuple):
    """A place that says a fact."""

    place: int
    """Negated rank, so that the passages of the least ranks are kept whatever the order."""
    id: str
    text: str


@dataclass
class Coverage:
    """What was found of one fact."""

    fact: Fact
    subject: int = 0
    """Documents that mention the subject."""
    object: int = 0
    """Documents that mention the object."""
    document: int = 0
    far: int = 0
    near: int = 0
    stated: int = 0
    texts: set[bytes] = field(default_factory=set[bytes])
    """Digests of the clusters or texts with an exposure."""
    domains: set[bytes] = field(default_factory=set[bytes])
    """Digests of the domains with one."""
    passages: list[Passage] = field(default_factory=list[Passage])

    @property
    def exposures(self) -> int:
        """Different texts that say it."""
        return len(self.texts)

    def add(self, other: "Coverage", samples: int) -> None:
        """Count what `other` counted of the same fact, too."""
        for level in ("document", "far", "near", "stated"):
            setattr(self, level, getattr(self, level) + getattr(other, level))
        self.texts |= other.texts
        self.domains |= other.domains
        self.passages = nlargest(samples, [*self.passages, *other.passages])

    def verdict(self, enough: int) -> Literal["enough", "too few", "never"]:
        """Whether a model can be expected to learn it."""
        return "enough" if self.exposures >= enough else "too few" if self.exposures else "never"


class Pair(NamedTuple):
    """The nearest mentions of subject and object."""

    subject: Span
    object: Span
    gap: int


def nearest(subject: Spans, object: Spans) -> Pair | None:
    """The first pair of mentions with the fewest characters between; a mention inside another says nothing.

    >>> finder = Finder((("東京都",), ("東京",)))
    >>> def gap(text):
    ...     found = finder.find(text)
    ...     pair = nearest(found[0], found[1])
    ...     return pair and pair.gap
    >>> gap("東京都"), gap("東京都の中心は東京である")
    (None, 4)
    """
    gaps = [(gap, span) for span in subject if (gap := object.gap(span)) is not None]
    if not gaps:
        return None
    gap, span = min(gaps)
    return next(Pair(span, other, gap) for other in object.within(span, gap))


def is_stated(subject: Spans, object: Spans, relation: Spans, chars: int) -> bool:
    """Whether a word of the relation stands between a near pair, or at most so many characters from it."""
    return any(
        relation.touches(Span(min(one.start, other.start), max(one.end, other.end)), chars)
        for one in subject
        for other in object.within(one, chars)
    )


class Counts(NamedTuple):
    """What was counted in some of the documents."""

    documents: int
    characters: int
    mentioned: list[int]
    """Documents with each subject, object and relation."""
    found: dict[int, Coverage]
    """Of the facts that were found, by their numbers."""


class Coverages:
    """The tally of all facts over a corpus."""

    def __init__(self, facts: Sequence[Fact], windows: Windows) -> None:
        self.windows = windows
        self.found = [Coverage(fact) for fact in facts]
        self.documents = 0
        self.characters = 0
        indices: dict[Written, int] = {}
        parts = [
            [
                indices.setdefault(written, len(indices)) if written else None
                for written in (one.subject, one.object, one.relation)
            ]
            for one in facts
        ]
        self._finder = Finder(tuple(indices))
        self._by_subject: defaultdict[int | None, list[int]] = defaultdict(list)
        for index, (subject, _, _) in enumerate(parts):
            self._by_subject[subject].append(index)
        self._parts = parts
        self._mentioned = [0] * len(indices)

    def add(self, document: Document, cluster: str | None = None) -> None:
        """Count what a document says."""
        self.documents += 1
        self.characters += len(document.text)
        reading = _Reading(document, cluster)
        mentions = self._finder.find(reading.text)
        for thing in mentions:
            self._mentioned[thing] += 1
        for thing in mentions:
            for index in self._by_subject.get(thing, ()):
                _, object, relation = self._parts[index]
                if object is not None and object in mentions:
                    said = None if relation is None else mentions.get(relation, Spans(()))
                    self._count(self.found[index], reading, mentions[thing], mentions[object], said)

    def counts(self) -> Counts:
        """What was counted, to be sent to another process; from here on it begins anew."""
        found = {number: one for number, one in enumerate(self.found) if one.document}
        counts = Counts(self.documents, self.characters, self._mentioned, found)
        self.found = [Coverage(one.fact) for one in self.found]
        self.documents = self.characters = 0
        self._mentioned = [0] * len(self._mentioned)
        return counts

    def merge(self, counts: Counts) -> None:
        """Count what was counted elsewhere, too."""
        self.documents += counts.documents
        self.characters += counts.characters
        self._mentioned = [mine + other for mine, other in zip(self._mentioned, counts.mentioned, strict=True)]
        for number, found in counts.found.items():
            self.found[number].add(found, self.windows.samples)

    def _count(
        self, found: Coverage, reading: "_Reading", subject: Spans, object: Spans, relation: Spans | None
    ) -> None:
        pair = nearest(subject, object)
        if pair is None:
            return
        chars = self.windows.near_chars
        near = pair.gap <= chars
        stated = near and (relation is None or is_stated(subject, object, relation, chars))
        levels: dict[Level, bool] = {
            "document": True,
            "far": pair.gap <= self.windows.far_chars,
            "near": near,
            "stated": stated,
        }
        for level, reached in levels.items():
            setattr(found, level, getattr(found, level) + reached)
        if levels[self.windows.exposure]:
            found.texts.add(reading.digest)
            found.domains.add(reading.domain)
            self._show(found, reading, pair)

    def _show(self, found: Coverage, reading: "_Reading", pair: Pair) -> None:
        if not self.windows.samples:
            return
        passage = Passage(-rank(reading.document.id, 0), reading.document.id, reading.passage(pair))
        if len(found.passages) < self.windows.samples:
            heappush(found.passages, passage)
        else:
            heappushpop(found.passages, passage)

    def finish(self) -> list[Coverage]:
        """The facts with everything counted, in their order, passages by rank."""
        for found, (subject, object, _) in zip(self.found, self._parts, strict=True):
            found.subject = self._mentioned[subject] if subject is not None else 0
            found.object = self._mentioned[object] if object is not None else 0
            found.passages.sort(reverse=True)
        return self.found


def domain(document: Document) -> str:
    """Where a document comes from: the host of its address, else its source.

    >>> domain(Document("1", "", "blogs", "https://www.example.com/a?b", "", "ja"))
    'example.com'
    """
    host = urlsplit(document.url).hostname if document.url else None
    return (host or document.source).removeprefix("www.")


@dataclass
class _Reading:
    """A document while its facts are counted."""

    document: Document
    cluster: str | None

    @cached_property
    def text(self) -> str:
        return folded(self.document.text)

    @cached_property
    def digest(self) -> bytes:
        """Of what makes it different from others."""
        return _digest(self.cluster if self.cluster is not None else "".join(self.text.split()))

    @cached_property
    def domain(self) -> bytes:
        return _digest(domain(self.document))

    def passage(self, pair: Pair) -> str:
        start, end = min(pair.subject.start, pair.object.start), max(pair.subject.end, pair.object.end)
        start, end = max(start - _AROUND, 0), min(end + _AROUND, len(self.text))
        half = _SHOWN // 2
        shown = self.text[start:end]
        if len(shown) > _SHOWN:
            shown = f"{shown[:half]} … {shown[-half:]}"
        return " ".join(shown.split())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def shares_at_least(found: Iterable[Coverage], counts: Sequence[int]) -> list[tuple[int, float]]:
    """For each number, the share of the facts that have at least so many exposures."""
    exposures = [one.exposures for one in found]
    return [(count, sum(one >= count for one in exposures) / len(exposures)) for count in counts]
