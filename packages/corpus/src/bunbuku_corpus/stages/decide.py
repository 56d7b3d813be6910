"""Apply a policy to measured documents."""

from bunbuku_contracts import Artifact, Corpus, Draft, stage
from pydantic import NonNegativeInt

from bunbuku_corpus.annotations import check
from bunbuku_corpus.batches import open_shard
from bunbuku_corpus.cleaning import Decide, Verdicts
from bunbuku_corpus.engine import EngineRun
from bunbuku_corpus.passes import passed
from bunbuku_corpus.policy import Policy
from bunbuku_corpus.reports import clean_report, clean_sections, refuse_emptiness, report_metrics, write_report


class DecideConfig(Policy):
    """Which documents are let through."""

    samples: NonNegativeInt = 5
    """Rejected documents that the report shows of each filter."""


_HERE = EngineRun()


@stage("corpus.decide", revision=2, resumable=True)
def decide(draft: Draft, config: DecideConfig, corpus: Artifact[Corpus], *, run: EngineRun = _HERE) -> Corpus:
    """Keep or drop every document by the measures that `annotate` wrote, and store both.

    A policy is a `preset` and `filters`, as in `clean --help`, and gives what `clean` gives. It reads columns of numbers
    and no text, so that changing it measures nothing again. Dropped documents are kept in the part `dropped` with their
    reason, the first filter that objects, and their annotations; `--corpus DIR#dropped` decides about them anew.
    """
    for file in corpus.files():
        with open_shard(corpus.path(file)) as shard:
            check(shard.schema_arrow, config.filters, corpus.path(file))
    verdicts = Verdicts(config.filters, config.samples)
    passed(draft, corpus, Decide(config.filters, config.samples), verdicts, run)
    report = clean_report(verdicts)
    refuse_emptiness(report)
    write_report(draft, report, clean_sections(report)[:-1])  # nothing was normalized
    draft.metrics |= report_metrics(report)
    return Corpus(languages=tuple(sorted(verdicts.languages)))
