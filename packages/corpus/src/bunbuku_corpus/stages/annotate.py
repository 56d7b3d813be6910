"""Measure every document once."""

from collections.abc import Mapping
from typing import Any, cast

from bunbuku_contracts import Artifact, Corpus, Draft, stage, write_sections
from pydantic import TypeAdapter, model_validator

from bunbuku_corpus.annotations import Annotated, Annotator
from bunbuku_corpus.engine import EngineRun
from bunbuku_corpus.filters import AnyMeasure
from bunbuku_corpus.passes import passed
from bunbuku_corpus.policy import measures_of
from bunbuku_corpus.preparation import Preparation
from bunbuku_corpus.presets import PresetName, presets
from bunbuku_corpus.reports import normalization_report, normalization_section

_MEASURES = TypeAdapter(tuple[AnyMeasure, ...])


class AnnotateConfig(Preparation):
    """What is done to texts, and what of them is measured."""

    presets: tuple[PresetName, ...] = ("web",)
    """Measure what the filters of these presets judge by, on texts that are edited as the first of them does."""
    measures: tuple[AnyMeasure, ...] = ()
    """Measure this as well."""

    @model_validator(mode="before")
    @classmethod
    def _with_presets(cls, data: Any) -> Any:
        """All measures by themselves, so that a recipe shows what was measured whatever a preset is later."""
        given = cast(Mapping[str, Any], data)
        named = [presets()[name] for name in given.get("presets", ("web",)) if name in presets()]
        measures = measures_of(one for preset in named for one in preset.filters)
        measures |= {one.name: one for one in _MEASURES.validate_python(given.get("measures", ()))}
        edits = named[0].edits if named else ()
        return {"edits": edits, **given, "measures": tuple(measures[name] for name in sorted(measures))}


class AnnotateRun(EngineRun):
    """Circumstance of `annotate`."""


_ONE_WORKER = AnnotateRun()


@stage("corpus.annotate", revision=5, resumable=True)
def annotate(
    draft: Draft, config: AnnotateConfig, corpus: Artifact[Corpus], *, run: AnnotateRun = _ONE_WORKER
) -> Corpus:
    """Prepare every document and measure it: all that filters judge by, as columns beside the documents.

    Nothing is dropped. `decide` then applies a policy, and another policy tomorrow, without measuring again; `explain`
    shows what a policy would do. The column `annotations` is a struct with a field a measure, by default those that the
    preset `web` judges by. Texts are edited once, so `decide` with a preset whose edits are others keeps what `clean` would
    with these. For others:

        presets = ["web", "swallow-v1"]

        [[measures]]
        type = "repeated_ngram_ratio"
        n = 15
    """
    seen = passed(draft, corpus, Annotator(config, config.measures).annotate, Annotated(), run)
    draft.metrics |= {"documents": seen.documents, "normalization.changed_documents": seen.changes.documents}
    write_sections(draft, [normalization_section(normalization_report(seen.changes))])
    return Corpus(languages=tuple(sorted(seen.languages)))
