"""`eval.perplexity`: bits per byte of text that no model has seen."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Corpus,
    Draft,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from bunbuku_inference import Failure, Score, ScoreRequest

from bunbuku_eval import bits
from bunbuku_eval.bits import Domain, Failed, Scored
from bunbuku_eval.documents import Document, Sample
from bunbuku_eval.models import opened, require_hugging_face, scores
from bunbuku_eval.run import DEFAULT_RUN, EvalRun

Results = Mapping[str, Sequence[Scored]]

HOW = (
    "Bits per byte: the bits a model needs for all tokens of the documents, over the UTF-8 bytes of their text. "
    "The first token is conditioned on the begin-of-sequence token; the end of a document is not scored. "
    "Intervals are 95 % bootstraps over documents."
)


class PerplexityConfig(Config):
    sample: Sample = Sample()
    """The documents measured on."""
    domains: tuple[Domain, ...] = ("language", "source")
    """Columns of the corpus that tell domains apart; each value of each gets its own number."""


@stage("eval.perplexity", revision=2, bitwise=False)
def perplexity(
    draft: Draft,
    config: PerplexityConfig,
    checkpoints: dict[str, Artifact[Checkpoint]],
    corpus: Artifact[Corpus],
    *,
    run: EvalRun = DEFAULT_RUN,
) -> Report:
    """Measure bits per byte of every model on the same held-out documents, in total and by domain.

    Give the models by name and a part of a corpus they were not trained on:
    `--checkpoints dense=DIR --checkpoints moe=DIR --corpus split#validation`.
    """
    require_hugging_face(checkpoints)
    documents = config.sample.of(corpus)
    requests = [ScoreRequest(completion=document.text) for document in documents]
    outcomes: dict[str, list[Score | Failure]] = {}
    for name, checkpoint in checkpoints.items():
        with opened(run.engine, checkpoint) as model:
            begun = any(isinstance(one, Score) for found in outcomes.values() for one in found)
            outcomes[name] = scores(model, requests, draft, label=name, begun=begun)
    results, failures = _shared(documents, outcomes)
    publish(draft, results, domains=config.domains, seed=config.sample.seed, failures=failures)
    return Report(title="Bits per byte of unseen text")


def _shared(
    documents: Sequence[Document], outcomes: Mapping[str, list[Score | Failure]]
) -> tuple[dict[str, list[Scored]], list[Failed]]:
    """What was measured of the documents that all models were measured on, and what failed.

    A model is never compared with another on other documents.

    Raises:
        BunbukuError: There is no such document.
    """
    failures = [
        Failed(name, document, f"{one.reason}: {one.detail}")
        for name, found in outcomes.items()
        for document, one in zip(documents, found, strict=True)
        if isinstance(one, Failure)
    ]
    lost = {one.document.id for one in failures}
    if failures and len(lost) == len(documents):
        raise BunbukuError(
            f"no document was measured by all models; the first failure, of {failures[0].model!r}: {failures[0].reason}",
            hint="look at the engine's own log",
        )
    results = {
        name: [
            Scored(document, one.tokens, one.logprob)
            for document, one in zip(documents, found, strict=True)
            if isinstance(one, Score) and document.id not in lost
        ]
        for name, found in outcomes.items()
    }
    return results, failures


def publish(
    draft: Draft, results: Results, *, domains: Sequence[Domain], seed: int, failures: Sequence[Failed] = ()
) -> None:
    """Metrics, items and sections of what was measured."""
    for name, scored in results.items():
        low, high = bits.interval(scored, seed=seed)
        draft.metrics[f"bits_per_byte.{name}.total"] = bits.bits_per_byte(scored)
        draft.metrics[f"bits_per_byte.{name}.low"] = low
        draft.metrics[f"bits_per_byte.{name}.high"] = high
        draft.metrics[f"tokens.{name}"] = sum(one.tokens for one in scored)
        for domain in domains:
            for value, part in bits.by_domain(scored, domain).items():
                key = f"bits_per_byte.{name}.{domain}.{value}"
                draft.metrics[key] = bits.bits_per_byte(part)
                if len(part) > 1:  # of one document nothing says how far the next would lie from it
                    draft.metrics[f"{key}.low"], draft.metrics[f"{key}.high"] = bits.interval(part, seed=seed)
    first = next(iter(results.values()))
    draft.metrics["documents"] = len(first)
    draft.metrics["bytes"] = sum(one.document.bytes for one in first)
    if failures:
        draft.metrics["failed"] = len({one.document.id for one in failures})
    items = [row for name, scored in results.items() for row in bits.rows(name, scored)]
    items += [one.row for one in failures]
    path = draft.dir / "items.parquet"
    pq.write_table(pa.Table.from_pylist(items, bits.SCHEMA), path)
    draft.count(path, rows=len(items), part="items")
    write_sections(draft, [_section(results, draft.metrics, domains=domains, seed=seed, failures=failures)])


def _section(
    results: Results,
    metrics: Mapping[str, float],
    *,
    domains: Sequence[Domain],
    seed: int,
    failures: Sequence[Failed],
) -> Section:
    first = next(iter(results.values()))
    size = f"{len(first):,} documents, {sum(one.document.bytes for one in first):,} bytes"
    tables = [_totals(results, metrics, caption=size)]
    tables += [_by_domain(results, domain, seed=seed) for domain in domains]
    if len(results) > 1:
        tables.append(_differences(results, seed=seed))
    said = [HOW]
    if failures:
        lost = len({one.document.id for one in failures})
        said.append(
            f"Incomplete: {lost} documents failed with a model and count with none. Their reasons stand in items.parquet."
        )
    return Section(title="Bits per byte of unseen text", paragraphs=tuple(said), tables=tuple(tables))


def _totals(results: Results, metrics: Mapping[str, float], *, caption: str) -> Table:
    rows = tuple(
        (
            name,
            round(metrics[f"bits_per_byte.{name}.total"], 4),
            round(metrics[f"bits_per_byte.{name}.low"], 4),
            round(metrics[f"bits_per_byte.{name}.high"], 4),
            round(sum(one.bits for one in scored) / max(sum(one.tokens for one in scored), 1), 3),
            round(sum(one.document.bytes for one in scored) / max(sum(one.tokens for one in scored), 1), 2),
        )
        for name, scored in results.items()
    )
    columns = ("model", "bits per byte", "95 % low", "95 % high", "bits per token", "bytes per token")
    return Table(columns=columns, rows=rows, caption=caption)


def _by_domain(results: Results, domain: Domain, *, seed: int) -> Table:
    first = bits.by_domain(next(iter(results.values())), domain)
    split = {name: bits.by_domain(scored, domain) for name, scored in results.items()}
    rows = tuple(
        (
            value,
            len(part),
            sum(one.document.bytes for one in part),
            *(_with_interval(split[name][value], seed=seed) for name in results),
        )
        for value, part in first.items()
    )
    return Table(columns=(domain, "documents", "bytes", *results), rows=rows, caption=f"Bits per byte by {domain}")


def _with_interval(scored: Sequence[Scored], *, seed: int) -> str:
    measured = f"{bits.bits_per_byte(scored):.4f}"
    if len(scored) < 2:
        return measured
    low, high = bits.interval(scored, seed=seed)
    return f"{measured} ({low:.4f} to {high:.4f})"


def _differences(results: Results, *, seed: int) -> Table:
    names = list(results)
    rows: list[tuple[str | float, ...]] = []
    for name in names[1:]:
        low, high = bits.paired_interval(results[name], results[names[0]], seed=seed)
        gap = bits.bits_per_byte(results[name]) - bits.bits_per_byte(results[names[0]])
        rows.append((name, round(gap, 5), round(low, 5), round(high, 5)))
    caption = f"Difference to {names[0]} on the same documents; below zero is better than it"
    return Table(columns=("model", "difference", "95 % low", "95 % high"), rows=tuple(rows), caption=caption)
