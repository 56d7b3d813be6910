"""Drop documents that repeat others."""

from collections import Counter

from bunbuku_contracts import Artifact, Config, Corpus, Draft, stage
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_corpus.cleaning import Count, Samples
from bunbuku_corpus.document import ShardWriter, count_documents, read_documents
from bunbuku_corpus.duplicates import Decision, decide, index
from bunbuku_corpus.minhash import NearDuplicates
from bunbuku_corpus.reports import DedupReport, DuplicateReport, amount, dedup_sections, write_report


class DedupConfig(Config):
    """Which documents are duplicates."""

    near: NearDuplicates = NearDuplicates()
    """Size of n-grams, threshold, and how thoroughly near-duplicates are looked for."""
    exact_only: bool = False
    """Drop equal texts only; `near` is of no account then."""
    samples: NonNegativeInt = 10
    """Near-duplicates that the report shows."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


@stage("corpus.dedup")
def dedup(draft: Draft, config: DedupConfig, corpus: Artifact[Corpus]) -> Corpus:
    """Drop documents that repeat an earlier one, exactly or nearly: the first of them stays.

    Texts are compared without white space and in NFKC. Near-duplicates are nominated by MinHash and decided by the
    Jaccard similarity of their character n-grams. What goes is kept in the part `dropped` with its reason,
    `duplicate_of` (the id of the one that stays) and `similarity`; `report.json` and the sections count it all.
    """
    near = None if config.exact_only else config.near
    total = count_documents(corpus)
    found = index(draft.track(read_documents(corpus), unit="documents", total=total, label="corpus.dedup: index"), near)
    tally = _Duplicates(config.samples)
    languages: set[str] = set()
    extra = ("reason", "duplicate_of", "similarity")
    with (
        ShardWriter(draft, rows_per_shard=config.rows_per_shard) as kept,
        ShardWriter(draft, "dropped", rows_per_shard=config.rows_per_shard, extra=extra) as dropped,
    ):
        for decision in decide(draft.track(read_documents(corpus), unit="documents", total=total), found, near):
            tally.add(decision)
            document, duplicate = decision
            if duplicate is None:
                kept.add(document)
                languages.add(document.language)
            else:
                similarity = f"{duplicate.similarity:.4f}"
                dropped.add(document, reason=duplicate.reason, duplicate_of=duplicate.of, similarity=similarity)
    report = tally.report(nominated=int(found.nominated.sum()))
    write_report(draft, report, dedup_sections(report))
    for name in ("seen", "kept", "exact_duplicates", "near_duplicates"):
        what = getattr(report, name)
        draft.metrics |= {f"{name}.documents": what.documents, f"{name}.characters": what.characters}
    draft.metrics["nominated.documents"] = report.nominated_documents
    return Corpus(languages=tuple(sorted(languages)))


class _Duplicates:
    """A tally of decisions."""

    def __init__(self, samples: int) -> None:
        self._counts = {name: Count() for name in ("seen", "kept", "exact_duplicate", "near_duplicate")}
        self._copies: Counter[str] = Counter()
        self._samples = Samples(samples)
        self._shown: dict[str, tuple[str, float]] = {}

    def add(self, decision: Decision) -> None:
        document, duplicate = decision
        self._counts["seen"].add(document)
        self._counts[duplicate.reason if duplicate else "kept"].add(document)
        if duplicate is None:
            return
        self._copies[duplicate.of] += 1
        if duplicate.reason == "near_duplicate":
            self._samples.add(document)
            self._shown[document.id] = duplicate.of, duplicate.similarity

    def report(self, *, nominated: int) -> DedupReport:
        sizes = Counter(copies + 1 for copies in self._copies.values())
        if alone := self._counts["kept"].documents - len(self._copies):
            sizes[1] = alone
        return DedupReport(
            seen=amount(self._counts["seen"]),
            kept=amount(self._counts["kept"]),
            exact_duplicates=amount(self._counts["exact_duplicate"]),
            near_duplicates=amount(self._counts["near_duplicate"]),
            nominated_documents=nominated,
            copies=dict(sorted(sizes.items())),
            samples=tuple(
                DuplicateReport(id=one.id, of=self._shown[one.id][0], similarity=self._shown[one.id][1], text=one.text)
                for one in self._samples
            ),
        )
