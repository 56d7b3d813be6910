"""How hard a mixture's experts are pressed to share the load: the same all the time, or as hard as they need it.

Without a bound on what an expert takes no token is dropped here; counted is what would be, if each took no more than
`capacity_factor` times an even share.
"""

from collections.abc import Sequence
from typing import Annotated

from bunbuku_contracts import Config
from pydantic import Field, PositiveFloat


class AdaptiveBalance(Config):
    """Each layer's coefficient of the load-balancing loss follows the tokens that its experts would drop.

    Skywork-MoE (arXiv:2406.06563), section 4.2, whose values are the defaults: the coefficient moves slowly towards
    `sensitivity` times the share of dropped tokens, at most `largest`. It begins with the mixture's own.

    >>> even, uneven = [1.0, 1.0, 1.0, 1.0], [4.0, 0.0, 0.0, 0.0]
    >>> rule = AdaptiveBalance(smoothing=0.5)
    >>> rule.dropped(even), rule.dropped(uneven), rule.after(0.01, even), rule.after(0.002, uneven)
    (0.0, 0.75, 0.005, 0.006)
    """

    sensitivity: PositiveFloat = 0.2
    """The paper's ξ."""
    largest: PositiveFloat = 0.01
    """Its α_max."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Its β: how much of the coefficient stays from step to step."""
    capacity_factor: PositiveFloat = 1.0
    """What an expert could take, over an even share."""

    def dropped(self, load: Sequence[float]) -> float:
        """Share of a layer's choices beyond the capacity, for loads over an even share."""
        return sum(max(one - self.capacity_factor, 0.0) for one in load) / len(load)

    def after(self, coefficient: float, load: Sequence[float]) -> float:
        """The coefficient of the next step."""
        wanted = min(self.sensitivity * self.dropped(load), self.largest)
        return self.smoothing * coefficient + (1 - self.smoothing) * wanted
