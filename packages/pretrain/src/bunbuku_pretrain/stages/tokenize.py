"""Documents to Megatron's token files."""

import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from bunbuku_contracts import Artifact, ArtifactError, Config, Corpus, Draft, RunSettings, Tokenizer, Tokens, stage
from pydantic import PositiveInt

from bunbuku_pretrain.encoding import Encoder, encode_all, fastest, read_texts
from bunbuku_pretrain.indexed import IndexedWriter, dtype_for

SPLIT = ("train", "validation", "test")
_COMPARED_DOCUMENTS = 500
"""How many documents of a part decide whether SentencePiece gives the same ids."""


class TokenizeConfig(Config):
    """What a document becomes."""

    begin_documents: bool = True
    """Puts the begin-of-sequence token before every document, as chat templates and perplexities do."""
    parts: tuple[str, ...] | None = None
    """Parts of the corpus to take. If left out: train, validation and test where they are, else `data` as train."""


class TokenizeRun(RunSettings):
    """How the work is spread."""

    workers: PositiveInt = 1
    """Processes that encode. With one, this process does, with as many threads as the tokenizer takes."""


HERE = TokenizeRun()

_logger = logging.getLogger(__name__)


@stage("pretrain.tokenize", revision=2)
def tokenize(
    draft: Draft,
    config: TokenizeConfig,
    corpus: Artifact[Corpus],
    tokenizer: Artifact[Tokenizer],
    *,
    run: TokenizeRun = HERE,
) -> Tokens:
    """Write documents as token ids, in the files that Megatron trains from.

    Every part of the corpus becomes a `.bin` and an `.idx`; an end-of-document token follows each document. The same
    corpus and tokenizer give the same bytes, whatever the number of workers. What a document says is text: `</s>` in it
    is spelt, and ends nothing.
    """
    spec = tokenizer.spec
    parts = _parts(corpus, config)
    encoder = _encoder(tokenizer, config, _sample(corpus, parts))
    characters, size, clock = 0, 0, time.perf_counter()
    for source, part in parts.items():
        files = corpus.files(source)
        texts = read_texts(corpus.path(file) for file in files)
        known = [file.rows for file in files if file.rows is not None]
        total = sum(known) if len(known) == len(files) else None
        tracked = draft.track(texts, unit="documents", total=total, label=f"tokenize {part}")
        writer = IndexedWriter(draft.dir / part, dtype_for(spec.vocab_size))
        with writer:
            for encoded in encode_all(tracked, encoder, workers=run.workers):
                writer.add(encoded.tokens, encoded.lengths)
                characters += encoded.characters
                size += encoded.bytes
        _insist(writer, corpus, source)
        draft.count(writer.bin, rows=writer.documents, tokens=writer.tokens, part=part)
        draft.count(writer.idx, part=part)
        draft.metrics |= {f"{part}.documents": float(writer.documents), f"{part}.tokens": float(writer.tokens)}
    seconds = time.perf_counter() - clock
    draft.metrics |= {
        "characters_per_second": characters / seconds,
        "megabytes_per_second": size / 1e6 / seconds,
        "by_sentencepiece": float(encoder.model is not None),
    }
    _logger.info("%.1f MB of text at %.1f MB/s", size / 1e6, size / 1e6 / seconds)
    return Tokens(
        tokenizer=tokenizer.content,
        vocab_size=spec.vocab_size,
        eod_id=spec.eos_id,
        dtype=dtype_for(spec.vocab_size),
    )


def _encoder(tokenizer: Artifact[Tokenizer], config: TokenizeConfig, sample: Iterable[str]) -> Encoder:
    spec = tokenizer.spec
    plain = Encoder(
        tokenizer.dir / "tokenizer.json",
        before=[spec.bos_id] if config.begin_documents else [],
        after=[spec.eos_id],
        never={spec.bos_id, spec.eos_id, spec.pad_id} - {spec.unk_id},
    )
    return fastest(plain, tokenizer.dir / "tokenizer.model", sample)


def _sample(corpus: Artifact[Corpus], parts: Iterable[str]) -> Iterator[str]:
    """The first documents of every part."""
    for part in parts:
        yield from islice(read_texts(map(corpus.path, corpus.files(part))), _COMPARED_DOCUMENTS)


def _parts(corpus: Artifact[Corpus], config: TokenizeConfig) -> dict[str, str]:
    """Part of the corpus to part of the tokens."""
    if corpus.part is not None:
        return {corpus.part: "train" if corpus.part == "data" else corpus.part}
    if config.parts is not None:
        return {part: part for part in config.parts}
    there = corpus.manifest.parts
    split = {part: part for part in SPLIT if part in there}
    return split or {"data": "train"}


def _insist(writer: IndexedWriter, corpus: Artifact[Corpus], part: str) -> None:
    if not writer.documents:
        raise ArtifactError(
            f"part {part!r} of {corpus.dir} has no documents", hint="give a corpus that has some, or leave the part out"
        )
