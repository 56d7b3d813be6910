"""Whether to upcycle: what a mixture of a dense model would cost, and what has been published about when it pays.

Costs are counted in operations (`Architecture.flops_per_token`): what went into the dense model, and what the tokens that
are left would cost as a mixture. Their ratio is what the published rules speak of.
"""

from typing import Literal, NamedTuple

from bunbuku_contracts import Architecture, Config
from pydantic import Field, PositiveFloat, PositiveInt

type Verdict = Literal["upcycle", "try both", "from scratch"]

GIB = 2**30
_DAY = 86_400


class Budget(Config):
    """What is left to train with."""

    tokens: PositiveInt
    """Tokens that the mixture would be trained on."""
    sequence_length: PositiveInt = 4096


class Gpus(Config):
    """What it would be trained on, where no plan says so. The defaults are H100s (NVIDIA's data sheet, dense bf16)."""

    count: PositiveInt
    peak_tflops: PositiveFloat = 989.4
    mfu: float = Field(default=0.3, gt=0, lt=1)
    """Share of the peak that is hoped for: an assumption, and the report says so."""

    def tokens_per_second(self, architecture: Architecture, sequence_length: int) -> float:
        """Tokens of training."""
        return self.count * self.peak_tflops * 1e12 * self.mfu / architecture.flops_per_token(sequence_length)


class Cost(NamedTuple):
    """A model, and what training it takes."""

    architecture: Architecture
    flops_per_token: float
    tokens_per_second: float | None
    memory_gib: float | None = None
    """Of the fullest GPU, where a plan says so."""

    def days(self, tokens: int) -> float | None:
        return None if self.tokens_per_second is None else tokens / self.tokens_per_second / _DAY


class Opinion(NamedTuple):
    """What a publication says at this ratio."""

    source: str
    seen_on: str
    rule: str
    verdict: Verdict | None
    """`None` where it says nothing."""


def opinions(ratio: float) -> list[Opinion]:
    """What is published, at a budget of the mixture of `ratio` times what the dense model has cost.

    >>> [opinions(ratio)[0].verdict for ratio in (0.3, 1.0, 2.0)]
    ['upcycle', 'try both', 'from scratch']
    """
    skywork: Verdict = "from scratch" if ratio >= 2 else "upcycle" if ratio < 2 / 3 else "try both"
    sparse: Verdict | None = "upcycle" if ratio <= 1 else None
    return [
        Opinion(
            "Skywork-MoE, Wei et al. 2024 (arXiv:2406.06563), section 3",
            "0.3 B dense, 8 experts, copies",
            "upcycle when the budget is far below the cost of the dense model, from scratch at twice its cost and above; "
            "in its figures scratch catches up at about two thirds",
            skywork,
        ),
        Opinion(
            "Sparse Upcycling, Komatsuzaki et al. 2022 (arXiv:2212.05055)",
            "T5 and vision transformers, copies",
            "ahead of a mixture from scratch up to a budget as large as the cost of the dense model",
            sparse,
        ),
        Opinion(
            "Drop-Upcycling, Nakamura et al. 2025 (arXiv:2502.19261)",
            "8 experts of 152 M to 3.7 B",
            "copies fall behind in the long run, experts redrawn by half stay ahead of scratch over hundreds of billions of "
            "tokens: with a large budget take the strategy 'drop'",
            None,
        ),
    ]
