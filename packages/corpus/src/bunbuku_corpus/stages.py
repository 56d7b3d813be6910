"""The stages: read, run the pure core, write. Nothing is decided here."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bunbuku_contracts import Artifact, BunbukuError, Config, Corpus, Draft, RunSettings, stage
from pydantic import NonNegativeInt, PositiveInt, model_validator

from bunbuku_corpus.cleaning import Count, Judge, Samples, Verdicts, judgements
from bunbuku_corpus.document import Document, Placed, ShardWriter, count_documents, read_documents
from bunbuku_corpus.duplicates import Decision, decide, index
from bunbuku_corpus.filters import AnyFilter, OtherLanguage, RepeatedLines, RepeatedNgrams, TooLittleKana, TooShort
from bunbuku_corpus.minhash import NearDuplicates
from bunbuku_corpus.normalization import Normalization
from bunbuku_corpus.partition import PARTS, Partition
from bunbuku_corpus.reports import (
    DedupReport,
    DuplicateReport,
    amount,
    clean_report,
    clean_sections,
    dedup_sections,
    write_report,
)
from bunbuku_corpus.rows import Names
from bunbuku_corpus.sources import AnySource, JsonlSource


class GatherConfig(Config):
    """Where documents come from."""

    sources: tuple[AnySource, ...] = (JsonlSource(),)
    """Read one after another."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


