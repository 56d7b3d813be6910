"""Draw several corpora and the prompts of evaluations on one plane."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Corpus,
    Dialogues,
    Draft,
    Picture,
    Report,
    Section,
    Table,
    drawing,
    page,
    stage,
)
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_corpus.benchmarks import Item, Reading, read_items
from bunbuku_corpus.document import Document, read_documents
from bunbuku_corpus.embedding import EmbeddingConfig, fit_embedding, shared_terms
from bunbuku_corpus.language import sample as excerpt
from bunbuku_corpus.learning import centres, flat
from bunbuku_corpus.sampling import sample
from bunbuku_corpus.terms import telling_terms, terms

TITLE = "Where corpora and evaluation prompts lie"


class MapConfig(EmbeddingConfig):
    """How much is drawn, and how."""

    documents: PositiveInt = 600
    """Documents drawn of each corpus, chosen by a hash of their ids."""
    prompts: PositiveInt = 200
    """Prompts drawn of each evaluation."""
    method: Literal["tsne", "pca"] = "tsne"
    """`tsne` keeps neighbours together, and distances between groups mean nothing; `pca` keeps large distances."""
    signs: NonNegativeInt = 14
    """Places that are named by their most telling term."""
    covered_from: float = Field(default=0.5, ge=0, le=1)
    """Share of a prompt's terms, the rarer the heavier, that one document must have to cover it."""


@dataclass(frozen=True)
class _Drawn:
    """Texts that are drawn together."""

    name: str
    is_prompts: bool
    ids: tuple[str, ...]
    texts: tuple[str, ...]


@stage("corpus.map", revision=3, bitwise=False)
def draw_map(
    draft: Draft,
    config: MapConfig,
    corpora: dict[str, Artifact[Corpus]],
    prompts: dict[str, Artifact[Dialogues]] | None = None,
) -> Report:
    """Draw samples of several corpora, and evaluation prompts, in one picture: near each other if they share terms.

    `--corpora web=DIR --corpora books=DIR --prompts exam=DIR`. The page also says of every evaluation how many of its
    prompts each corpus covers, measured by the terms they share and not on the plane; `points.parquet` has the
    places. Needs scikit-learn.
    """
    if not corpora:
        raise BunbukuError("there is no corpus to draw", hint="--corpora NAME=DIR, once a corpus")
    drawn = list(_drawn(draft, config, corpora, prompts or {}))
    texts = [text for some in drawn for text in some.texts]
    vectors = fit_embedding(texts, config).of(texts)
    spoken: NDArray[np.bool_] = np.asarray(vectors.any(axis=1))
    places = np.full((len(texts), 2), np.nan)
    places[spoken] = flat(vectors[spoken], config.method, seed=config.seed)
    owner = np.repeat(np.arange(len(drawn)), [len(some.texts) for some in drawn])
    _write(draft, drawn, places)
    nearest = _nearest(drawn, shared_terms(texts, config), owner)
    for (prompt, corpus), parts in nearest.items():
        draft.metrics[f"covered.{prompt}.{corpus}"] = _covered(parts, config)
    series = {
        some.name: [(float(x), float(y)) for x, y in places[(owner == index) & spoken]]
        for index, some in enumerate(drawn)
    }
    rings = frozenset(some.name for some in drawn if some.is_prompts)
    signs = _signs(places[spoken], [text for text, one in zip(texts, spoken, strict=True) if one], config)
    pictured = {"map.svg": drawing.plane(series, signs, label=TITLE, rings=rings)}
    sections = _sections(drawn, nearest, config, int((~spoken).sum()))
    return Report(title=TITLE, page=page.publish(draft, TITLE, sections, pictured))


def _drawn(
    draft: Draft, config: MapConfig, corpora: Mapping[str, Artifact[Corpus]], prompts: Mapping[str, Artifact[Dialogues]]
) -> Iterator[_Drawn]:
    for name, corpus in corpora.items():
        reading = draft.track(read_documents(corpus), unit="documents", label=f"corpus.map: {name}")
        yield _sampled(name, reading, config.documents, config, is_prompts=False)
    for name, dialogues in prompts.items():
        if name in corpora:
            raise BunbukuError(f"{name!r} names a corpus and prompts", hint="give each a name of its own")
        items = map(_as_document, read_items(None, dialogues, Reading()))
        yield _sampled(name, items, config.prompts, config, is_prompts=True)


def _as_document(item: Item) -> Document:
    return Document(item.id, item.text, "", None, "", "")


def _sampled(name: str, documents: Iterator[Document], count: int, config: MapConfig, *, is_prompts: bool) -> _Drawn:
    short = (replace(one, text=excerpt(one.text, config.max_chars)) for one in documents)
    chosen = sample(short, count, seed=config.seed)
    if not chosen:
        raise BunbukuError(f"{name!r} has no text to draw", hint="give a part that has some, such as DIR#train")
    return _Drawn(name, is_prompts, tuple(one.id for one in chosen), tuple(one.text for one in chosen))


