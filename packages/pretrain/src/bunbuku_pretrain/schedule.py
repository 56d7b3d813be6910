"""Learning rates as a share of the peak, by tokens seen. A schedule is its config.

Every schedule warms up linearly from nothing. Steps are taken at the number of tokens they end at, so that the first
one learns something.
"""

import math
from typing import Annotated, Literal

from bunbuku_contracts import Config
from pydantic import Field, NonNegativeInt, PositiveInt

Share = Annotated[float, Field(ge=0, le=1)]


class Schedule(Config):
    """What all schedules have: a warm-up, then a course of their own."""

    warmup_tokens: NonNegativeInt = 0
    """Tokens over which the rate rises linearly to its peak."""

    def share(self, tokens: int, total_tokens: int) -> float:
        """Share of the peak rate after `tokens` of `total_tokens`."""
        if tokens < self.warmup_tokens:
            return tokens / self.warmup_tokens
        return self.after_warmup(tokens, total_tokens)

    def after_warmup(self, tokens: int, total_tokens: int) -> float:
        raise NotImplementedError


class Constant(Schedule):
    """The peak, to the end."""

    type: Literal["constant"] = "constant"

    def after_warmup(self, tokens: int, total_tokens: int) -> float:
        del tokens, total_tokens
        return 1.0


class Linear(Schedule):
    """A straight line from the peak to `final`.

    >>> Linear(warmup_tokens=10, final=0.5).share(55, 100)
    0.75
    """

    type: Literal["linear"] = "linear"
    final: Share = 0.0
    """Share of the peak at the end."""

    def after_warmup(self, tokens: int, total_tokens: int) -> float:
        return 1 - (1 - self.final) * progress(tokens, self.warmup_tokens, total_tokens)


class Cosine(Schedule):
    """Half a cosine from the peak to `final`, Loshchilov and Hutter 2017 (arXiv:1608.03983) eq. 5 without restarts.

    >>> [round(Cosine(warmup_tokens=10, final=0.1).share(tokens, 110), 2) for tokens in (5, 10, 60, 110)]
    [0.5, 1.0, 0.55, 0.1]
    """

    type: Literal["cosine"] = "cosine"
    final: Share = 0.1
    """Share of the peak at the end."""

    def after_warmup(self, tokens: int, total_tokens: int) -> float:
        angle = math.pi * progress(tokens, self.warmup_tokens, total_tokens)
        return self.final + (1 - self.final) * (1 + math.cos(angle)) / 2


class WarmupStableDecay(Schedule):
    """The peak until the last `decay_tokens`, then down to `final`: Hu et al. 2024 (arXiv:2404.06395) eq. 1.

    Departs: their decay is exponential; `sqrt` is 1 - sqrt(progress), Hägele et al. 2024 (arXiv:2405.18392) eq. 3.

    >>> stable = WarmupStableDecay(warmup_tokens=10, decay_tokens=20, decay="linear")
    >>> [stable.share(tokens, 100) for tokens in (5, 50, 80, 90, 100)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    type: Literal["wsd"] = "wsd"
    decay_tokens: PositiveInt
    """Tokens at the end over which the rate falls."""
    decay: Literal["linear", "sqrt"] = "sqrt"
    final: Share = 0.0
    """Share of the peak at the end."""

    def after_warmup(self, tokens: int, total_tokens: int) -> float:
        fallen = progress(tokens, total_tokens - self.decay_tokens, total_tokens)
        return 1 - (1 - self.final) * (math.sqrt(fallen) if self.decay == "sqrt" else fallen)


class Stairs(Schedule):
    """From `first` up to the peak in equal factors, as long on each stair: what `lr-range` trains with.

    >>> stairs = Stairs(first=0.01, stairs=3)
    >>> [round(stairs.share(tokens, 30), 4) for tokens in (1, 10, 11, 20, 21, 30)]
    [0.01, 0.01, 0.1, 0.1, 1.0, 1.0]
    """

    type: Literal["stairs"] = "stairs"
    first: Annotated[float, Field(gt=0, lt=1)]
    """Share of the peak on the first stair."""
    stairs: Annotated[int, Field(ge=2)]

    def stair(self, tokens: int, total_tokens: int) -> int:
        """Which stair, from 0, a step that ends at so many tokens is on."""
        return min(self.stairs - 1, (tokens - 1) * self.stairs // total_tokens)

    def after_warmup(self, tokens: int, total_tokens: int) -> float:
        return self.first ** (1 - self.stair(tokens, total_tokens) / (self.stairs - 1))


AnySchedule = Annotated[Constant | Linear | Cosine | WarmupStableDecay | Stairs, Field(discriminator="type")]


def progress(tokens: int, begin: int, end: int) -> float:
    """How far `tokens` lies on the way from `begin` to `end`, between 0 and 1."""
    return 1.0 if end <= begin else min(1.0, max(0.0, (tokens - begin) / (end - begin)))
