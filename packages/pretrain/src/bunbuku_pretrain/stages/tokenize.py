"""Documents to Megatron's token files."""

import logging
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from bunbuku_contracts import (
    Artifact,
    ArtifactError,
    Config,
    Corpus,
    Draft,
    File,
    RunSettings,
    Tokenizer,
    Tokens,
    stage,
)
from pyarrow.parquet import read_schema, read_table
from pydantic import PositiveInt

from bunbuku_pretrain.encoding import Encoder, encode_all, fastest, read_texts
from bunbuku_pretrain.indexed import IndexedWriter, dtype_for

SPLIT = ("train", "validation", "test")
MIXTURE = "mixture"
"""The part in which `bunbuku-corpus mix` says how its other parts are blended."""
_COMPARED_DOCUMENTS = 500
"""How many documents of a part decide whether SentencePiece gives the same ids."""


class TokenizeConfig(Config):
    """What a document becomes."""

    begin_documents: bool = True
    """Puts the begin-of-sequence token before every document, as chat templates and perplexities do."""
    parts: tuple[str, ...] | None = None
    """Parts of the corpus to take. If left out: of a mixture all, of any other train, validation and test where they
    are, else `data` as train."""
    validation_column: str | None = None
    """A column of the corpus, such as `domain`: validation is written as a part for each of its values, `validation-wiki`
    and so on, to be measured one by one."""


class TokenizeRun(RunSettings):
    """How the work is spread."""

    workers: PositiveInt = 1
    """Processes that encode. With one, this process does, with as many threads as the tokenizer takes."""


HERE = TokenizeRun()

_logger = logging.getLogger(__name__)


@stage("pretrain.tokenize", revision=3)
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
    sources = _sources(corpus, config)
    encoder = _encoder(tokenizer, config, _sample(corpus, {source.part for source in sources.values()}))
    characters, size, clock = 0, 0, time.perf_counter()
    for part, source in sources.items():
        texts, total = source.texts(corpus), source.documents(corpus)
        part_size = 0
        tracked = draft.track(texts, unit="documents", total=total, label=f"tokenize {part}")
        writer = IndexedWriter(draft.dir / part, dtype_for(spec.vocab_size))
        with writer:
            for encoded in encode_all(tracked, encoder, workers=run.workers):
                writer.add(encoded.tokens, encoded.lengths)
                characters += encoded.characters
                part_size += encoded.bytes
        size += part_size
        _insist(writer, corpus, source.part)
        draft.count(writer.bin, rows=writer.documents, tokens=writer.tokens, part=part)
        draft.count(writer.idx, part=part)
        draft.metrics |= {f"{part}.documents": float(writer.documents), f"{part}.tokens": float(writer.tokens)}
        draft.metrics[f"{part}.bytes"] = float(part_size)
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
    for part in sorted(parts):
        yield from islice(_Source(part).texts(corpus), _COMPARED_DOCUMENTS)


@dataclass(frozen=True)
class _Source:
    """A part of the corpus, or those of its documents that have a value in a column."""

    part: str
    column: str | None = None
    value: str | None = None

    def texts(self, corpus: Artifact[Corpus]) -> Iterator[str]:
        return read_texts(map(corpus.path, self._files(corpus)), column=self.column, value=self.value)

    def documents(self, corpus: Artifact[Corpus]) -> int | None:
        """How many there are, if that is known beforehand."""
        known = [file.rows for file in self._files(corpus) if file.rows is not None]
        return sum(known) if self.column is None and len(known) == len(self._files(corpus)) else None

    def _files(self, corpus: Artifact[Corpus]) -> list[File]:
        return [file for file in corpus.files(self.part) if file.path.endswith(".parquet")]


def _sources(corpus: Artifact[Corpus], config: TokenizeConfig) -> dict[str, _Source]:
    """What every part of the tokens is made of."""
    found: dict[str, _Source] = {}
    for source, part in _parts(corpus, config).items():
        if part != "validation" or config.validation_column is None:
            found[part] = _Source(source)
            continue
        for value in _values(corpus, source, config.validation_column):
            found[f"{part}-{value}"] = _Source(source, config.validation_column, value)
    return found


def _values(corpus: Artifact[Corpus], part: str, column: str) -> list[str]:
    """The values of a column, each of which names a part."""
    values: set[str | None] = set()
    for file in corpus.files(part):
        path = corpus.path(file)
        if column not in (names := read_schema(path).names):
            hint = f"the columns are {', '.join(names)}"
            raise ArtifactError(f"{path} has no column {column!r}, which validation is to be divided by", hint=hint)
        values |= set(read_table(path, columns=[column])[column].unique().to_pylist())
    for value in values:
        if value is None or not re.fullmatch(r"[a-z0-9_-]+", value):
            raise ArtifactError(
                f"column {column!r} of part {part!r} of {corpus.dir} has the value {value!r}, which cannot name a part",
                hint="parts are named by lower-case letters, digits, hyphens and underscores",
            )
    return sorted(value for value in values if value is not None)


def _parts(corpus: Artifact[Corpus], config: TokenizeConfig) -> dict[str, str]:
    """Part of the corpus to part of the tokens."""
    if corpus.part is not None:
        return {corpus.part: "train" if corpus.part == "data" else corpus.part}
    if config.parts is not None:
        return {part: part for part in config.parts}
    there = corpus.manifest.parts
    if MIXTURE in there:
        texts = {file.part for file in corpus.manifest.files if file.in_content and file.path.endswith(".parquet")}
        return {part: part for part in sorted(texts)}
    split = {part: part for part in SPLIT if part in there}
    return split or {"data": "train"}


def _insist(writer: IndexedWriter, corpus: Artifact[Corpus], part: str) -> None:
    if not writer.documents:
        raise ArtifactError(
            f"part {part!r} of {corpus.dir} has no documents", hint="give a corpus that has some, or leave the part out"
        )
