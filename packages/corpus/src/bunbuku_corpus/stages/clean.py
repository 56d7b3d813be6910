"""Normalize documents and filter them, in one step."""

from bunbuku_contracts import Artifact, Corpus, Draft, stage
from pydantic import NonNegativeInt

from bunbuku_corpus.annotations import check_beside
from bunbuku_corpus.batches import open_shard
from bunbuku_corpus.cleaning import Clean, Verdicts
from bunbuku_corpus.engine import EngineRun
from bunbuku_corpus.passes import passed
from bunbuku_corpus.policy import Policy
from bunbuku_corpus.preparation import Preparation
from bunbuku_corpus.reports import clean_report, clean_sections, refuse_emptiness, report_metrics, write_report


class CleanConfig(Preparation, Policy):
    """What is done to texts, and which are let through."""

    samples: NonNegativeInt = 5
    """Rejected documents that the report shows of each filter."""


class CleanRun(EngineRun):
    """Circumstance of `clean`."""


_ONE_WORKER = CleanRun()


@stage("corpus.clean", revision=5, resumable=True)
def clean(draft: Draft, config: CleanConfig, corpus: Artifact[Corpus], *, run: CleanRun = _ONE_WORKER) -> Corpus:
    """Normalize every document and drop those that a filter rejects.

    Dropped documents are kept in the part `dropped`, each with its reason; `report.json` and the sections say how much
    every filter removes alone and in sequence, and what normalization changed. `preset` takes a published set of filters and
    edits: `tanuki`, `fineweb2-ja` (or `fineweb2-ja-mecab`), `swallow-v1`, `llm-jp-v1`, or our own `web`, which a config that
    names neither a preset nor filters has. The filters, by what they drop:

        too_short, too_long, too_few_japanese     number of characters, or of Japanese ones
        other_language, no_early_kana             another language; no kana at the beginning
        too_little_kana, too_little_japanese, too_little_hiragana, too_much_katakana, too_few_letters
                                                  scripts: Chinese, code, lists of names, tables
        odd_compression, mojibake                 says the same, or nothing; was decoded wrongly
        repeated_lines, repeated_paragraphs, duplicate_lines, duplicate_line_characters, duplicate_sentences,
        duplicate_sentence_characters, repeated_ngrams, recurring_ngrams, dominant_ngram, frequent_ngram,
        repeated_word_ngrams, top_word_ngram      text that says the same again
        odd_sentences, endless_sentence, too_few_kuten, ellipsis_sentences
                                                  sentences that prose does not have
        unfinished_lines, too_little_prose, short_lines, bullet_lines, ellipsis_lines, too_many_newlines
                                                  menus, lists, teasers
        too_few_words, too_many_words, odd_words, too_few_letter_words, too_many_nouns, too_few_stop_words,
        too_many_symbols                          words, as an analyzer cuts them
        listed_words, too_many_listed_words       density, or number, of adult, violence, discrimination,
                                                  advertising or boilerplate words
        suspect_url, listed_host, listed_site, other_top_level_domain
                                                  where a text was found
        too_little_variety, one_word_everywhere, stuffed_word, odd_particles, stray_particles, odd_joints, cut_off,
        exclamations, templates, echoes           word salad, search engines' pages, cries, templates
        too_few_sentences, fragments, mostly_menus
                                                  menus, lists of wares, link lists
        personal_information, too_much_personal_information
                                                  mail addresses, telephone numbers, IP addresses
        odd_value                                 a number in any column, such as `bits_per_byte`

    Each takes `languages`, to judge only documents of those. For example:

        [[filters]]
        type = "too_little_kana"
        min_ratio = 0.1
        languages = ["ja"]
    """
    for file in corpus.files():
        with open_shard(corpus.path(file)) as shard:
            check_beside(shard.schema_arrow, config.filters, corpus.path(file))
    verdicts = Verdicts(config.filters, config.samples)
    passed(draft, corpus, Clean(config, config.filters, config.samples), verdicts, run)
    report = clean_report(verdicts)
    refuse_emptiness(report)
    write_report(draft, report, clean_sections(report))
    draft.metrics |= report_metrics(report)
    draft.metrics["normalization.changed_documents"] = report.normalization.changed_documents
    draft.metrics["normalization.nfkc_would_change_documents"] = report.normalization.nfkc_would_change_documents
    return Corpus(languages=tuple(sorted(verdicts.languages)))
