"""Measuring one tokenizer."""

import logging

from bunbuku_contracts import Artifact, Config, Corpus, Draft, Report, Tokenizer, stage, write_sections
from pydantic import NonNegativeInt

from bunbuku_tokenizer.documents import count_documents, read_documents
from bunbuku_tokenizer.encoder import Encoder
from bunbuku_tokenizer.measurement import Measured, measure_documents, sections

_logger = logging.getLogger(__name__)


class MeasureConfig(Config):
    """What to show besides the numbers."""

    examples: NonNegativeInt = 3
    """Documents of each language whose beginnings are shown cut into tokens."""


@stage("tokenizer.measure")
def measure(draft: Draft, config: MeasureConfig, tokenizer: Artifact[Tokenizer], corpus: Artifact[Corpus]) -> Report:
    """Measure a tokenizer on every document of a corpus: compression, bytes, losses, differences between its two forms."""
    encoder = Encoder.open(tokenizer.dir)
    documents = draft.track(read_documents(corpus), unit="documents", total=count_documents(corpus))
    found = measure_documents(encoder, documents, examples=config.examples)
    for name, counts in {**found.languages, "overall": found.overall}.items():
        draft.metrics |= counts.metrics(name)
    draft.metrics["unused_pieces"] = float((found.used == 0).sum())
    write_sections(draft, sections(found, [encoder.sentencepiece.id_to_piece(id) for id in range(len(found.used))]))
    _tell(found)
    return Report(title="Tokenizer")


def _tell(found: Measured) -> None:
    for name, counts in {**found.languages, "overall": found.overall}.items():
        _logger.info(
            "%s: %.3f characters and %.3f bytes a token, %.2f %% bytes; %d of %d documents do not come back, %d differ",
            name,
            counts.chars_per_token,
            counts.bytes_per_token,
            100 * counts.byte_share,
            counts.not_back,
            counts.documents,
            counts.differing,
        )
