"""`eval.baseline`: what a bigram table makes of the same documents."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bunbuku_contracts import Artifact, BunbukuError, Config, Corpus, Draft, Report, Tokenizer, Tokens, stage
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from bunbuku_eval.bits import Domain, Scored
from bunbuku_eval.documents import Document, Sample
from bunbuku_eval.indexed import IndexedTokens, Span
from bunbuku_eval.kneser_ney import BigramCounts, KneserNeyBigram
from bunbuku_eval.stages.perplexity import publish

NAME = "kneser_ney"
"""What the baseline is called in metrics and tables."""


class BaselineConfig(Config):
    sample: Sample = Sample()
    """The documents measured on: give what `perplexity` was given, and they are the same."""
    domains: tuple[Domain, ...] = ("language", "source")
    max_tokens: PositiveInt | None = None
    """Training tokens it may see: what the model saw, if that was less than an epoch. All without it."""
    seed: NonNegativeInt = 0
    """Which training documents, where `max_tokens` does not take all."""
    discount: float | None = Field(default=None, gt=0, le=1)
    """D of the bigrams; estimated without it."""
    unigram_discount: float | None = Field(default=None, gt=0, le=1)
    """D of the unigrams; estimated without it."""


class Pairs(NamedTuple):
    previous: NDArray[np.int64]
    following: NDArray[np.int64]


@stage("eval.baseline", revision=2)
def baseline(
    draft: Draft,
    config: BaselineConfig,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    corpus: Artifact[Corpus],
) -> Report:
    """Measure bits per byte of an interpolated Kneser-Ney bigram model of the training tokens.

    It is trained on the `train` part of the tokens that a model was trained on, and measured on the documents that
    `perplexity` measures with the same sample: a model worth its electricity is below it.
    """
    if tokens.manifest.spec.tokenizer != tokenizer.manifest.content:
        raise BunbukuError(
            f"{tokens.dir} was made with another tokenizer than {tokenizer.dir}",
            hint="give the tokenizer that its lineage names: bunbuku tree " + str(tokens.dir),
        )
    documents = config.sample.of(corpus)
    indexed = open_part(tokens, "train")
    model = train(draft, config, indexed, tokenizer)
    scored = measure(draft, model, tokenizer, documents)
    draft.metrics |= {
        "train_tokens": float(model.counts.total),
        "distinct_bigrams": float(len(model.counts.codes)),
        "discount": model.discount,
        "unigram_discount": model.unigram_discount,
    }
    publish(draft, {NAME: scored}, domains=config.domains, seed=config.sample.seed)
    return Report(title="Kneser-Ney bigram baseline")


def open_part(tokens: Artifact[Tokens], part: str) -> IndexedTokens:
    """The `.bin` and `.idx` of one part."""
    paths = {Path(file.path).suffix: tokens.path(file) for file in tokens.files(part)}
    if set(paths) != {".bin", ".idx"}:
        raise BunbukuError(f"part {part!r} of {tokens.dir} is not one .bin and one .idx but {sorted(paths)}")
    return IndexedTokens.open(paths[".bin"], paths[".idx"])


def train(
    draft: Draft, config: BaselineConfig, indexed: IndexedTokens, tokenizer: Artifact[Tokenizer]
) -> KneserNeyBigram:
    """The model of the chosen training documents, their ends included."""
    spec = tokenizer.manifest.spec
    chosen = choose(indexed, max_tokens=config.max_tokens, seed=config.seed)
    counts = BigramCounts.none(spec.vocab_size)
    for span in draft.track(indexed.spans(chosen), unit="spans", label="counting"):
        counts = counts.add(*pairs(span, bos_id=spec.bos_id))
    return KneserNeyBigram.fit(counts, discount=config.discount, unigram_discount=config.unigram_discount)


def choose(indexed: IndexedTokens, *, max_tokens: int | None, seed: int) -> NDArray[np.int64]:
    """Documents, ascending, that hold at most `max_tokens` tokens together: a random choice if that is not all."""
    lengths = indexed.lengths()
    if max_tokens is None or lengths.sum() <= max_tokens:
        return np.arange(indexed.documents)
    order = np.random.default_rng(seed).permutation(indexed.documents)
    return np.sort(order[np.cumsum(lengths[order]) <= max_tokens])


def pairs(span: Span, *, bos_id: int) -> Pairs:
    """Every token behind the one before it; the first of a document behind the begin-of-sequence token.

    That token is put there whether or not the documents hold it, and is never predicted.
    """
    previous = np.empty_like(span.tokens)
    previous[1:] = span.tokens[:-1]
    previous[span.starts[span.starts < len(previous)]] = bos_id
    predicted = span.tokens != bos_id
    return Pairs(previous[predicted], span.tokens[predicted])


def measure(
    draft: Draft, model: KneserNeyBigram, tokenizer: Artifact[Tokenizer], documents: tuple[Document, ...]
) -> list[Scored]:
    """The documents as the model sees them, with the tokens `tokenizer` makes of them."""
    bos_id = tokenizer.manifest.spec.bos_id
    scored: list[Scored] = []
    for document, ids in draft.track(_encoded(tokenizer, documents), unit="documents", total=len(documents)):
        previous = np.concatenate([[bos_id], ids[:-1]]).astype(np.int64)
        logprob = float(np.log(model.probabilities(previous, ids)).sum())
        scored.append(Scored(document, len(ids), round(logprob, 9)))
    return scored


def _encoded(
    tokenizer: Artifact[Tokenizer], documents: tuple[Document, ...]
) -> Iterator[tuple[Document, NDArray[np.int64]]]:
    from tokenizers import Tokenizer as Encoder

    encoder = Encoder.from_file(str(tokenizer.dir / "tokenizer.json"))
    encoder.encode_special_tokens = True  # what a document says is text, as where the training tokens were made
    for document in documents:
        yield document, np.array(encoder.encode(document.text, add_special_tokens=False).ids, dtype=np.int64)
