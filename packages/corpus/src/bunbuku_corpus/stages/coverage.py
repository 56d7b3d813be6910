"""Count how often a corpus says the facts that a model is to know."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft, Picture, Report, Section, Table, page, stage
from pydantic import NonNegativeInt

from bunbuku_corpus import pictures
from bunbuku_corpus.annotations import documents_of
from bunbuku_corpus.columns import columns_of
from bunbuku_corpus.document import COLUMNS
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.exposures import Counts, Coverage, Coverages, Windows, shares_at_least
from bunbuku_corpus.facts import Fact, read_facts
from bunbuku_corpus.shards import RowGroup, row_groups
from bunbuku_corpus.writing import by_shard

TITLE = "How often the corpus says each fact"
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "subject", "relation", "object")),
        *(
            (name, pa.int64())
            for name in (
                "subject_documents",
                "object_documents",
                "documents",
                "far_documents",
                "near_documents",
                "stated_documents",
                "exposures",
                "domains",
            )
        ),
        ("verdict", pa.string()),
    ]
)


class CoverageConfig(Windows):
    """What counts as an exposure to a fact."""

    cluster: str = "cluster"
    """Column that names a document's cluster of duplicates. Without it, documents of equal text count once."""
    shown: NonNegativeInt = 40
    """Facts in the page's picture and table, those with the fewest exposures first."""


_HERE = EngineRun()


@stage("corpus.coverage", revision=2)
def coverage(
    draft: Draft, config: CoverageConfig, corpus: Artifact[Corpus], facts: Path, *, run: EngineRun = _HERE
) -> Report:
    """Count how often a corpus says each of the given facts, and which of them no model could learn from it.

    `--facts` is JSON Lines, a fact a line, each part with the ways of writing it:

        {"subject": ["野比のび太", "のび太"], "relation": ["特技", "得意"], "object": ["あやとり"]}

    All are looked for at once. Of each are counted: documents with its subject, with its object, with both, with both
    far and near (see `far_chars`, `near_chars`), with a word of the relation as well, and the different texts and domains
    among the near ones. `facts.parquet` has a row a fact, the page a picture against the threshold `enough`.
    """
    tally = Coverages(read_facts(facts), config)
    cluster = config.cluster if config.cluster in columns_of(corpus) else None
    columns = (*COLUMNS, cluster) if cluster and cluster not in COLUMNS else COLUMNS
    shards = by_shard(row_groups(corpus, columns=columns))
    with open_engine(run, draft.scratch) as engine:
        work = engine.each(_Count(tuple(one.fact for one in tally.found), config, cluster), shards)
        for some in draft.track(work, unit="shards", total=len(shards)):
            tally.merge(some)
    if not tally.documents:
        raise BunbukuError(f"{corpus.dir} has no document", hint="give a part that has some, such as DIR#train")
    found = tally.finish()
    path = draft.dir / "facts.parquet"
    pq.write_table(pa.Table.from_pylist([_row(one, config.enough) for one in found], _SCHEMA), path, compression="zstd")
    draft.count(path, rows=len(found))
    draft.metrics |= _metrics(tally, found, config.enough)
    drawn = _pictures(found, config)
    return Report(title=TITLE, page=page.publish(draft, TITLE, _sections(tally, found, config, drawn), drawn))


@dataclass(frozen=True)
class _Count:
    """Counts the facts in one shard."""

    facts: tuple[Fact, ...]
    windows: Windows
    cluster: str | None

    def __call__(self, groups: tuple[RowGroup, ...]) -> Counts:
        tally = _empty((self.facts, self.windows))
        for group in groups:
            batch = group.read()
            names: list[object] = batch[self.cluster].to_pylist() if self.cluster else [None] * batch.num_rows
            for document, name in zip(documents_of(batch), names, strict=True):
                tally.add(document, None if name is None else str(name))
        return tally.counts()


