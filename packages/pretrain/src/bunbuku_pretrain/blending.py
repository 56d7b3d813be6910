"""Sequences of several parts, blended by weight: which part every sequence of a phase is of.

A phase of N sequences gives each part an exact number of them. In between they come as evenly as can be: the j-th of the
c sequences of a part is due at (j + 1/2) N / c, and sequences come in the order in which they are due. That is Webster's
method of apportionment, so that among the first n sequences of a phase of m parts, one with the share w has n w of them,
give or take (1 + m w) / 2. What comes at n is computed from its neighbourhood alone.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from bunbuku_contracts import Blend, ConfigError
from numpy.typing import NDArray

from bunbuku_pretrain.phases import Phase
from bunbuku_pretrain.sampling import Whole
from bunbuku_pretrain.training import TrainConfig


class Blended(NamedTuple):
    """Sequences of a phase, in order."""

    parts: Whole
    """Number of the part that each is of."""
    numbers: Whole
    """The how-manieth of its part in the phase it is, from 0."""


class Interleaving:
    """The sequences of a phase, of which each part has so many.

    >>> blended = Interleaving([3, 1]).take(0, 4)
    >>> blended.parts.tolist(), blended.numbers.tolist()
    ([0, 0, 1, 0], [0, 1, 0, 2])
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = np.asarray(counts, dtype=np.int64)
        self.total = int(self.counts.sum())

    def take(self, first: int, count: int) -> Blended:
        """Sequences `first` to `first + count - 1` of the phase."""
        begins, near = self._near(first, count)
        skipped = first - int(begins.sum())
        return Blended(near.parts[skipped : skipped + count], near.numbers[skipped : skipped + count])

    def passed(self, count: int) -> Whole:
        """How many of the first `count` sequences each part has."""
        begins, near = self._near(count, 0)
        return begins + np.bincount(near.parts[: count - int(begins.sum())], minlength=len(begins))

    def _near(self, first: int, count: int) -> tuple[Whole, Blended]:
        """Sequences from a little before `first` to a little behind the last, and how many of each part come before."""
        # Among those due before n there are n, give or take half of the number of parts.
        slack = len(self.counts) / 2 + 1
        begins = self._due_before((first - slack) / self.total)
        ends = self._due_before((first + count + slack) / self.total)
        parts = np.repeat(np.arange(len(self.counts)), ends - begins)
        starts = np.repeat(begins - np.concatenate([[0], np.cumsum(ends - begins)[:-1]]), ends - begins)
        numbers = np.arange(len(parts)) + starts
        order = np.lexsort((parts, _due(numbers, self.counts[parts])))
        return begins, Blended(parts[order], numbers[order])

    def _due_before(self, share: float) -> Whole:
        """How many sequences of every part are due before so much of the phase has passed."""
        found = np.clip(np.floor(share * self.counts + 0.5).astype(np.int64), 0, self.counts)
        for step in (-1, 1):  # what rounding moved across the border, by the very numbers that they are sorted by
            while True:
                if step < 0:
                    wrong = (found > 0) & (_due(found - 1, self.counts) >= share)
                else:
                    wrong = (found < self.counts) & (_due(found, self.counts) < share)
                if not wrong.any():
                    break
                found[wrong] += step
        return found


def _due(numbers: Whole, counts: Whole) -> NDArray[np.float64]:
    """When sequences are due, as a share of the phase; a part that has none counts as one."""
    return (numbers + 0.5) / np.maximum(counts, 1)


def apportioned(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that sum to `total`, each within one of its weight's share: largest remainders.

    >>> apportioned(10, {"wiki": 1, "web": 2})
    {'wiki': 3, 'web': 7}
    """
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    nearest = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in nearest[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def with_blend(config: TrainConfig, blend: Blend) -> TrainConfig:
    """The config with tokens and mixes of the blend's stages: for its phases of the same names, or as its phases.

    Raises:
        ConfigError: The config says otherwise, or names a phase that the blend has not.
    """
    if config.total_tokens is not None:
        raise ConfigError(
            f"`total_tokens` {config.total_tokens} is given, and a blend that says how long the run is",
            hint="leave `total_tokens` out of the config",
        )
    stages = {stage.name: stage for stage in blend.stages}
    phases = config.phases or tuple(Phase(name=name) for name in stages)
    for phase in phases:
        if phase.name not in stages:
            raise ConfigError(
                f"the blend has no stage {phase.name!r}, which the config has as a phase",
                hint=f"its stages are {', '.join(stages)}",
            )
        if phase.tokens is not None or phase.mix:
            raise ConfigError(
                f"phase {phase.name!r} has `{'mix' if phase.mix else 'tokens'}`, and the blend has too",
                hint="leave it out of the config",
            )
    if missing := [name for name in stages if name not in {phase.name for phase in phases}]:
        raise ConfigError(f"the blend's stage {missing[0]!r} is no phase of the config", hint="add it, or blend anew")
    filled = tuple(
        phase.model_copy(
            update={
                "tokens": stages[phase.name].tokens,
                "mix": {part: share.weight for part, share in stages[phase.name].domains.items() if share.weight},
            }
        )
        for phase in phases
    )
    return config.model_copy(update={"phases": filled})
