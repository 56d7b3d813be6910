"""Measure every document once."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import pyarrow as pa
from bunbuku_contracts import Artifact, Corpus, Draft, RunSettings, stage, write_sections
from pydantic import PositiveInt, TypeAdapter, model_validator

from bunbuku_corpus.annotations import Annotator
from bunbuku_corpus.batches import BatchWriter, read_batches
from bunbuku_corpus.document import count_documents
from bunbuku_corpus.filters import AnyMeasure
from bunbuku_corpus.normalization import Changes
from bunbuku_corpus.policy import Policy, measures_of
from bunbuku_corpus.pool import in_order
from bunbuku_corpus.preparation import Preparation
from bunbuku_corpus.presets import PresetName, presets
from bunbuku_corpus.reports import normalization_report, normalization_section

_MEASURES = TypeAdapter(tuple[AnyMeasure, ...])


class AnnotateConfig(Preparation):
    """What is done to texts, and what of them is measured."""

    presets: tuple[PresetName, ...] = ("web",)
    """Measure what the filters of these presets judge by, and those of `clean` without a preset."""
    measures: tuple[AnyMeasure, ...] = ()
    """Measure this as well."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""

    @model_validator(mode="before")
    @classmethod
    def _with_presets(cls, data: Any) -> Any:
        """All measures by themselves, so that a recipe shows what was measured whatever a preset is later."""
        given = cast(Mapping[str, Any], data)
        named = given.get("presets", ("web",))
        filters = [one for name in named for one in presets().get(name, ())]
        measures = measures_of([*filters, *Policy().filters])
        measures |= {one.name: one for one in _MEASURES.validate_python(given.get("measures", ()))}
        return {**given, "measures": tuple(measures[name] for name in sorted(measures))}


class AnnotateRun(RunSettings):
    """Circumstance of `annotate`."""

    workers: PositiveInt = 1
    """Processes that measure documents. The result does not depend on it."""


_ONE_WORKER = AnnotateRun()


@stage("corpus.annotate")
def annotate(
    draft: Draft, config: AnnotateConfig, corpus: Artifact[Corpus], *, run: AnnotateRun = _ONE_WORKER
) -> Corpus:
    """Prepare every document and measure it: all that filters judge by, as columns beside the documents.

    Nothing is dropped. `decide` then applies a policy, and another policy tomorrow, without measuring again; `explain`
    shows what a policy would do. The column `annotations` is a struct with a field a measure, by default those that the
    preset `web` judges by. For others:

        presets = ["web", "swallow-v1"]

        [[measures]]
        type = "repeated_ngram_ratio"
        n = 15
    """
    annotator = Annotator(config, config.measures)
    changes = Changes()
    languages: set[str] = set()
    work = in_order(annotator.annotate, read_batches(corpus), workers=run.workers)
    with BatchWriter(draft, rows_per_shard=config.rows_per_shard) as data:
        for language in draft.track(_written(work, data, changes), unit="documents", total=count_documents(corpus)):
            languages.add(language)
    draft.metrics |= {"documents": data.documents, "normalization.changed_documents": changes.documents}
    write_sections(draft, [normalization_section(normalization_report(changes))])
    return Corpus(languages=tuple(sorted(languages)))


def _written(work: Iterable[tuple[pa.RecordBatch, Changes]], data: BatchWriter, changes: Changes) -> Iterator[str]:
    """The language of every document that was measured, once it is written."""
    for batch, changed in work:
        data.add(batch)
        changes.add(changed)
        yield from batch.column("language").to_pylist()
