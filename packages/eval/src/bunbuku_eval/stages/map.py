"""`eval.map`: questions of benchmarks, prompts of an arena and texts of training, on one map."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Config,
    Corpus,
    Dialogues,
    Draft,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_eval import browse
from bunbuku_eval.documents import Sample
from bunbuku_eval.reading import read_rows
from bunbuku_eval.umap_layout import laid_out
from bunbuku_eval.vectors import Matrix, nearest, reduced, vectors

PAGE = "index.html"
KINDS = ("benchmark", "arena", "training")
FEWEST_TEXTS = 10
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("kind", "group", "id", "text")),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("nearest", pa.string()),
        ("likeness", pa.float64()),
    ]
)
"""One row a text; `nearest` is the training text most like it, for what is no training text."""


class MapConfig(Config):
    title: str = Field(default="What is asked and what is trained on", min_length=1)
    method: Literal["umap", "svd"] = "umap"
    """How texts are laid out: UMAP (the extra `map`), or the two main directions alone."""
    texts: PositiveInt = 1000
    """At most so many a group, chosen by the hash of their ids."""
    chars: PositiveInt = 300
    """So much of each text is looked at: what its beginning is about."""
    dimensions: Annotated[int, Field(ge=2)] = 50
    """Main directions that UMAP starts from."""
    neighbours: Annotated[int, Field(ge=2)] = 15
    spread: float = Field(default=0.1, ge=0, le=1)
    """UMAP's least distance between points."""
    shown: NonNegativeInt = 20
    """Pairs of a question and a training text that are most alike, in the report."""
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class Text:
    """Something that was asked or trained on."""

    kind: str
    group: str
    id: str
    text: str


@stage("eval.map", bitwise=False)
def map_texts(
    draft: Draft,
    config: MapConfig,
    reports: dict[str, Artifact[Report]] | None = None,
    corpora: dict[str, Artifact[Corpus]] | None = None,
    dialogues: dict[str, Artifact[Dialogues]] | None = None,
    votes: Path | None = None,
) -> Report:
    """Lay out what models are asked beside what they are trained on, in one picture: a page that shows every text.

    `--reports` are those of `score` or `generate`, whose questions they are asked for; `--votes` is a file of an arena's votes with
    their prompts, as `ballots` writes it; `--corpora` and `--dialogues` are what is trained on. For each question the most
    similar training text is told. A promise of the same bytes is not made: UMAP's places depend on its version and the machine.
    """
    found = [
        *_of_reports(reports or {}, config),
        *(_of_votes(votes, config) if votes else ()),
        *_of_corpora(corpora or {}, config),
        *_of_dialogues(dialogues or {}, config),
    ]
    if len(found) < FEWEST_TEXTS:
        raise BunbukuError(
            f"there are {len(found)} texts, and a map needs {FEWEST_TEXTS}",
            hint="give --reports, --votes, --corpora or --dialogues",
        )
    matrix = vectors([one.text for one in found])
    if config.method == "umap":
        rows = reduced(matrix, dimensions=config.dimensions, seed=config.seed)
        places = laid_out(rows, neighbours=config.neighbours, spread=config.spread, seed=config.seed)
    else:
        places = reduced(matrix, dimensions=2, seed=config.seed)
    rows = _rows(found, places, _nearest(found, matrix))
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    draft.count(path, rows=len(rows), part="items")
    (draft.dir / PAGE).write_text(_page(config, rows), encoding="utf-8")
    groups = _groups(rows)
    draft.metrics |= {"texts": len(rows)} | {f"texts.{group}": len(own) for group, own in groups.items()}
    write_sections(draft, [_section(config, groups)])
    inputs = [*(reports or {}).values(), *(corpora or {}).values(), *(dialogues or {}).values()]
    licences = {licence for one in inputs for licence in one.spec.licences}
    return Report(title=config.title, page=PAGE, licences=tuple(sorted(licences)))


def _of_reports(reports: Mapping[str, Artifact[Report]], config: MapConfig) -> Iterator[Text]:
    """Each question once, whatever the number of models and ways in which it was asked."""
    for name, report in reports.items():
        files = report.files("items")
        known = set(pq.read_schema(report.path(files[0])).names) if files else set()
        if not {"prompt"} < known:
            raise BunbukuError(f"{report.dir} has no items with prompts", hint="give what score or generate made")
        asked: dict[tuple[str, str], str] = {}
        for row in pq.read_table(report.path(files[0])).to_pylist():
            group = row.get("task") or name
            asked.setdefault((group, str(row.get("id") or row.get("name"))), row["prompt"])
        by_group: dict[str, list[tuple[str, str]]] = {}
        for (group, id), prompt in asked.items():
            by_group.setdefault(group, []).append((id, prompt))
        for group, some in by_group.items():
            yield from _chosen("benchmark", group, _without_what_is_shared(some), config)


