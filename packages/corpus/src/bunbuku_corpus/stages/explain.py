"""Show what a policy does to a measured corpus."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft, Picture, Report, Section, Table, page, stage
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_corpus import pictures
from bunbuku_corpus.annotations import COLUMN, check, columns_beside
from bunbuku_corpus.arrow import compute
from bunbuku_corpus.batches import open_shard, read_batches
from bunbuku_corpus.document import count_documents
from bunbuku_corpus.filters import Ratio, TooShort
from bunbuku_corpus.funnel import Histogram, Step, funnel, histograms, rounded
from bunbuku_corpus.policy import Policy
from bunbuku_corpus.policy_tally import FilterTally, PolicyTally, metrics_of

TITLE = "What each filter does"


class ExplainConfig(Policy):
    """The policy that is explained."""

    warn_share: Ratio = 0.2
    """Warn of a filter that drops more than this of the documents, or of those that reach it."""
    samples: NonNegativeInt = 5
    """Documents shown of each reason, and of those that are kept."""
    sample_chars: PositiveInt = 200
    """How much of a document is shown."""


@stage("corpus.explain", revision=2)
def explain(draft: Draft, config: ExplainConfig, corpus: Artifact[Corpus]) -> Report:
    """Show which filter drops what, from what `annotate` measured: a page, and the same numbers for programs.

    The page has the funnel in documents and characters, every filter alone and in sequence, how filters overlap, the
    distribution of each measure with its thresholds, a table of what other thresholds would keep, samples of what is kept
    and of what each filter rejects, and warnings of filters that drop more than a stated share. Nothing is dropped: it
    takes the policies that `decide` takes, as often as you like.
    """
    for file in corpus.files():
        with open_shard(corpus.path(file)) as shard:
            check(shard.schema_arrow, (*config.filters, TooShort()), corpus.path(file))
    tally = PolicyTally(config.filters, config.samples)
    columns = ("id", "language", COLUMN, *columns_beside(config.filters))
    batches = read_batches(corpus, columns, needed=columns)
    for _ in draft.track(_counted(batches, tally), unit="documents", total=count_documents(corpus)):
        pass
    if not tally.documents:
        raise BunbukuError(f"{corpus.dir} has no document", hint="give a part that has some, such as DIR#dropped")
    texts = _texts(corpus, tally, config.sample_chars)
    warnings = tally.warnings(config.warn_share)
    draft.metrics |= {**metrics_of(tally), "warnings": len(warnings)}
    drawn = _pictures(tally, config.warn_share)
    sections = _sections(tally, warnings, texts, drawn)
    return Report(title=TITLE, page=page.publish(draft, TITLE, sections, drawn))


def _counted(batches: Iterator[pa.RecordBatch], tally: PolicyTally) -> Iterator[None]:
    for batch in batches:
        tally.add(batch)
        yield from (None for _ in range(batch.num_rows))


def _texts(corpus: Artifact[Corpus], tally: PolicyTally, chars: int) -> Mapping[str, str]:
    """Beginnings of the documents that are shown, by id."""
    wanted = pa.array(
        [id for one in (tally.kept, *(each.dropped for each in tally.filters)) for id in one.ids], pa.string()
    )
    found: dict[str, str] = {}
    for batch in read_batches(corpus, ("id", "text")):
        some = batch.filter(compute.is_in(batch.column("id"), value_set=wanted))
        texts = compute.utf8_slice_codeunits(some.column("text"), 0, chars)
        found.update(zip(some.column("id").to_pylist(), texts.to_pylist(), strict=True))
    return found


def _pictures(tally: PolicyTally, warn_share: float) -> dict[str, str]:
    drawn = {"funnel.svg": funnel(list(_steps(tally, warn_share)))}
    busy = [index for index, one in enumerate(tally.filters) if one.alone]
    if busy:
        rows = {index: f"{place} {tally.filters[index].judge.name}" for place, index in enumerate(busy, 1)}
        columns = {index: str(place) for place, index in enumerate(busy, 1)}
        shares = {
            (rows[row], columns[column]): int(tally.together[row, column]) / tally.filters[row].alone
            for row in busy
            for column in busy
            if row != column
        }
        label = "of what the row rejects, what the column with that number rejects as well"
        drawn["overlap.svg"] = pictures.grid(list(rows.values()), list(columns.values()), shares, label=label)
    panels = [
        Histogram(one.judge.name, one.edges, one.bins, one.judge.bounds, one.alone / tally.documents)
        for one in tally.filters
        if not one.words
    ]
    if panels:
        drawn["histograms.svg"] = histograms(panels)
    return drawn


def _steps(tally: PolicyTally, warn_share: float) -> Iterator[Step]:
    documents, characters = tally.documents, tally.characters
    for one in tally.filters:
        before = documents
        documents -= one.in_sequence
        characters -= one.in_sequence_chars
        warned = one.alone > warn_share * tally.documents or one.in_sequence > warn_share * max(one.reached, 1)
        whole = max(tally.characters, 1)
        yield Step(one.judge.name, before / tally.documents, documents / tally.documents, characters / whole, warned)


def _sections(
    tally: PolicyTally, warnings: Sequence[str], texts: Mapping[str, str], drawn: Mapping[str, str]
) -> Iterator[Section]:
    kept, seen = tally.kept_documents, tally.documents
    share = tally.kept_characters / max(tally.characters, 1)
    yield Section(
        title="What is kept",
        paragraphs=(
            *(f"Warning: {warning}" for warning in warnings),
            f"{kept:,} of {seen:,} documents ({kept / seen:.1%}) and {tally.kept_characters:,} of {tally.characters:,} "
            f"characters ({share:.1%}) are kept.",
        ),
        pictures=(Picture(path="funnel.svg", caption="Filters in their order; bold red: more than the stated share"),),
    )
    yield Section(title="Every filter", tables=(_filters_table(tally),))
    if "overlap.svg" in drawn:
        caption = "An empty row beside full ones: this filter finds what no other does"
        yield Section(title="How filters overlap", pictures=(Picture(path="overlap.svg", caption=caption),))
    if "histograms.svg" in drawn:
        caption = (
            "Documents by what each filter measures; heights are square roots, red is outside, dashed are thresholds"
        )
        yield Section(title="Where the thresholds lie", pictures=(Picture(path="histograms.svg", caption=caption),))
    words = tuple(one for one in tally.filters if one.words)
    yield Section(
        title="What other thresholds would keep",
        paragraphs=("One threshold is moved, all else stays. The present one is marked.",),
        tables=(*(_moves_table(one, tally) for one in tally.filters if one.moved), *map(_words_table, words)),
    )
    yield Section(title="Samples", tables=tuple(_sample_tables(tally, texts)))


def _filters_table(tally: PolicyTally) -> Table:
    columns = (
        "filter",
        "thresholds",
        "alone",
        "share",
        "characters",
        "in sequence",
        "share of what came",
        "only this one",
    )
    rows = tuple(
        (
            one.judge.name,
            _thresholds(one),
            one.alone,
            f"{one.alone / tally.documents:.2%}",
            one.alone_chars,
            one.in_sequence,
            f"{one.in_sequence / max(one.reached, 1):.2%}",
            one.only,
        )
        for one in tally.filters
    )
    return Table(
        columns=columns,
        rows=rows,
        caption="Documents: rejected by it, rejected by it first, rejected by it and no other",
    )


def _thresholds(one: FilterTally) -> str:
    low, high = one.judge.bounds
    return ", ".join(f"{name} {rounded(value)}" for name, value in (("min", low), ("max", high)) if value is not None)


def _moves_table(one: FilterTally, tally: PolicyTally) -> Table:
    rows = tuple(
        (
            f"{moved.bound} {rounded(moved.value)}{' ◀ present' if moved.present else ''}",
            moved.alone,
            moved.kept,
            f"{moved.kept / tally.documents:.2%}",
            f"{moved.kept - tally.kept_documents:+,}",
        )
        for moved in one.what_if(tally.documents)
    )
    return Table(
        columns=("threshold", "it rejects", "kept by all", "share", "difference"), rows=rows, caption=one.judge.name
    )


def _words_table(one: FilterTally) -> Table:
    most = sorted(one.words.items(), key=lambda item: (-item[1][0], item[0]))[:20]
    rows = tuple((value, count, rejected) for value, (count, rejected) in most)
    return Table(columns=("value", "documents", "rejected"), rows=rows, caption=one.judge.name)


def _sample_tables(tally: PolicyTally, texts: Mapping[str, str]) -> Iterator[Table]:
    named = [("kept", tally.kept), *((f"rejected by {one.judge.name}", one.dropped) for one in tally.filters)]
    for name, sampled in named:
        if sampled.ids:
            rows = tuple((id, texts.get(id, "").replace("\n", " ⏎ ")) for id in sampled.ids)
            yield Table(columns=("id", "begins"), rows=rows, caption=name)
