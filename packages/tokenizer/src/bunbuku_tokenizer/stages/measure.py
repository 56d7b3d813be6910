"""Measuring one tokenizer."""

import logging
from collections.abc import Mapping

from bunbuku_contracts import Artifact, Config, Corpus, Draft, Report, Tokenizer, stage, write_sections
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_tokenizer import page
from bunbuku_tokenizer.comparison import HISTOGRAM, Comparison, aligned, compression, sections
from bunbuku_tokenizer.documents import count_documents, read_documents
from bunbuku_tokenizer.measurement import Form, Measured, measure_documents
from bunbuku_tokenizer.morphemes import Dictionary
from bunbuku_tokenizer.reader import open_forms
from bunbuku_tokenizer.roundtrip import random_texts, trips

PAGE = "index.html"

_logger = logging.getLogger(__name__)


class MeasureConfig(Config):
    """What to count besides tokens."""

    dictionary: Dictionary = "ipadic"
    """MeCab's, for the morphemes of documents in Japanese."""
    frequent_morphemes: PositiveInt = 1500
    """Of how many of the text's most frequent morphemes it is asked whether they are single pieces."""
    random_texts: NonNegativeInt = 1000
    """Texts of random Unicode that have to come back."""
    seed: NonNegativeInt = 0
    """Which random texts."""
    examples: NonNegativeInt = 2
    """Documents of each language whose beginnings are shown cut into tokens."""


@stage("tokenizer.measure", revision=2)
def measure(draft: Draft, config: MeasureConfig, tokenizer: Artifact[Tokenizer], corpus: Artifact[Corpus]) -> Report:
    """Measure a tokenizer on every document of a corpus, by language and by source.

    Counted are characters and bytes a token, tokens that are bytes of a character, documents and random texts that do not
    come back, documents to which the two forms give different ids, how tokens lie on MeCab's morphemes, which frequent
    morphemes are single pieces, pieces that are never used, and how fast either form encodes and decodes.
    """
    first, *others = map(Form, open_forms(tokenizer.dir))
    measured = Measured(first, twin=others[0] if others else None)
    found = look(draft, config, corpus, {"tokenizer": measured})
    draft.metrics |= found.metrics("tokenizer")
    for twin in others:
        draft.metrics |= twin.metrics("speed.hugging_face")
    for name, counts in {**measured.languages, "overall": measured.overall}.items():
        draft.metrics[f"{name}.id_differences"] = float(counts.differing)
    publish(draft, "Tokenizer", found)
    if others:
        overall = measured.overall
        _logger.info("the two forms give different ids to %d of %d documents", overall.differing, overall.documents)
    return Report(title="Tokenizer", page=PAGE)


def look(draft: Draft, config: MeasureConfig, corpus: Artifact[Corpus], measured: Mapping[str, Measured]) -> Comparison:
    """Read the corpus once, and count."""
    text = measure_documents(
        draft.track(read_documents(corpus), unit="documents", total=count_documents(corpus)),
        measured,
        dictionary=config.dictionary,
        frequent=config.frequent_morphemes,
        examples=config.examples,
    )
    if text.without_morphemes:
        _logger.warning("%s", text.without_morphemes)
    random = {
        name: trips(
            [form.reader for form in (each.form, each.twin) if form], random_texts(config.random_texts, config.seed)
        )
        for name, each in measured.items()
    }
    return Comparison(measured, text, random)


def publish(draft: Draft, title: str, found: Comparison) -> None:
    """Write sections, pictures and the page, and tell what matters most."""
    drawn = {path: svg for path, (_, svg) in found.pictures().items()} | {HISTOGRAM: found.histogram()}
    for path, svg in drawn.items():
        (draft.dir / path).write_text(svg, encoding="utf-8")
    shown = tuple(sections(found))
    write_sections(draft, shown)
    (draft.dir / PAGE).write_text(page.html(title, shown, drawn), encoding="utf-8")
    for table in compression(found):
        _logger.info("%s", aligned(table))
