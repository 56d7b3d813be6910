"""What a model is trained on, and when: domains, their weights, and the stages of a curriculum.

A *domain* is a set of documents with a weight: its share of all tokens of the training. It gives them to the stages by its
`stage_ratio`, as Tanuki's sources did: `[0.05, 0.05, 1]` keeps nearly all for the last. So the stages' lengths follow
from the domains, and every stage has a mixture of its own. `Mixture` is that in numbers, `plan` says how many tokens of
each domain a stage reads and how often a domain is read over, and refuses what goes beyond a domain's cap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from bunbuku_contracts import Blend, BlendShare, BlendStage, BunbukuError, Config
from bunbuku_contracts.manifest import Frozen
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from bunbuku_corpus.arrow import compute
from bunbuku_corpus.dedup_steps import COPIES

DOMAIN, CORPUS = "domain", "corpus"


class Domain(Config):
    """Documents of which all that is said here is true. Each document belongs to the first such domain."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """The part of the output that holds its documents."""
    corpora: tuple[str, ...] = ()
    """Names given to `--corpora`; any if empty."""
    sources: tuple[str, ...] = ()
    """Values of the column `source`; any if empty."""
    languages: tuple[str, ...] = ()
    """Values of the column `language`; any if empty."""
    column: str | None = None
    """Another column, such as a topic."""
    values: tuple[str, ...] = ()
    """Values of that column, written as text."""
    weight: PositiveFloat | None = None
    """Share of the training's tokens, relative to the other domains'. If none has one, their characters are the weights."""
    max_epochs: PositiveFloat = 4.0
    """How often its documents may be read. Up to four times is nearly as good as new text (Muennighoff et al. 2023,
    arXiv:2305.16264)."""
    stage_ratio: tuple[NonNegativeFloat, ...] = ()
    """How its tokens are divided among the stages, relative to one another; evenly if empty."""

    def chosen(self, batch: pa.RecordBatch) -> pa.Array:
        """Which documents are in it."""
        wanted = ((CORPUS, self.corpora), ("source", self.sources), ("language", self.languages))
        chosen = pa.array(np.ones(batch.num_rows, np.bool_))
        for column, values in (*wanted, (self.column, self.values)):
            if column is None or not values:
                continue
            if column not in batch.schema.names:
                hint = f"the columns are {', '.join(batch.schema.names)}"
                raise BunbukuError(
                    f"the domain {self.name!r} asks for a column {column!r} that is not there", hint=hint
                )
            found = compute.is_in(batch[column].cast(pa.string()), value_set=pa.array(values, pa.string()))
            chosen = compute.and_(chosen, found)
        return chosen

    @model_validator(mode="after")
    def _column_has_values(self) -> Self:
        if bool(self.column) != bool(self.values):
            raise ValueError(f"`column` {self.column!r} and `values` {self.values!r} of {self.name!r} go together")
        if self.stage_ratio and not sum(self.stage_ratio):
            raise ValueError(f"the `stage_ratio` {list(self.stage_ratio)} of {self.name!r} gives it to no stage")
        return self


class Rehydration(Config):
    """How often a document is written that stands for at least so many."""

    copies: PositiveInt
    times: PositiveInt


@dataclass(frozen=True)
class Assign:
    """Adds to each document its domain (none if there is none for it), and repeats what is to be seen more often."""

    domains: tuple[Domain, ...]
    rehydration: tuple[Rehydration, ...] = ()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = pa.nulls(batch.num_rows, pa.string())
        for domain in reversed(self.domains):
            names = compute.if_else(domain.chosen(batch), domain.name, names)
        placed = pa.record_batch({name: batch[name] for name in batch.schema.names if name != DOMAIN} | {DOMAIN: names})
        if not self.rehydration or COPIES not in batch.schema.names:
            return placed
        return _repeated(placed, self._times(batch[COPIES].to_numpy()))

    def _times(self, copies: np.ndarray) -> np.ndarray:
        times = np.ones(len(copies), np.int64)
        for step in sorted(self.rehydration, key=lambda step: step.copies):
            times[copies >= step.copies] = step.times
        return times


def _repeated(batch: pa.RecordBatch, times: np.ndarray) -> pa.RecordBatch:
    """Each document so often; from the second time on its id ends in `~2`, `~3` and so on."""
    rows = np.repeat(np.arange(len(times)), times)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times) + 1
    taken = batch.take(pa.array(rows))
    again = compute.binary_join_element_wise(taken["id"], pa.array(number.astype(str)), "~")
    ids = compute.if_else(pa.array(number > 1), again, taken["id"])
    return pa.record_batch({name: taken[name] for name in taken.schema.names} | {"id": ids})


class Size(Frozen):
    """How much there is of a domain."""

    documents: int
    characters: int


class DomainShare(Frozen):
    """A domain as the training sees it."""

    size: Size
    weight: float
    """Its share of all tokens."""
    max_epochs: float
    stages: tuple[float, ...]
    """Its share of all tokens, stage by stage: they sum to `weight`."""


class Mixture(Frozen):
    """`mixture.json`: the parts of the artifact to train on, and how they are blended stage by stage."""

    stages: tuple[str, ...]
    domains: dict[str, DomainShare]
    """By the name of the part."""

    @classmethod
    def of(cls, stages: tuple[str, ...], domains: tuple[Domain, ...], sizes: Mapping[str, Size]) -> "Mixture":
        """Weights become shares that sum to 1.

        Raises:
            BunbukuError: A domain has a ratio for another number of stages.
        """
        weights = {one.name: one.weight or float(sizes[one.name].characters) for one in domains}
        shares: dict[str, DomainShare] = {}
        for domain in domains:
            weight = weights[domain.name] / sum(weights.values())
            ratio = domain.stage_ratio or (1.0,) * len(stages)
            if len(ratio) != len(stages):
                raise BunbukuError(
                    f"the `stage_ratio` of {domain.name!r} has {len(ratio)} numbers, and there are {len(stages)} stages",
                    hint="give it a number a stage",
                )
            shares[domain.name] = DomainShare(
                size=sizes[domain.name],
                weight=weight,
                max_epochs=domain.max_epochs,
                stages=tuple(weight * part / sum(ratio) for part in ratio),
            )
        return cls(stages=stages, domains=shares)


def plan(mixture: Mixture, tokens: Mapping[str, int], total_tokens: int) -> Blend:
    """A training of so many tokens.

    Args:
        mixture: What is trained on.
        tokens: How many tokens each domain has.
        total_tokens: How many the training reads.

    Raises:
        BunbukuError: A domain has no tokens, or would be read more often than it may.
    """
    for name, share in mixture.domains.items():
        if not tokens.get(name):
            raise BunbukuError(f"the domain {name!r} has no tokens", hint=f"tokenize its part: parts = [{name!r}, …]")
        epochs = share.weight * total_tokens / tokens[name]
        if epochs > share.max_epochs:
            raise BunbukuError(
                f"{total_tokens:,} tokens would read {name!r} {epochs:.2f} times, and its `max_epochs` is {share.max_epochs:g}",
                hint=f"with these weights {_most(mixture, tokens):,} tokens are the most; or lower its weight",
            )
    stages = tuple(_planned(mixture, tokens, total_tokens, at) for at in range(len(mixture.stages)))
    epochs = {name: sum(stage.domains[name].epochs for stage in stages) for name in mixture.domains}
    return Blend(stages=stages, epochs=epochs)


def _most(mixture: Mixture, tokens: Mapping[str, int]) -> int:
    """The longest training that no domain's cap forbids."""
    return int(min(share.max_epochs * tokens[name] / share.weight for name, share in mixture.domains.items()))


def _planned(mixture: Mixture, tokens: Mapping[str, int], total_tokens: int, at: int) -> BlendStage:
    shares = {name: share.stages[at] for name, share in mixture.domains.items()}
    whole = sum(shares.values())
    read = {name: round(share * total_tokens) for name, share in shares.items()}
    return BlendStage(
        name=mixture.stages[at],
        tokens=sum(read.values()),
        domains={
            name: BlendShare(
                weight=share / whole if whole else 0.0, tokens=read[name], epochs=read[name] / tokens[name]
            )
            for name, share in shares.items()
        },
    )