class CleanConfig(Config):
    """What is done to texts, and which are let through."""

    normalization: Normalization = Normalization()
    """Form (NFC), newlines and control characters; what is done is counted in the report."""
    identify_unknown: bool = True
    """Identify the language of documents whose source does not state it (`und`)."""
    filters: tuple[AnyFilter, ...] = (
        TooShort(),
        OtherLanguage(),
        TooLittleKana(languages=("ja",)),
        RepeatedLines(),
        RepeatedNgrams(),
    )
    """All judge every document; the first in this order that rejects it gives the reason."""
    samples: NonNegativeInt = 5
    """Rejected documents that the report shows of each filter."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""

    @model_validator(mode="after")
    def _names_differ(self) -> "CleanConfig":
        names = Counter(one.name for one in self.filters)
        twice = [name for name, times in names.items() if times > 1]
        if twice:
            raise ValueError(f"the filter {twice[0]!r} is there twice: give one of them other `languages`")
        return self


class CleanRun(RunSettings):
    """Circumstance of `clean`."""

    workers: PositiveInt = 1
    """Processes that judge documents. The result does not depend on it."""


_ONE_WORKER = CleanRun()


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


class SplitConfig(Partition):
    """How documents are divided into train, validation and test."""

    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


@stage("corpus.gather")
def gather(draft: Draft, config: GatherConfig, source: Path | None) -> Corpus:
    """Bring text from outside in as a corpus, every document with id, text, source, url, licence and language.

    A source in the config is of type `jsonl` (plain, .gz or .zst), `parquet`, `datasets` (of the Hugging Face hub, or
    local) or `tatoeba` (sentences with translations, joined into short documents). `--source` is the folder or file
    that they read; a data set of the hub needs none. For example:

        [[sources]]
        type = "jsonl"
        files = "web/*.jsonl.zst"
        licence = "CC0-1.0"
        fields = { text = "content", url = "meta.url" }
    """
    names = Names()
    licences: set[str] = set()
    languages: set[str] = set()
    counts: Counter[str] = Counter()
    with (
        ShardWriter(draft, rows_per_shard=config.rows_per_shard) as data,
        ShardWriter(draft, "parallel", rows_per_shard=config.rows_per_shard) as parallel,
    ):
        for found in draft.track(_placed(config, source, draft.scratch), unit="documents"):
            document = found.document
            if not names.claim(document.id):
                hint = "ids must be unique: name another field with `fields.id`, or gather a file once"
                raise BunbukuError(f"{found.place}: the id {document.id!r} was there before", hint=hint)
            licences.add(document.licence)
            if found.part == "parallel":
                parallel.add(document)
                continue
            data.add(document)
            languages.add(document.language)
            counts[f"documents.{document.language}"] += 1
            counts[f"characters.{document.language}"] += len(document.text)
    if not data.documents:
        raise BunbukuError(
            f"there is not one document in {source or 'the sources'}", hint="correct --source or `files`"
        )
    draft.metrics |= {name: float(count) for name, count in sorted(counts.items())}
    draft.metrics |= {"documents": data.documents, "characters": data.chars, "pairs": parallel.documents}
    return Corpus(languages=tuple(sorted(languages)), licences=tuple(sorted(licences)))


def _placed(config: GatherConfig, source: Path | None, scratch: Path) -> Iterator[Placed]:
    for one in config.sources:
        yield from one.read(source, scratch)


@stage("corpus.clean")
def clean(draft: Draft, config: CleanConfig, corpus: Artifact[Corpus], *, run: CleanRun = _ONE_WORKER) -> Corpus:
    """Normalize every document and drop those that a filter rejects.

    Dropped documents are kept in the part `dropped`, each with its reason; `report.json` and the sections say how much
    every filter removes alone and in sequence, and what normalization changed. The filters, by what they drop:

        too_short, too_long          number of characters (min_chars, max_chars)
        other_language               a text in none of the `expected` languages
        too_little_kana              Chinese, code, romanized Japanese (min_ratio)
        too_few_letters              tables, rulers, digits (min_ratio)
        repeated_lines, repeated_paragraphs, repeated_ngrams, dominant_ngram
                                     text that says the same again (max_ratio, n)

    Each takes `languages`, to judge only documents of those. For example:

        [[filters]]
        type = "too_little_kana"
        min_ratio = 0.1
        languages = ["ja"]
    """
    verdicts = Verdicts(config.filters, config.samples)
    judge = Judge(config.normalization, config.filters, config.identify_unknown)
    languages: set[str] = set()
    documents = draft.track(read_documents(corpus), unit="documents", total=count_documents(corpus))
    with (
        ShardWriter(draft, rows_per_shard=config.rows_per_shard) as kept,
        ShardWriter(draft, "dropped", rows_per_shard=config.rows_per_shard, extra=("reason",)) as dropped,
    ):
        for judgement in judgements(documents, judge, workers=run.workers):
            verdicts.changes.add(judgement.changes)
            for judged in judgement.judged:
                reason = verdicts.add(judged)
                if reason is None:
                    kept.add(judged.document)
                    languages.add(judged.document.language)
                else:
                    dropped.add(judged.document, reason=reason)
    report = clean_report(verdicts)
    if not kept.documents:
        worst = max(report.filters, key=lambda one: one.in_sequence.documents)
        raise BunbukuError(
            f"every one of {report.seen.documents} documents was dropped, {worst.in_sequence.documents} by {worst.name!r}",
            hint="loosen that filter, or say with its `languages` which documents it is for",
        )
    write_report(draft, report, clean_sections(report))
    for one in report.filters:
        for how, what in (("alone", one.alone), ("in_sequence", one.in_sequence)):
            draft.metrics[f"{how}.{one.name}.documents"] = what.documents
            draft.metrics[f"{how}.{one.name}.characters"] = what.characters
    for name, what in (("seen", report.seen), ("kept", report.kept), ("dropped", report.dropped)):
        draft.metrics |= {f"{name}.documents": what.documents, f"{name}.characters": what.characters}
    draft.metrics["normalization.changed_documents"] = report.normalization.changed_documents
    draft.metrics["normalization.nfkc_would_change_documents"] = report.normalization.nfkc_would_change_documents
    return Corpus(languages=tuple(sorted(languages)))


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


@stage("corpus.split")
def split(draft: Draft, config: SplitConfig, corpus: Artifact[Corpus]) -> Corpus:
    """Divide a corpus into the parts train, validation and test by a hash of each document's id.

    A document stays in its part whatever is added to the corpus or taken from it. Later stages read a part by its
    name: `--corpus DIR#train`.
    """
    writers = {part: ShardWriter(draft, part, rows_per_shard=config.rows_per_shard) for part in PARTS}
    languages: set[str] = set()
    document: Document
    for document in draft.track(read_documents(corpus), unit="documents", total=count_documents(corpus)):
        writers[config.part_of(document.id)].add(document)
        languages.add(document.language)
    shares = {"train": 1 - config.validation - config.test, "validation": config.validation, "test": config.test}
    total = sum(writer.documents for writer in writers.values())
    for part, writer in writers.items():
        writer.close()
        if shares[part] and not writer.documents:
            hint = f"raise `{part}`, or change `salt`" if part != "train" else "lower `validation` and `test`"
            raise BunbukuError(
                f"not one of {total} documents falls into {part!r} at a share of {shares[part]:g}", hint=hint
            )
        draft.metrics |= {f"{part}.documents": writer.documents, f"{part}.characters": writer.chars}
    return Corpus(languages=tuple(sorted(languages)))
