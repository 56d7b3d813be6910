"""Bring corpora together as the domains that a model is trained on, and plan how they are blended."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from bunbuku_contracts import (
    Artifact,
    ArtifactError,
    Blend,
    BunbukuError,
    Config,
    Corpus,
    Draft,
    Report,
    Section,
    Table,
    Tokens,
    stage,
    write_sections,
)
from pydantic import PositiveInt, model_validator

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.engine import EngineRun, open_engine
from bunbuku_corpus.items import Hashes, text_hashes
from bunbuku_corpus.mixing import CORPUS, DOMAIN, Assign, Domain, Mixture, Rehydration, Size, plan
from bunbuku_corpus.shards import NUMBER, RowGroup, row_groups
from bunbuku_corpus.writing import DATA, Shard, by_shard, count_rows

MIXTURE, BLEND = "mixture.json", "blend.json"
_HELD_OUT = ("validation", "test")


class MixConfig(Config):
    """The domains, and the stages of the curriculum."""

    domains: tuple[Domain, ...] = ()
    """A document belongs to the first that it fits. If there are none, each corpus is a domain."""
    stages: tuple[str, ...] = ("training",)
    """Names of the stages, which the `stage_ratio`s of the domains refer to in this order."""
    rehydration: tuple[Rehydration, ...] = ()
    """Writes documents that `dedup` found often more than once: those that stand for at least so many `copies`, so many
    `times`. Held-out documents are written once."""

    @model_validator(mode="after")
    def _domains_differ(self) -> Self:
        names = Counter(domain.name for domain in self.domains)
        if taken := sorted(name for name in names if names[name] > 1 or name in (*_HELD_OUT, DATA)):
            raise ValueError(f"the domain's name {taken[0]!r} is taken: each needs one of its own")
        without = [domain.name for domain in self.domains if domain.weight is None]
        if without and len(without) < len(self.domains):
            raise ValueError(f"the domain {without[0]!r} has no `weight`, and others have one: all need one, or none")
        return self


_HERE = EngineRun()


@stage("corpus.mix")
def mix(draft: Draft, config: MixConfig, corpora: dict[str, Artifact[Corpus]], *, run: EngineRun = _HERE) -> Corpus:
    """Bring corpora together as the domains that a model is trained on, with weights, caps and a curriculum.

    Every domain becomes a part of its own, and `mixture.json` says how they are blended. Of a split corpus the part train is
    mixed; validation and test are brought together under their names, each document with its domain. For example:

        stages = ["broad", "japanese"]

        [[domains]]
        name = "wiki"
        sources = ["wikipedia"]
        weight = 0.3
        max_epochs = 3
        stage_ratio = [1, 2]
    """
    domains = config.domains or tuple(Domain(name=name, corpora=(name,)) for name in corpora)
    work = [
        _Shard(name, part, tuple(groups))
        for name, corpus in corpora.items()
        for part in _parts(corpus)
        for groups in by_shard(row_groups(corpus, part))
    ]
    write = _WriteMixed(Assign(domains, config.rehydration), Assign(domains), draft.dir)
    documents: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    hashes = [np.empty(0, np.uint64)]
    with open_engine(run, draft.scratch) as engine:
        for tally in draft.track(engine.each(write, work), unit="shards", total=len(work)):
            documents += tally.documents
            characters += tally.characters
            hashes += tally.ids
            count_rows(draft, tally.files)
    _refuse_shared_ids(np.concatenate(hashes), work)
    for domain in domains:
        if not documents[domain.name]:
            hint = "correct what it asks for, or the order of the domains: a document belongs to the first that it fits"
            raise BunbukuError(f"not one document fits the domain {domain.name!r}", hint=hint)
    sizes = {one.name: Size(documents=documents[one.name], characters=characters[one.name]) for one in domains}
    mixture = Mixture.of(config.stages, domains, sizes)
    _write_mixture(draft, mixture)
    for name in (*sizes, *(part for part in _HELD_OUT if documents[part])):
        draft.metrics |= {f"{name}.documents": documents[name], f"{name}.characters": characters[name]}
    return Corpus(languages=tuple(sorted({language for one in corpora.values() for language in one.spec.languages})))


class BlendConfig(Config):
    """How long the training is."""

    total_tokens: PositiveInt
    """Tokens that the training reads, in all stages together."""


@stage("corpus.blend")
def blend(draft: Draft, config: BlendConfig, mixture: Artifact[Corpus], tokens: Artifact[Tokens]) -> Report:
    """Plan how many tokens of which domain are read when, now that the parts of a mixture are tokenized.

    `blend.json` has the stages with the tokens and the weights of each part. A domain that would be read more often than its
    `max_epochs` is refused here, and not at step 40,000.
    """
    [file] = mixture.files("mixture")
    mixed = Mixture.model_validate_json(mixture.path(file).read_bytes())
    if tokens.manifest.recipe.inputs.get("corpus", "").partition("#")[0] != mixture.content:
        raise ArtifactError(f"{tokens.dir} was not made from {mixture.dir}", hint="tokenize that mixture")
    counts: Counter[str] = Counter()
    for one in tokens.manifest.files:
        counts[one.part] += one.tokens or 0
    planned = plan(mixed, counts, config.total_tokens)
    path = draft.dir / BLEND
    path.write_text(planned.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draft.count(path, part="blend")
    write_sections(draft, [_planned_section(planned, counts)])
    draft.metrics |= {f"epochs.{name}": epochs for name, epochs in planned.epochs.items()}
    draft.metrics |= {f"tokens.{stage.name}": float(stage.tokens) for stage in planned.stages}
    return Report(title="Blend")


@dataclass(frozen=True)
class _Shard:
    """A shard of one of the corpora."""

    corpus: str
    part: str
    groups: tuple[RowGroup, ...]


@dataclass
class _Tally:
    """What was written."""

    documents: Counter[str] = field(default_factory=Counter[str])
    characters: Counter[str] = field(default_factory=Counter[str])
    files: dict[str, int] = field(default_factory=dict[str, int])
    ids: list[Hashes] = field(default_factory=list[Hashes])
    """Hashes of the ids that were read."""


@dataclass(frozen=True)
class _WriteMixed:
    """Assigns the documents of one shard to domains and writes them."""

    train: Assign
    held_out: Assign
    out: Path

    def __call__(self, given: _Shard) -> _Tally:
        tally = _Tally()
        held_out = given.part in _HELD_OUT
        assign = self.held_out if held_out else self.train
        with Shard(self.out, f"{given.corpus}-{given.groups[0].path.name}", tally.files) as shard:
            for group in given.groups:
                batch = group.read().drop_columns([NUMBER])
                tally.ids.append(text_hashes(batch["id"].to_pylist()))
                names = pa.array([given.corpus] * batch.num_rows)
                assigned = assign(batch.append_column(CORPUS, names)).drop_columns([CORPUS])
                _refuse_homeless(assigned, given)
                for name in [given.part] if held_out else assigned[DOMAIN].unique().to_pylist():
                    some = assigned if held_out else assigned.filter(compute.equal(assigned[DOMAIN], name))
                    shard.write(some, name)
                    tally.documents[name] += some.num_rows
                    tally.characters[name] += compute.sum(compute.utf8_length(some["text"])).as_py() or 0
        return tally


def _refuse_homeless(assigned: pa.RecordBatch, given: _Shard) -> None:
    homeless = assigned.filter(assigned[DOMAIN].is_null())
    if homeless.num_rows:
        one = homeless.slice(0, 1).to_pylist()[0]
        raise BunbukuError(
            f"no domain takes {one['id']!r} of {given.corpus!r} (source {one['source']!r}, language {one['language']!r})",
            hint="add a domain that asks for nothing as the last one",
        )


def _refuse_shared_ids(hashes: Hashes, work: Sequence[_Shard]) -> None:
    """Documents of several corpora have ids of their own, or none of them could be told from another later on."""
    ordered = np.sort(hashes)
    shared = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(shared):
        return
    met: dict[str, str] = {}
    for one in work:
        for group in one.groups:
            ids = replace(group, columns=("id",)).read()["id"].to_pylist()
            for place in np.flatnonzero(np.isin(text_hashes(ids), shared)).tolist():
                if (id := ids[place]) in met:
                    raise BunbukuError(
                        f"the id {id!r} is in {met[id]!r} and in {one.corpus!r}: a document has an id of its own",
                        hint="leave one of them out (dedup one --against the other), or gather it under other ids",
                    )
                met[id] = one.corpus


def _parts(corpus: Artifact[Corpus]) -> Sequence[str]:
    """The parts that are mixed or passed on."""
    if corpus.part:
        return [corpus.part]
    there = corpus.manifest.parts
    return [part for part in ("train", *_HELD_OUT) if part in there] or [DATA]


def _write_mixture(draft: Draft, mixture: Mixture) -> None:
    path = draft.dir / MIXTURE
    path.write_text(mixture.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draft.count(path, part="mixture")
    rows = tuple(
        (
            name,
            one.size.documents,
            one.size.characters,
            round(one.weight, 4),
            one.max_epochs,
            *(round(x, 4) for x in one.stages),
        )
        for name, one in mixture.domains.items()
    )
    columns = ("domain", "documents", "characters", "share", "at most epochs", *mixture.stages)
    caption = "The share of all tokens, and of it what falls into each stage"
    write_sections(draft, [Section(title="Mixture", tables=(Table(columns=columns, rows=rows, caption=caption),))])


def _planned_section(planned: Blend, counts: Counter[str]) -> Section:
    rows = tuple(
        (stage.name, name, round(one.weight, 4), one.tokens, round(one.epochs, 3))
        for stage in planned.stages
        for name, one in stage.domains.items()
    )
    whole = tuple((name, counts[name], round(epochs, 3)) for name, epochs in planned.epochs.items())
    return Section(
        title="What is read when",
        paragraphs=(f"{planned.tokens:,} tokens in {len(planned.stages)} stages.",),
        tables=(
            Table(columns=("stage", "domain", "share of the stage", "tokens", "epochs"), rows=rows),
            Table(columns=("domain", "tokens there are", "epochs in all"), rows=whole),
        ),
    )
