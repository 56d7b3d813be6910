"""How text of several kinds is blended for a training: what `corpus blend` writes and `pretrain train` reads.

A stage of the training reads so many tokens; each part of the tokens artifact gives its share of them. The artifact's
part `blend` is one file, `blend.json`, which is a `Blend`.
"""

from bunbuku_contracts.manifest import Frozen


class BlendShare(Frozen):
    """A part of the tokens in one stage."""

    weight: float
    """Share of the stage's tokens."""
    tokens: int
    epochs: float
    """How often the part is read in this stage."""


class BlendStage(Frozen):
    """One stage of the training."""

    name: str
    tokens: int
    domains: dict[str, BlendShare]
    """By the name of the part."""


class Blend(Frozen):
    """How many tokens of which part are read when."""

    stages: tuple[BlendStage, ...]
    epochs: dict[str, float]
    """How often each part is read in all stages together."""

    @property
    def tokens(self) -> int:
        return sum(stage.tokens for stage in self.stages)
