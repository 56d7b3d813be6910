"""Find out how much of a corpus is what: advertising, education, and all the rest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Classifier,
    Config,
    Corpus,
    Draft,
    Picture,
    Report,
    Section,
    Table,
    page,
    stage,
)
from bunbuku_contracts.intervals import wilson
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_corpus import genres, pictures
from bunbuku_corpus.classifier import read_classifier
from bunbuku_corpus.columns import read_described
from bunbuku_corpus.document import count_documents
from bunbuku_corpus.genres import PURPOSES, Purpose
from bunbuku_corpus.judges import AXES, Agreement, Axis, Judged, Share, Verdict, agreements, crossed, shares
from bunbuku_corpus.labels import read_labels
from bunbuku_corpus.sampling import rank, sample

TITLE = "What the corpus consists of"
ASKED = ("advertising", "education")
"""Purposes that are always shown: whoever asks how much there is wants to see that there is none."""


class BalanceConfig(Config):
    """Which documents are looked at, and how they are judged."""

    sample: PositiveInt = 2000
    """Documents that are judged, chosen by a hash of their ids."""
    seed: NonNegativeInt = 0
    """Another seed is another sample."""
    max_chars: PositiveInt = 4000
    """Characters judged of a document, from its beginning."""
    purposes: tuple[Purpose, ...] = PURPOSES
    """Purposes, with the words that tell them."""
    topic_column: str = "topic"
    """Column with the topics of documents, if the corpus has one."""
    shown: NonNegativeInt = 3
    """Documents shown of each purpose."""


type _Found = Mapping[tuple[Axis, str], Sequence[Share]]


@stage("corpus.balance", revision=3)
def balance(
    draft: Draft,
    config: BalanceConfig,
    corpus: Artifact[Corpus],
    classifiers: dict[str, Artifact[Classifier]] | None = None,
    labels: Path | None = None,
) -> Report:
    """Judge a random sample of a corpus by purpose, topic and format, and show how much of it is what.

    Rules judge purpose and format; the corpus's own column `topic` tells topics. Further judges, if there are any:
    `--classifiers purpose=DIR` (of `learn`; also `topic=`, `format=`), and `--labels FILE`, JSON Lines by people or by a
    large model: `{"id": "…", "purpose": "advertising", "format": "list"}`. Every share has its 95 % interval, and every
    two judges of one thing their agreement. `annotations.parquet` has all verdicts.
    """
    chosen = _choose(draft, config, corpus)
    documents = [Judged(one.id, one.chars, one.text) for one in chosen]
    verdicts = [*_rules(documents, chosen, config), *_classified(documents, classifiers or {})]
    if labels:
        verdicts += _labelled(documents, labels)
    agreed = agreements(verdicts, seed=config.seed)
    found: _Found = {
        (one.axis, one.judge): shares(one, documents, seed=config.seed, asked=ASKED if one.axis == "purpose" else ())
        for one in verdicts
    }
    _write(draft, documents, verdicts)
    draft.metrics |= {"documents.judged": len(documents)}
    for (axis, judge), some in found.items():
        for one in some:
            draft.metrics[f"{axis}.{judge}.{one.label}"] = one.share
    for one in agreed:
        if one.kappa == one.kappa:
            draft.metrics[f"kappa.{one.axis}.{'.'.join(one.judges)}"] = one.kappa
    drawn = _pictures(found, verdicts)
    sections = _sections(documents, verdicts, found, agreed, config, drawn)
    return Report(title=TITLE, page=page.publish(draft, TITLE, sections, drawn))


class _Chosen(NamedTuple):
    """A document of the sample."""

    id: str
    chars: int
    text: str
    """Its beginning."""
    topic: str | None


def _choose(draft: Draft, config: BalanceConfig, corpus: Artifact[Corpus]) -> list[_Chosen]:
    reading = draft.track(read_described(corpus, config.topic_column), unit="documents", total=count_documents(corpus))
    short = (
        _Chosen(one.document.id, len(one.document.text), one.document.text[: config.max_chars], one.value)
        for one in reading
    )
    chosen = sample(short, config.sample, seed=config.seed)
    if not chosen:
        raise BunbukuError(f"{corpus.dir} has no document", hint="give a part that has some, such as DIR#train")
    return chosen


def _rules(documents: Sequence[Judged], chosen: Sequence[_Chosen], config: BalanceConfig) -> list[Verdict]:
    purposes = tuple(genres.purpose(one.text, config.purposes) for one in documents)
    forms = tuple(genres.form(one.text) for one in documents)
    topics = tuple(one.topic for one in chosen)
    able = frozenset(one.name for one in config.purposes)
    found = [Verdict("purpose", "rules", purposes, able), Verdict("format", "rules", forms)]
    return [*found, Verdict("topic", "column", topics)] if any(topics) else found


def _classified(documents: Sequence[Judged], classifiers: Mapping[str, Artifact[Classifier]]) -> list[Verdict]:
    found: list[Verdict] = []
    for axis, artifact in sorted(classifiers.items()):
        if axis not in AXES:
            raise BunbukuError(
                f"--classifiers {axis}=… is none of {', '.join(AXES)}", hint="name what it classifies by"
            )
        linear = read_classifier(artifact)
        best = linear.probabilities([one.text for one in documents]).argmax(axis=1).tolist()
        called = tuple(linear.labels[index] for index in best)
        found.append(Verdict(axis, "classifier", called, frozenset(linear.labels)))
    return found


def _labelled(documents: Sequence[Judged], path: Path) -> list[Verdict]:
    known = read_labels(path, AXES)
    found: list[Verdict] = []
    for axis in AXES:
        labels = tuple(known.get(one.id, {}).get(axis) for one in documents)
        if any(labels):
            found.append(Verdict(axis, "labels", labels))
    if not found:
        raise BunbukuError(
            f"{path} labels not one of the {len(documents)} documents of the sample by {', '.join(AXES)}",
            hint="label the documents of annotations.parquet that this stage makes without --labels",
        )
    return found


def _write(draft: Draft, documents: Sequence[Judged], verdicts: Sequence[Verdict]) -> None:
    columns: dict[str, Sequence[str | int | None]] = {
        "id": [one.id for one in documents],
        "chars": [one.chars for one in documents],
    }
    columns |= {f"{one.axis}_{one.judge}": one.labels for one in verdicts}
    path = draft.dir / "annotations.parquet"
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path, compression="zstd")
    draft.count(path, rows=len(documents))


def _best(verdicts: Sequence[Verdict], axis: Axis) -> Verdict | None:
    """The judge to be believed most: labels, then a classifier, then rules or the column."""
    order = {"labels": 0, "classifier": 1}
    mine = [one for one in verdicts if one.axis == axis]
    return min(mine, key=lambda one: order.get(one.judge, 2), default=None)


def _pictures(found: _Found, verdicts: Sequence[Verdict]) -> dict[str, str]:
    drawn: dict[str, str] = {}
    for axis in AXES:
        groups = {
            f"by {judge}, of {sum(one.documents for one in some):,}": [
                pictures.Bar(one.label, one.share, *one.interval) for one in some
            ]
            for (mine, judge), some in found.items()
            if mine == axis
        }
        if groups:
            drawn[f"{axis}.svg"] = pictures.bars(groups, label="share of the documents, with 95 % intervals")
    purpose = _best(verdicts, "purpose")
    for axis in ("topic", "format"):
        other = _best(verdicts, cast(Axis, axis))
        if purpose and other:
            rows, columns = _names(found, purpose), _names(found, other)
            label = f"share of the documents: purpose by {purpose.judge}, {axis} by {other.judge}"
            drawn[f"purpose-{axis}.svg"] = pictures.grid(rows, columns, crossed(purpose, other), label=label)
    return drawn


def _names(found: _Found, verdict: Verdict) -> list[str]:
    return [one.label for one in found[verdict.axis, verdict.judge]]


def _sections(
    documents: Sequence[Judged],
    verdicts: Sequence[Verdict],
    found: _Found,
    agreed: Sequence[Agreement],
    config: BalanceConfig,
    drawn: Mapping[str, str],
) -> tuple[Section, ...]:
    purpose = _best(verdicts, "purpose")
    assert purpose is not None
    captions = {"purpose": "What documents are for", "topic": "What they are about", "format": "What form they have"}
    kinds = tuple(
        Section(
            title=captions[axis],
            paragraphs=_headline(found["purpose", purpose.judge], purpose.judge, len(documents))
            if axis == "purpose"
            else (),
            pictures=tuple(
                Picture(path=path, caption=f"{captions[axis]}, {len(documents):,} documents drawn at random")
                for path in drawn
                if path == f"{axis}.svg"
            ),
            tables=tuple(_table(judge, some) for (mine, judge), some in found.items() if mine == axis),
        )
        for axis in AXES
        if any(mine == axis for mine, _ in found)
    )
    grids = tuple(
        Picture(path=f"purpose-{axis}.svg", caption=f"Purpose and {axis} together")
        for axis in ("topic", "format")
        if f"purpose-{axis}.svg" in drawn
    )
    return (
        *kinds[:1],
        Section(title="Purpose by topic and format", pictures=grids),
        *kinds[1:],
        _agreement(agreed),
        Section(title="Documents of each purpose", tables=(_examples(documents, purpose, config),)),
    )


def _headline(some: Sequence[Share], judge: str, drawn: int) -> tuple[str, ...]:
    judged = sum(one.documents for one in some)
    counts = {one.label: one.documents for one in some}
    parts: list[str] = []
    for label in ASKED:
        if label not in counts:
            parts.append(f"{label} is nothing that this judge knows")
            continue
        low, high = wilson(counts[label], judged)
        parts.append(f"{label} is {counts[label] / judged:.1%} ({low:.1%} to {high:.1%})")
    whom = f"by {judge}" if judged == drawn else f"{judged:,} are judged by {judge}; of these"
    colon = ":" if judged == drawn else ""
    said = f"Of {drawn:,} documents drawn at random, {whom}{colon} {'; '.join(parts)}."
    return (said, "Intervals say how far the sample may be from the corpus, not how far the judge may be wrong.")


def _table(judge: str, some: Sequence[Share]) -> Table:
    def span(low: float, high: float) -> str:
        return f"{low:.1%} to {high:.1%}"

    rows = tuple(
        (
            one.label,
            one.documents,
            f"{one.share:.1%}",
            span(*one.interval),
            f"{one.chars:.1%}",
            span(*one.chars_interval),
        )
        for one in some
    )
    columns = ("kind", "documents", "share", "95 %", "share of characters", "95 %")
    return Table(columns=columns, rows=rows, caption=f"By {judge}, of {sum(one.documents for one in some):,} documents")


def _agreement(agreed: Sequence[Agreement]) -> Section:
    rows = tuple(
        (
            one.axis,
            " and ".join(one.judges),
            one.documents,
            f"{one.same:.1%}",
            *(None if value != value else round(value, 3) for value in (one.kappa, *one.interval)),
        )
        for one in agreed
    )
    said = (
        "Kappa is agreement beyond chance: 0 is none, 1 is complete; judges below 0.6 see different things."
        if agreed
        else "Only one judge was asked, so that nobody knows how far it is right: give --classifiers or --labels.",
    )
    columns = ("axis", "judges", "documents", "same", "kappa", "95 % low", "95 % high")
    return Section(
        title="How far the judges agree", paragraphs=said, tables=(Table(columns=columns, rows=rows),) if rows else ()
    )


def _examples(documents: Sequence[Judged], verdict: Verdict, config: BalanceConfig) -> Table:
    rows: list[tuple[str, str, str]] = []
    for label in sorted({label for label in verdict.labels if label}):
        mine = [one for one, called in zip(documents, verdict.labels, strict=True) if called == label]
        mine.sort(key=lambda one: rank(one.id, config.seed))
        rows += [(label, one.id, " ".join(one.text.split())[:140]) for one in mine[: config.shown]]
    return Table(columns=("purpose", "document", "begins"), rows=tuple(rows))
