"""Normalize documents and filter them, in one step."""

from collections import Counter

from bunbuku_contracts import Artifact, BunbukuError, Config, Corpus, Draft, RunSettings, stage
from pydantic import NonNegativeInt, PositiveInt, model_validator

from bunbuku_corpus.cleaning import Judge, Verdicts, judgements
from bunbuku_corpus.document import ShardWriter, count_documents, read_documents
from bunbuku_corpus.filters import AnyFilter, OtherLanguage, RepeatedLines, RepeatedNgrams, TooLittleKana, TooShort
from bunbuku_corpus.normalization import Normalization
from bunbuku_corpus.reports import clean_report, clean_sections, write_report


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
