"""What `dedup` found: as `report.json` for programs and as sections for readers."""

from bunbuku_contracts import Curve, Section, Table
from bunbuku_contracts.manifest import Frozen

from bunbuku_corpus.dedup_output import Tally
from bunbuku_corpus.duplicates import Found
from bunbuku_corpus.minhash import NearDuplicates
from bunbuku_corpus.reports import Amount
from bunbuku_corpus.settling import EXACT, NEAR


class DuplicateReport(Frozen):
    """A document that went, and the one that stays."""

    id: str
    of: str
    similarity: float
    text: str


class PairsReport(Frozen):
    """How near-duplicates were found."""

    candidates: int
    """Pairs of documents that shared a band, and were compared."""
    near_duplicates: int
    """Pairs of them that are near-duplicates."""
    false_candidates: int
    """Pairs of them that are not: what bands alone would have dropped."""
    crowded: int
    """Pairs from bands that so many documents shared that not all of their pairs were compared."""


class DedupReport(Frozen):
    """`report.json` of `dedup`."""

    seen: Amount
    kept: Amount
    exact_duplicates: Amount
    near_duplicates: Amount
    earlier_documents: int
    """Documents of earlier corpora that they were compared with."""
    pairs: PairsReport
    copies: dict[int, int]
    """How many documents stay that stand for so many: 1 for themselves alone."""
    samples: tuple[DuplicateReport, ...]


def dedup_report(tally: Tally, found: Found, *, earlier: int) -> DedupReport:
    """The tally as it is reported."""
    documents, characters = tally.documents, tally.characters
    kept, exact, near = (
        Amount(documents=documents[name], characters=characters[name]) for name in ("kept", EXACT, NEAR)
    )
    return DedupReport(
        seen=Amount(documents=documents.total(), characters=characters.total()),
        kept=kept,
        exact_duplicates=exact,
        near_duplicates=near,
        earlier_documents=earlier,
        pairs=PairsReport(
            candidates=found.candidates,
            near_duplicates=found.near,
            false_candidates=found.candidates - found.near,
            crowded=found.crowded,
        ),
        copies=dict(sorted(tally.copies.items())),
        samples=tuple(
            DuplicateReport(id=one.id, of=one.of, similarity=one.similarity, text=one.text) for one in tally.samples
        ),
    )


def dedup_sections(report: DedupReport, near: NearDuplicates | None) -> tuple[Section, ...]:
    """The report for readers."""
    seen, kept = report.seen, report.kept
    amounts = (("exact duplicates", report.exact_duplicates), ("near-duplicates", report.near_duplicates))
    documents = Section(
        title="Duplicates",
        paragraphs=(
            f"{kept.documents:,} of {seen.documents:,} documents were kept, {kept.characters:,} of "
            f"{seen.characters:,} characters.",
        ),
        tables=(
            Table(
                columns=("", "documents", "characters"),
                rows=tuple((name, one.documents, one.characters) for name, one in amounts),
            ),
            Table(
                columns=("documents it stands for", "how many such documents"),
                rows=tuple(sorted(report.copies.items())),
            ),
            *_samples(report),
        ),
    )
    return (documents, _how_found(report, near)) if near else (documents,)


def _samples(report: DedupReport) -> tuple[Table, ...]:
    rows = tuple((one.id, one.of, round(one.similarity, 3), one.text) for one in report.samples)
    return (Table(columns=("id", "stays", "similarity", "begins"), rows=rows, caption="Near-duplicates"),) * bool(rows)


def _how_found(report: DedupReport, near: NearDuplicates) -> Section:
    pairs = report.pairs
    false = pairs.false_candidates / pairs.candidates if pairs.candidates else 0.0
    text = (
        f"{pairs.candidates:,} pairs of documents shared one of {near.bands} bands of {near.rows} rows and were compared; "
        f"{pairs.near_duplicates:,} have a similarity of {near.threshold} or more. The other {false:.1%} would have been "
        f"dropped for an accident of hashing. Of pairs exactly at the threshold {near.recall:.2%} are found."
    )
    crowded = f"{pairs.crowded:,} pairs come from bands shared by more than {near.max_bucket} documents, where not all were compared."
    curve = Curve(
        name=f"pairs that are compared, {near.bands} bands of {near.rows} rows",
        x_label="Jaccard similarity",
        y_label="share",
        points=tuple((n / 50, near.nominated(n / 50)) for n in range(51)),
    )
    return Section(
        title="How near-duplicates were found",
        paragraphs=(text, crowded) if pairs.crowded else (text,),
        curves=(curve,),
    )