def _without_what_is_shared(asked: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Prompts without the lines that every prompt of the group has: the instruction says nothing of a question."""
    lines = [set(prompt.split("\n")) for _, prompt in asked]
    shared = set.intersection(*lines) if len(lines) > 1 else set()
    return [(id, "\n".join(one for one in prompt.split("\n") if one not in shared)) for id, prompt in asked]


def _of_votes(path: Path, config: MapConfig) -> Iterator[Text]:
    prompts = dict.fromkeys(str(row["prompt"]) for row in read_rows(path) if row.get("prompt"))
    if not prompts:
        raise BunbukuError(f"{path} has no votes with a `prompt`", hint="bunbuku-eval ballots writes them")
    yield from _chosen("arena", "arena", [(str(at), prompt) for at, prompt in enumerate(prompts)], config)


def _of_corpora(corpora: Mapping[str, Artifact[Corpus]], config: MapConfig) -> Iterator[Text]:
    for name, corpus in corpora.items():
        for document in Sample(documents=config.texts, seed=config.seed).of(corpus):
            yield Text("training", name, document.id, document.text[: config.chars])


def _of_dialogues(dialogues: Mapping[str, Artifact[Dialogues]], config: MapConfig) -> Iterator[Text]:
    for name, artifact in dialogues.items():
        asked: list[tuple[str, str]] = []
        for file in artifact.files():
            for row in pq.read_table(artifact.path(file), columns=["id", "messages"]).to_pylist():
                said = "\n".join(turn["content"] for turn in row["messages"] if turn["role"] == "user")
                asked.append((str(row["id"]), said))
        yield from _chosen("training", name, asked, config)


def _chosen(kind: str, group: str, asked: Sequence[tuple[str, str]], config: MapConfig) -> Iterator[Text]:
    from bunbuku_eval.documents import Document

    sample = Sample(documents=config.texts, seed=config.seed)
    for one in sample.choose(Document(id, text.strip(), "", group) for id, text in asked):
        yield Text(kind, group, one.id, one.text[: config.chars])


def _nearest(found: Sequence[Text], matrix: Any) -> dict[int, tuple[int, float]]:
    """For what is no training text, the place of the training text most like it and their cosine."""
    trained = [at for at, one in enumerate(found) if one.kind == "training"]
    asked = [at for at, one in enumerate(found) if one.kind != "training"]
    if not trained or not asked:
        return {}
    places, cosines = nearest(matrix[asked], matrix[trained])
    return {at: (trained[place], float(cosine)) for at, place, cosine in zip(asked, places, cosines, strict=True)}


def _rows(found: Sequence[Text], places: Matrix, near: Mapping[int, tuple[int, float]]) -> list[dict[str, Any]]:
    scaled = (places - places.min(axis=0)) / np.maximum(np.ptp(places, axis=0), 1e-12)
    rows: list[dict[str, Any]] = []
    for at, one in enumerate(found):
        other, likeness = near.get(at, (None, None))
        rows.append(
            {
                "kind": one.kind,
                "group": one.group,
                "id": one.id,
                "text": one.text,
                "x": round(float(scaled[at, 0]), 4),
                "y": round(float(scaled[at, 1]), 4),
                "nearest": found[other].text if other is not None else None,
                "likeness": round(likeness, 4) if likeness is not None else None,
            }
        )
    return rows


def _page(config: MapConfig, rows: Sequence[Mapping[str, Any]]) -> str:
    groups = sorted({(KINDS.index(row["kind"]), row["kind"], row["group"]) for row in rows})
    order = {(kind, group): at for at, (_, kind, group) in enumerate(groups)}
    points = [
        [order[row["kind"], row["group"]], row["x"], row["y"], row["id"], row["text"], row["nearest"], row["likeness"]]
        for row in rows
    ]
    data = {"groups": [{"kind": kind, "name": name} for _, kind, name in groups], "points": points}
    return browse.scripted("map", config.title, data, method=config.method)


def _groups(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(f"{row['kind']}.{row['group']}", []).append(row)
    return found


def _section(config: MapConfig, groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> Section:
    lines = []
    for group, rows in groups.items():
        likeness = [row["likeness"] for row in rows if row["likeness"] is not None]
        middle, high = np.quantile(likeness, (0.5, 0.95)) if likeness else (None, None)
        lines.append((group, len(rows), _rounded(middle), _rounded(high)))
    asked = [row for rows in groups.values() for row in rows if row["likeness"] is not None]
    alike = sorted(asked, key=lambda row: (-row["likeness"], row["group"], row["id"]))[: config.shown]
    pairs = tuple((row["group"], row["id"], row["likeness"], row["text"][:120], row["nearest"][:120]) for row in alike)
    columns = ("group", "texts", "likeness to the nearest training text, median", "95th percentile")
    tables = [Table(columns=columns, rows=tuple(lines), caption="Groups on the map")]
    if pairs:
        names = ("group", "id", "likeness", "text", "nearest training text")
        tables.append(Table(columns=names, rows=pairs, caption="What is asked, and is most like what is trained on"))
    return Section(title=config.title, paragraphs=(_ON_LIKENESS,), tables=tuple(tables))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)


_ON_LIKENESS = (
    "Likeness is the cosine of character n-grams, rare ones weighing more: 1 is the same text, and texts about one thing in other words "
    "are not alike. Whether an item stands in a corpus is for bunbuku-corpus's contamination to say."
)
