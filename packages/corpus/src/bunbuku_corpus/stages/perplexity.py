"""Say of every document how surprising a language model finds it."""

from collections.abc import Iterator, Sequence
from math import log

import pyarrow as pa
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Corpus,
    Draft,
    RunSettings,
    Section,
    Table,
    stage,
    write_sections,
)
from bunbuku_inference import AnyEngine, Model, ScoreRequest, TransformersEngine, open_model
from pydantic import Field, PositiveInt

from bunbuku_corpus.batches import BatchWriter, read_batches
from bunbuku_corpus.document import count_documents


class PerplexityConfig(Config):
    """What of a document is scored."""

    max_chars: PositiveInt = 2000
    """Characters scored of a document, from its beginning."""
    column: str = Field(default="bits_per_byte", pattern="^[a-z][a-z0-9_]*$")
    """Column for the score; null for an empty text."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


class PerplexityRun(RunSettings):
    """Circumstance of `perplexity`."""

    engine: AnyEngine = TransformersEngine()
    """Where the model runs."""


_HERE = PerplexityRun()


@stage("corpus.perplexity", resumable=True, bitwise=False)
def perplexity(
    draft: Draft,
    config: PerplexityConfig,
    corpus: Artifact[Corpus],
    checkpoint: Artifact[Checkpoint],
    *,
    run: PerplexityRun = _HERE,
) -> Corpus:
    """Add to every document how many bits a language model needs for a byte of it.

    Bits per byte, and not perplexity per token, so that models of any tokenizer compare. Text that a model trained on good
    Japanese finds very surprising is mostly no prose, and what it finds hardly surprising repeats itself; the report's
    quantiles say where to look. Nothing is dropped. Scores are kept while it runs: after a kill only the rest is scored.
    """
    if checkpoint.spec.format != "hf":
        hint = "bunbuku-pretrain export or bunbuku-align merge makes one"
        raise BunbukuError(f"{checkpoint.dir} has format {checkpoint.spec.format!r}, not 'hf'", hint=hint)
    scored: list[float] = []
    languages: set[str] = set()
    with (
        open_model(run.engine, checkpoint.dir, cache=draft.scratch / "scores.sqlite") as model,
        BatchWriter(draft, rows_per_shard=config.rows_per_shard) as data,
    ):
        work = _written(model, corpus, config, data, languages)
        for bits in draft.track(work, unit="documents", total=count_documents(corpus)):
            scored += [] if bits is None else [bits]
    if not scored:
        raise BunbukuError(f"{corpus.dir} has no text to score", hint="give a part that has some, such as DIR#train")
    scored.sort()
    quantiles = {
        f"q{share:02d}": scored[min(len(scored) * share // 100, len(scored) - 1)] for share in (1, 10, 50, 90, 99)
    }
    draft.metrics |= {"documents": data.documents} | {f"{config.column}.{name}": one for name, one in quantiles.items()}
    rows = tuple((name.removeprefix("q"), round(one, 4)) for name, one in quantiles.items())
    table = Table(columns=("per cent of documents below", "bits per byte"), rows=rows)
    write_sections(draft, [Section(title="How surprising the documents are", tables=(table,))])
    return Corpus(languages=tuple(sorted(languages)))


def _written(
    model: Model, corpus: Artifact[Corpus], config: PerplexityConfig, data: BatchWriter, languages: set[str]
) -> Iterator[float | None]:
    for batch in read_batches(corpus):
        bits = bits_per_byte(model, [text[: config.max_chars] for text in batch.column("text").to_pylist()])
        kept = batch.select([name for name in batch.schema.names if name != config.column])
        data.add(kept.append_column(config.column, pa.array(bits, pa.float32())))
        languages.update(batch.column("language").to_pylist())
        yield from bits


def bits_per_byte(model: Model, texts: Sequence[str]) -> list[float | None]:
    """The negative base-2 logarithm of each text's probability over its UTF-8 bytes; `None` for an empty text."""
    scores = iter(model.score([ScoreRequest(completion=text) for text in texts if text]))
    return [-next(scores).logprob / log(2) / len(text.encode()) if text else None for text in texts]
