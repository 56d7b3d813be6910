"""Text to token ids, in batches, by as many processes as there are; the order of documents is kept.

The encoder is the tokenizer's own `tokenizer.json`, so ids are those that every reader of the model will use.
"""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer as FastTokenizer

BATCH_DOCUMENTS = 1000


class Encoded(NamedTuple):
    """Documents as ids, one after the other."""

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    characters: int


class Encoder:
    """Puts `before` and `after` around the ids of every document."""

    def __init__(self, tokenizer: Path, *, before: Sequence[int], after: Sequence[int]) -> None:
        self.tokenizer = tokenizer
        self.before = list(before)
        self.after = list(after)
        self._fast = FastTokenizer.from_file(str(tokenizer))
        self._fast.no_truncation()
        self._fast.no_padding()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.tokenizer, self.before, self.after)

    def encode(self, texts: Sequence[str]) -> Encoded:
        encodings = self._fast.encode_batch_fast(list(texts), add_special_tokens=False)
        ids = [self.before + encoding.ids + self.after for encoding in encodings]
        lengths = np.fromiter(map(len, ids), dtype=np.int32, count=len(ids))
        tokens = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum(dtype=np.int64)))
        return Encoded(tokens, lengths, sum(map(len, texts)))


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """The text of every document, file after file."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["text"]):
                yield from batch.column(0).to_pylist()


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


def _rebuild(tokenizer: Path, before: list[int], after: list[int]) -> Encoder:
    return Encoder(tokenizer, before=before, after=after)
