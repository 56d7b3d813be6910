"""Items, texts of a reference and evaluation prompts on one plane, near each other if they share words that tell topics apart.

What is measured is measured in the space of those words, not on the plane: there neighbours are neighbours, and no more.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated

import numpy as np
from bunbuku_contracts import BunbukuError, Config, Picture, Section, Table
from bunbuku_contracts.drawing import Sign, plane
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_synth.topics import Space, spoken

PATH = "map.svg"
_TITLE = "Where items, web texts and evaluation prompts lie"
_FEWEST = 10
"""Texts that a plane is made of."""

# Shapes: N texts, V words


class Map(Config):
    """How much is drawn."""

    texts: Annotated[int, Field(ge=_FEWEST)] = 400
    """Items, and as many texts of the reference, at most."""
    prompts: PositiveInt = 200
    """Of each evaluation set, at most."""
    signs: NonNegativeInt = 16
    """Topics that are named on the map, those of most texts."""
    seed: int = 0


def draw_map(groups: Mapping[str, np.ndarray], space: Space, config: Map, *, prompts: frozenset[str]) -> str | None:
    """The picture; `None` if too few texts have any of the words. Those in `prompts` are rings, the others dots."""
    shown = {name: some_NV[: config.prompts if name in prompts else config.texts] for name, some_NV in groups.items()}
    shown = {name: spoken(some_NV) for name, some_NV in shown.items()}
    vectors_NV = np.concatenate(list(shown.values()))
    if len(vectors_NV) < _FEWEST:
        return None
    places_N2 = _flat(vectors_NV, config.seed)
    ends = np.cumsum([len(some_NV) for some_NV in shown.values()])[:-1]
    series = {
        name: [(float(x), float(y)) for x, y in some_N2]
        for name, some_N2 in zip(shown, np.split(places_N2, ends), strict=True)
    }
    signs = _signs(places_N2, space.nearest(vectors_NV), space, config.signs)
    return plane(series, signs, label=_TITLE, rings=prompts)


def map_section(groups: Mapping[str, np.ndarray], picture: str | None, *, prompts: frozenset[str]) -> Section:
    """The picture, and how near each evaluation's prompts are to what was made and to the reference."""
    dots = {name: some_NV for name, some_NV in groups.items() if name not in prompts}
    rows = tuple(
        (name, len(groups[name]), len(asked := spoken(groups[name])), *(_nearest(asked, one) for one in dots.values()))
        for name in groups
        if name in prompts
    )
    columns = (
        "evaluation",
        "prompts",
        "with such words",
        *(f"median similarity to the nearest of the {name}" for name in dots),
    )
    said = (
        "Dots are items and texts of the reference, rings are prompts of evaluations. Neighbours share words; how far apart groups lie "
        "means nothing. Similarity is the cosine of the words that tell topics apart: 1 is the same words, 0 none in common. Texts without "
        "such words are not drawn."
    )
    pictures = (Picture(path=PATH, caption=_TITLE),) if picture else ()
    tables = (Table(columns=columns, rows=rows),) if rows else ()
    return Section(title="Where it lies", paragraphs=(said,), pictures=pictures, tables=tables)


def _nearest(prompts_NV: np.ndarray, some_NV: np.ndarray) -> float | None:
    """How like its nearest text the middle one of the prompts is."""
    if not len(prompts_NV) or not len(some_NV):
        return None
    return round(float(np.median((prompts_NV @ some_NV.T).max(axis=1))), 3)


def _signs(places_N2: np.ndarray, topics_N: np.ndarray, space: Space, count: int) -> list[Sign]:
    """Each topic's first word where the middle of its texts is."""
    sizes = np.bincount(topics_N, minlength=len(space.centres_KV))
    largest = [int(topic) for topic in np.argsort(-sizes, kind="stable")[:count] if sizes[topic]]
    middles = {topic: np.median(places_N2[topics_N == topic], axis=0) for topic in largest}
    return [Sign(float(x), float(y), space.names[topic][0]) for topic, (x, y) in middles.items()]


def _flat(vectors_NV: np.ndarray, seed: int) -> np.ndarray:
    """The rows on a plane, neighbours kept together (t-SNE, van der Maaten and Hinton 2008).

    Raises:
        BunbukuError: scikit-learn is not installed.
    """
    try:
        manifold = import_module("sklearn.manifold")
    except ImportError as error:
        raise BunbukuError("the map needs scikit-learn", hint="pip install 'bunbuku-synth[map]'") from error
    perplexity = min(30.0, (len(vectors_NV) - 1) / 3)
    model = manifold.TSNE(2, init="pca", perplexity=perplexity, random_state=seed, metric="cosine", n_jobs=1)
    return np.asarray(model.fit_transform(vectors_NV))