@lru_cache(1)
def _empty(what: tuple[tuple[Fact, ...], Windows]) -> Coverages:
    """Made once: the automaton that finds the facts takes time to build."""
    return Coverages(*what)


def _row(found: Coverage, enough: int) -> dict[str, str | int]:
    return {
        "id": found.fact.id,
        "subject": found.fact.subject[0],
        "relation": found.fact.relation[0] if found.fact.relation else "",
        "object": found.fact.object[0],
        "subject_documents": found.subject,
        "object_documents": found.object,
        "documents": found.document,
        "far_documents": found.far,
        "near_documents": found.near,
        "stated_documents": found.stated,
        "exposures": found.exposures,
        "domains": len(found.domains),
        "verdict": found.verdict(enough),
    }


def _metrics(tally: Coverages, found: Sequence[Coverage], enough: int) -> dict[str, float]:
    verdicts = [one.verdict(enough) for one in found]
    return {
        "documents": tally.documents,
        "characters": tally.characters,
        "facts": len(found),
        "facts.enough": verdicts.count("enough"),
        "facts.too_few": verdicts.count("too few"),
        "facts.never": verdicts.count("never"),
        "exposures": sum(one.exposures for one in found),
    }


def _fewest(found: Sequence[Coverage], shown: int) -> list[Coverage]:
    return sorted(found, key=lambda one: (one.exposures, one.fact.id))[:shown]


def _pictures(found: Sequence[Coverage], config: CoverageConfig) -> dict[str, str]:
    rows = [
        pictures.Dots(
            one.fact.name,
            {"subject": one.subject, "both": one.document, "near": one.near, "different texts": one.exposures},
        )
        for one in _fewest(found, config.shown)
    ]
    label = f"documents (logarithmic); the line is {config.enough:,} exposures"
    return {"facts.svg": pictures.ladder(rows, threshold=config.enough, label=label)} if rows else {}


def _sections(
    tally: Coverages, found: Sequence[Coverage], config: CoverageConfig, drawn: dict[str, str]
) -> tuple[Section, ...]:
    verdicts = [one.verdict(config.enough) for one in found]
    said = (
        f"Of {len(found):,} facts, {verdicts.count('enough'):,} are said in at least {config.enough:,} different texts, "
        f"{verdicts.count('too few'):,} in fewer, and {verdicts.count('never'):,} in none of {tally.documents:,} documents "
        f"({tally.characters:,} characters).",
        f"Subject and object are near with at most {config.near_chars:,} characters between them, far with at most "
        f"{config.far_chars:,}. An exposure is a different text at the level {config.exposure!r}. That a fact is missing "
        "says that none of its ways of writing were found: look at the subject's and the object's own numbers first.",
    )
    fewest = _fewest(found, config.shown)
    columns = ("fact", "subject", "object", "both", "far", "near", "stated", "exposures", "domains", "verdict")
    rows = tuple(
        (
            one.fact.name,
            *(one.subject, one.object, one.document, one.far, one.near, one.stated, one.exposures, len(one.domains)),
            one.verdict(config.enough),
        )
        for one in fewest
    )
    steps = sorted({1, 10, 100, 1000, config.enough})
    at_least = tuple((count, f"{share:.1%}") for count, share in shares_at_least(found, steps))
    passages = tuple((one.fact.name, passage.id, passage.text) for one in fewest for passage in one.passages)
    shown = tuple(Picture(path=path, caption="Facts with the fewest exposures") for path in drawn)
    tables = (
        Table(columns=columns, rows=rows, caption="Documents, the facts with the fewest exposures first"),
        Table(columns=("exposures", "facts with at least so many"), rows=at_least),
    )
    where = Table(columns=("fact", "document", "passage"), rows=passages, caption="Chosen at random")
    return (
        Section(title="Which facts are there", paragraphs=said, pictures=shown, tables=tables),
        Section(title="Where they are said", tables=(where,)),
    )
