"""Divide a corpus into what its documents are about."""

import heapq
import pickle
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft, Picture, Section, Table, page, stage
from bunbuku_contracts.intervals import Interval
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_corpus import pictures
from bunbuku_corpus.batches import with_columns
from bunbuku_corpus.clustering import NO_TERMS, Found, Topics, find_topics, read_topics, write_topics
from bunbuku_corpus.document import Document, count_documents, read_documents
from bunbuku_corpus.embedding import EmbeddingConfig
from bunbuku_corpus.engine import EngineRun
from bunbuku_corpus.language import sample as excerpt
from bunbuku_corpus.passes import passed
from bunbuku_corpus.sampling import rank, sample

TITLE = "What the corpus is about"


class TopicsConfig(EmbeddingConfig):
    """How many topics are found in which sample."""

    topics: int = Field(default=24, ge=2)
    """Number of topics."""
    names: tuple[str, ...] = ()
    """Their names, the largest topic first. Without them, or where they end, a topic's most telling terms."""
    sample: PositiveInt = 20_000
    """Documents that topics are found in; all are then divided by them."""
    column: str = Field(default="topic", pattern="^[a-z][a-z0-9_]*$")
    """Column for the topic's name; `<column>_similarity` says how near the document is to its middle."""
    samples: NonNegativeInt = 3
    """Documents shown of each topic."""


_HERE = EngineRun()


@stage("corpus.topics", revision=3, bitwise=False)
def topics(
    draft: Draft,
    config: TopicsConfig,
    corpus: Artifact[Corpus],
    like: Artifact[Corpus] | None = None,
    *,
    run: EngineRun = _HERE,
) -> Corpus:
    """Find what the documents of a corpus are about, and write each one's topic as a column.

    Documents become points by the terms they share (latent semantic analysis of a seeded sample; nothing is downloaded),
    and k-means finds the topics. Each has a name, a size and the terms that tell it from the others; `mix` takes the column
    for domains. `--like` divides by the topics of another corpus that was made here. Needs scikit-learn.
    """
    found = Found(read_topics(like), float("nan")) if like else _find(draft, config, corpus)
    known = draft.scratch / "topics.pickle"
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_bytes(pickle.dumps(found.topics))
    tally = passed(draft, corpus, _Divide(known, config.column, config.samples), _Tally(config.samples), run)
    total = tally.documents.total()
    write_topics(draft, found.topics)
    draft.metrics |= {"documents": total, "topics": len(found.topics.topics)}
    if found.silhouette == found.silhouette:
        draft.metrics["silhouette"] = found.silhouette
    draft.metrics |= {f"topic.{name}.documents": tally.documents[name] for name in sorted(tally.documents)}
    drawn = {"topics.svg": _picture(tally, total)}
    page.publish(draft, TITLE, _sections(found, tally, total), drawn)
    return Corpus(languages=tuple(sorted(tally.languages)))


def _find(draft: Draft, config: TopicsConfig, corpus: Artifact[Corpus]) -> Found:
    reading = draft.track(
        read_documents(corpus), unit="documents", total=count_documents(corpus), label="corpus.topics: sample"
    )
    short = (replace(document, text=excerpt(document.text, config.max_chars)) for document in reading)
    texts = [document.text for document in sample(short, config.sample, seed=config.seed)]
    if not texts:
        raise BunbukuError(f"{corpus.dir} has no document", hint="give a part that has some, such as DIR#train")
    return find_topics(texts, config, count=config.topics, names=config.names)


@dataclass
class _Tally:
    samples: int
    documents: Counter[str] = field(default_factory=Counter[str])
    chars: Counter[str] = field(default_factory=Counter[str])
    languages: set[str] = field(default_factory=set[str])
    shown: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict[str, list[tuple[int, str, str]]])

    def count(self, name: str, document: Document) -> None:
        self.documents[name] += 1
        self.chars[name] += len(document.text)
        self.languages.add(document.language)
        if not self.samples:
            return
        some, one = self.shown.setdefault(name, []), (-rank(document.id, 0), document.id, document.text[:120])
        if len(some) < self.samples:
            heapq.heappush(some, one)
        else:
            heapq.heappushpop(some, one)

    def add(self, other: "_Tally") -> None:
        self.documents += other.documents
        self.chars += other.chars
        self.languages |= other.languages
        for name, some in other.shown.items():
            self.shown[name] = heapq.nlargest(self.samples, [*self.shown.get(name, ()), *some])


@dataclass(frozen=True)
class _Divide:
    """Writes into each document's row which topic it has."""

    topics: Path
    """Where they lie: they are large, and the same for all."""
    column: str
    samples: int

    def __call__(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, _Tally]:
        tally, topics = _Tally(self.samples), _read_once(self.topics)
        placed = topics.place(batch.column("text").to_pylist())
        names = [topics.name(topic) for topic in placed.topics.tolist()]
        for name, row in zip(names, batch.select(["id", "text", "language"]).to_pylist(), strict=True):
            tally.count(name, Document(**row, source="", url=None, licence=""))
        similarities = pa.array(placed.similarities.round(4).tolist(), pa.float32())
        added = {self.column: pa.array(names, pa.string()), f"{self.column}_similarity": similarities}
        divided = with_columns(batch, added, without=tuple(added))
        return divided.replace_schema_metadata(batch.schema.metadata), tally


@lru_cache(1)
def _read_once(path: Path) -> Topics:
    return pickle.loads(path.read_bytes())


def _picture(tally: _Tally, total: int) -> str:
    """Shares of documents and of characters; they are counted and not sampled, so that intervals have no width."""
    chars = tally.chars.total() or 1

    def bar(name: str, share: float) -> pictures.Bar:
        return pictures.Bar(name, share, *Interval(share, share))

    order = [name for name, _ in tally.documents.most_common()]
    groups = {
        "of documents": [bar(name, tally.documents[name] / total) for name in order],
        "of characters": [bar(name, tally.chars[name] / chars) for name in order],
    }
    return pictures.bars(groups, label="share of the corpus")


def _sections(found: Found, tally: _Tally, total: int) -> tuple[Section, ...]:
    about = {topic.name: "、".join(topic.terms) for topic in found.topics.topics} | {NO_TERMS: ""}
    rows = tuple(
        (name, count, f"{count / total:.1%}", tally.chars[name], about[name])
        for name, count in tally.documents.most_common()
    )
    apart = (
        ""
        if found.silhouette != found.silhouette
        else f" Their silhouette is {found.silhouette:.3f}, between -1 and 1."
    )
    said = (
        f"{len(found.topics.topics):,} topics of {total:,} documents, found by the terms that documents share.{apart} A "
        "topic's terms are those that tell it from the others, not its most frequent ones.",
    )
    shown = tuple(
        (name, id, " ".join(text.split()))
        for name, *_ in rows
        for _, id, text in sorted(tally.shown.get(name, ()), reverse=True)
    )
    columns = ("topic", "documents", "share", "characters", "telling terms")
    return (
        Section(
            title="Topics",
            paragraphs=said,
            pictures=(Picture(path="topics.svg", caption="Topics by size"),),
            tables=(Table(columns=columns, rows=rows),),
        ),
        Section(title="Documents of each", tables=(Table(columns=("topic", "document", "begins"), rows=shown),)),
    )