def _write(draft: Draft, drawn: Sequence[_Drawn], places: NDArray[np.float64]) -> None:
    table = pa.table(
        {
            "of": [some.name for some in drawn for _ in some.ids],
            "id": [id for some in drawn for id in some.ids],
            "x": pa.array(places[:, 0], pa.float64(), from_pandas=True),
            "y": pa.array(places[:, 1], pa.float64(), from_pandas=True),
        }
    )
    path = draft.dir / "points.parquet"
    pq.write_table(table, path, compression="zstd")
    draft.count(path, rows=table.num_rows)


def _nearest(
    drawn: Sequence[_Drawn], rows: Any, owner: NDArray[np.int64]
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """For every evaluation and corpus: of each prompt's terms, weighted, the share that the best document drawn has.

    A prompt without terms has none to share: it is not a number.
    """
    weights, there = rows.power(2), rows > 0  # the squares of a row sum to one
    silent = rows.getnnz(axis=1) == 0
    found: dict[tuple[str, str], NDArray[np.float32]] = {}
    for one, prompts in enumerate(drawn):
        for other, corpus in enumerate(drawn):
            if prompts.is_prompts and not corpus.is_prompts:
                parts = (weights[owner == one] @ there[owner == other].T).max(axis=1).toarray().ravel()
                found[prompts.name, corpus.name] = np.where(silent[owner == one], np.nan, parts)
    return found


def _spoken(parts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Those of prompts that have terms."""
    return parts[~np.isnan(parts)]


def _covered(parts: NDArray[np.float32], config: MapConfig) -> float:
    """The share of the prompts with terms that some document covers; none if there is no such prompt."""
    spoken = _spoken(parts)
    return float((spoken >= config.covered_from).mean()) if len(spoken) else 0.0


def _signs(places: NDArray[np.float64], texts: Sequence[str], config: MapConfig) -> list[drawing.Sign]:
    """The most telling term of each of some groups of neighbours, where the group's middle is."""
    count = min(config.signs, len(texts) // 5)
    if count < 2:
        return []
    lengths = np.abs(places).max() or 1.0
    # On the plane groups are round spots and not directions: a third number makes the clusters of rays into those of spots.
    spots = np.column_stack([places / lengths, np.ones(len(places))])
    spots /= np.linalg.norm(spots, axis=1, keepdims=True)
    middles = centres(spots.astype(np.float32), count, seed=config.seed)
    groups = (spots @ middles.T).argmax(axis=1)
    telling = telling_terms(
        [[set(terms(texts[row])) for row in np.flatnonzero(groups == g).tolist()] for g in range(count)], 3
    )
    signs: list[drawing.Sign] = []
    taken: set[str] = set()
    for group, some in enumerate(telling):
        fresh = [one.term for one in some if one.term not in taken]
        if fresh:
            taken.add(fresh[0])
            x, y = np.median(places[groups == group], axis=0)
            signs.append(drawing.Sign(float(x), float(y), fresh[0]))
    return signs


def _sections(
    drawn: Sequence[_Drawn],
    nearest: Mapping[tuple[str, str], NDArray[np.float32]],
    config: MapConfig,
    silent: int,
) -> tuple[Section, ...]:
    ways = {
        "tsne": "Neighbours on the plane share terms; how far apart groups lie means nothing.",
        "pca": "The plane is the two directions in which the texts differ most.",
    }
    said = (
        f"Each dot is a document, each ring a prompt. {ways[config.method]}"
        + (f" {silent:,} texts without terms are not drawn." if silent else ""),
    )
    counts = tuple((some.name, "prompts" if some.is_prompts else "documents", len(some.ids)) for some in drawn)
    cover = tuple(
        (
            prompts,
            corpus,
            len(_spoken(parts)),
            f"{_covered(parts, config):.1%}",
            round(float(np.median(_spoken(parts))), 3),
        )
        for (prompts, corpus), parts in nearest.items()
        if len(_spoken(parts))
    )
    columns = (
        "evaluation",
        "corpus",
        "prompts with terms",
        f"of these with {config.covered_from:.0%} of their terms in one document",
        "median share",
    )
    lonely = tuple(
        (some.name, some.ids[row], round(best, 3), " ".join(some.texts[row].split())[:120])
        for some in drawn
        if some.is_prompts
        for row, best in _loneliest(some, nearest)
    )
    tables = (Table(columns=("drawn", "what", "number"), rows=counts),)
    if cover:
        tables += (
            Table(columns=columns, rows=cover, caption="By the terms they share, not on the plane"),
            Table(
                columns=("evaluation", "prompt", "share", "text"),
                rows=lonely,
                caption="Prompts of whose terms no document has many",
            ),
        )
    picture = Picture(path="map.svg", caption=f"{TITLE}, by {config.method}")
    return (Section(title="The map", paragraphs=said, pictures=(picture,), tables=tables),)


def _loneliest(
    some: _Drawn, nearest: Mapping[tuple[str, str], NDArray[np.float32]], count: int = 8
) -> list[tuple[int, float]]:
    best = np.max([parts for (prompts, _), parts in nearest.items() if prompts == some.name], axis=0)
    order = np.argsort(best, kind="stable")[: min(count, len(_spoken(best)))]  # those without terms are last
    return [(int(row), float(best[row])) for row in order]
