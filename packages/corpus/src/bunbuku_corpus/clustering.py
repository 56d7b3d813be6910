"""Topics: clusters of texts that are about the same, with the terms that tell them from the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Config, Corpus, Draft
from numpy.typing import NDArray
from pydantic import ValidationError

from bunbuku_corpus.embedding import Embedding, EmbeddingConfig, Vectors, fit_embedding
from bunbuku_corpus.learning import centres, silhouette
from bunbuku_corpus.terms import Telling, telling_terms, terms

NO_TERMS = "no terms"
"""The topic of a text without terms."""
_SILHOUETTE_TEXTS = 2000
_FOLDER, _FACTS, _COMPONENTS, _CENTRES = "topics", "topics.json", "components.npy", "centres.npy"


class Topic(Config):
    """A topic, as `topics/topics.json` has it."""

    name: str
    terms: tuple[str, ...]
    """The most telling first."""


class _Facts(Config):
    embedding: EmbeddingConfig
    topics: tuple[Topic, ...]


class Placed(NamedTuple):
    """The topics of some texts."""

    topics: NDArray[np.int64]
    """Numbers of topics; -1 for texts without terms."""
    similarities: NDArray[np.float32]
    """Cosine to the topic's centre."""


@dataclass(frozen=True)
class Topics:
    """Topics that were found."""

    embedding: Embedding
    centres: Vectors
    topics: tuple[Topic, ...]

    def place(self, texts: Sequence[str]) -> Placed:
        """The nearest topic of every text."""
        vectors = self.embedding.of(texts)
        similarities = vectors @ self.centres.T
        best = similarities.argmax(axis=1)
        none = ~vectors.any(axis=1)
        return Placed(np.where(none, -1, best), np.where(none, 0, similarities[np.arange(len(texts)), best]))

    def name(self, topic: int) -> str:
        """The topic's name."""
        return self.topics[topic].name if topic >= 0 else NO_TERMS


class Found(NamedTuple):
    """Topics of a sample, and how well they are apart."""

    topics: Topics
    silhouette: float


def find_topics(texts: Sequence[str], config: EmbeddingConfig, *, count: int, names: Sequence[str]) -> Found:
    """So many topics of the texts, the largest first, named by their three most telling terms or as told.

    Raises:
        BunbukuError: There are fewer texts than topics.
    """
    if len(texts) < 2 * count:
        raise BunbukuError(
            f"{len(texts)} documents are too few for {count} topics", hint="lower `topics`, or sample more"
        )
    embedding = fit_embedding(texts, config)
    vectors = embedding.of(texts)
    spoken = vectors[vectors.any(axis=1)]
    found = centres(spoken, count, seed=config.seed)
    sizes = np.bincount((vectors @ found.T).argmax(axis=1), minlength=count)
    found = found[np.argsort(-sizes, kind="stable")]
    clusters = (vectors @ found.T).argmax(axis=1)
    # One text after another: the terms of all at once are many times as large as the texts.
    groups = [(set(terms(texts[row])) for row in np.flatnonzero(clusters == topic).tolist()) for topic in range(count)]
    topics = _named(telling_terms(groups, 12), names)
    some = slice(0, _SILHOUETTE_TEXTS)
    return Found(Topics(embedding, found, topics), silhouette(vectors[some], clusters[some]))


def _named(telling: Sequence[Sequence[Telling]], names: Sequence[str]) -> tuple[Topic, ...]:
    taken: set[str] = set()
    found: list[Topic] = []
    for number, some in enumerate(telling):
        words = [one.term for one in some]
        name = names[number] if number < len(names) else "・".join(words[:3]) or f"topic {number}"
        if name in taken or name == NO_TERMS:
            name = f"{name} {number}"
        taken.add(name)
        found.append(Topic(name=name, terms=tuple(words)))
    return tuple(found)


def write_topics(draft: Draft, topics: Topics) -> None:
    """Write what later corpora are divided by in the same way, as the part `topics`."""
    folder = draft.dir / _FOLDER
    folder.mkdir()
    facts = _Facts(embedding=topics.embedding.config, topics=topics.topics)
    (folder / _FACTS).write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    np.save(folder / _COMPONENTS, topics.embedding.components, allow_pickle=False)
    np.save(folder / _CENTRES, topics.centres, allow_pickle=False)
    for name in (_FACTS, _COMPONENTS, _CENTRES):
        draft.count(folder / name, part="topics")


def read_topics(corpus: Artifact[Corpus]) -> Topics:
    """The topics that a corpus was divided by.

    Raises:
        ArtifactError: It was not.
    """
    folder: Path = corpus.dir / _FOLDER
    try:
        facts = _Facts.model_validate_json((folder / _FACTS).read_bytes())
        components = np.load(folder / _COMPONENTS, allow_pickle=False)
        found = np.load(folder / _CENTRES, allow_pickle=False)
    except (OSError, ValueError, ValidationError) as error:
        hint = "give a corpus that `topics` made"
        raise ArtifactError(f"{corpus.dir} has no topics: {error}", hint=hint) from error
    return Topics(Embedding(facts.embedding, components), found, facts.topics)
