"""Text to token ids, in batches, by as many processes as there are; the order of documents is kept.

Ids are those of the tokenizer's `tokenizer.json`, which every reader of the model will use. Where a `tokenizer.model`
lies beside it, SentencePiece encodes several times as fast; it is taken when it gives the same ids for a sample of the
very documents, and for texts that spell the special tokens. Text is only ever text: a document that contains `</s>` does
not end there.
"""

import logging
import multiprocessing
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as FastTokenizer

BATCH_DOCUMENTS = 1000
LONG_CHARS = 50_000
"""Documents longer than this always go through `tokenizer.json`: SentencePiece adds up scores in single precision, which
is exact for ours up to about a hundred thousand tokens."""

_logger = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """Documents as ids, one after the other."""

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    characters: int
    bytes: int
    """Of UTF-8."""


class Encoder:
    """Puts `before` and `after` around the ids of every document.

    Args:
        tokenizer: A `tokenizer.json`.
        before: Ids put before every document.
        after: Ids put behind every document.
        never: Ids that no document may contain.
        model: A SentencePiece model with the same ids, to encode with.
        threads: Of this process; 0 for one a core.
    """

    def __init__(
        self,
        tokenizer: Path,
        *,
        before: Sequence[int] = (),
        after: Sequence[int] = (),
        never: Collection[int] = (),
        model: Path | None = None,
        threads: int = 0,
    ) -> None:
        self.tokenizer = tokenizer
        self.before = list(before)
        self.after = list(after)
        self.never = sorted(never)
        self.model = model
        self.threads = threads
        self._fast = FastTokenizer.from_file(str(tokenizer))
        self._fast.no_truncation()
        self._fast.no_padding()
        self._fast.encode_special_tokens = True
        self._sentencepiece = SentencePieceProcessor(model_file=str(model)) if model else None

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.tokenizer, self.before, self.after, self.never, self.model)

    def encode(self, texts: Sequence[str]) -> Encoded:
        found = self.ids(texts)
        self._refuse_special(texts, found)
        ids = [[*self.before, *each, *self.after] for each in found]
        lengths = np.fromiter(map(len, ids), dtype=np.int32, count=len(ids))
        tokens = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum(dtype=np.int64)))
        return Encoded(tokens, lengths, sum(map(len, texts)), sum(len(text.encode()) for text in texts))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, nothing around them."""
        if self._sentencepiece is None:
            return self.reference_ids(texts)
        found = self._sentencepiece.encode(list(texts), num_threads=self.threads or os.cpu_count() or 1)
        for place in (place for place, text in enumerate(texts) if len(text) > LONG_CHARS):
            (found[place],) = self.reference_ids([texts[place]])
        return found

    def reference_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As `ids`, by `tokenizer.json` itself."""
        return [found.ids for found in self._fast.encode_batch_fast(list(texts), add_special_tokens=False)]

    @property
    def special_texts(self) -> list[str]:
        """What special tokens look like."""
        added = self._fast.get_added_tokens_decoder().values()
        return sorted(token.content for token in added if token.special)

    def first_difference(self, texts: Iterable[str]) -> str | None:
        """The first of `texts` for which `ids` and `reference_ids` differ."""
        for batch in _batches(texts):
            for text, ours, theirs in zip(batch, self.ids(batch), self.reference_ids(batch), strict=True):
                if ours != theirs:
                    return text
        return None

    def _refuse_special(self, texts: Sequence[str], found: Sequence[Sequence[int]]) -> None:
        if not self.never:
            return
        for text, ids in zip(texts, found, strict=True):
            if special := set(self.never).intersection(ids):
                name = self._fast.id_to_token(min(special))
                raise BunbukuError(
                    f"{self.tokenizer} makes the special token {name!r} of plain text, in the document {text[:80]!r}",
                    hint="take such documents out of the corpus, or another tokenizer",
                )


def fastest(encoder: Encoder, model: Path, sample: Iterable[str]) -> Encoder:
    """`encoder`, by way of `model` if there is one and it gives the same ids for all of `sample`."""
    if not model.is_file():
        return encoder
    try:
        other = Encoder(encoder.tokenizer, before=encoder.before, after=encoder.after, never=encoder.never, model=model)
    except RuntimeError as error:
        _logger.warning("%s is not read, for SentencePiece cannot open it: %s", model, error)
        return encoder
    specials = [
        f"{before}{text}{after}" for text in encoder.special_texts for before, after in (("", ""), ("猫", "犬"))
    ]
    text = other.first_difference(chain(specials, sample))
    if text is None:
        return other
    _logger.warning("%s is not used, for it gives other ids than tokenizer.json for %r", model, text[:200])
    return encoder


def read_texts(paths: Iterable[Path], *, column: str | None = None, value: str | None = None) -> Iterator[str]:
    """The text of every document, file after file; with a column, of those that have this value in it."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["text"] + [column] * (column is not None)):
                texts = batch["text"].to_pylist()
                if column is None:
                    yield from texts
                else:
                    chosen = batch[column].to_pylist()
                    yield from (text for text, one in zip(texts, chosen, strict=True) if one == value)


def encode_all(texts: Iterable[str], encoder: Encoder, *, workers: int) -> Iterator[Encoded]:
    """Batches of encoded documents, in the order of the texts whatever the number of workers."""
    batches = _batches(texts)
    if workers == 1:
        yield from map(encoder.encode, batches)
        return
    # Fresh processes: a fork of one in which the tokenizer's own threads have run may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(encoder,)) as pool:
        waiting: list[Future[Encoded]] = []
        for batch in batches:
            waiting.append(pool.submit(_encode, batch))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    source = iter(texts)
    while batch := list(islice(source, BATCH_DOCUMENTS)):
        yield batch


_encoder: Encoder | None = None


def _begin(encoder: Encoder) -> None:
    global _encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _encoder = encoder


def _encode(texts: Sequence[str]) -> Encoded:
    assert _encoder is not None
    return _encoder.encode(texts)


def _rebuild(tokenizer: Path, before: list[int], after: list[int], never: list[int], model: Path | None) -> Encoder:
    return Encoder(tokenizer, before=before, after=after, never=never, model=model, threads=1)
