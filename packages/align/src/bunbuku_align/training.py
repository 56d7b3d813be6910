"""What a training run is asked for: the data's limits, the optimiser, and what may change in the model."""

import math
from typing import Annotated, Literal, Self

from bunbuku_contracts import Config
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

type Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj"]


class Lora(Config):
    """Low-rank updates beside frozen weights, Hu et al. 2021 (arXiv:2106.09685): W + alpha/rank · B·A."""

    type: Literal["lora"] = "lora"
    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    """The update is scaled by `alpha / rank`."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a layer's inputs that its update does not see. Preference training runs without, whatever stands here."""
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Projections of the attention that get an update, in every layer. Experts and router stay as they are."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"`targets` names a projection twice: {self.targets}")
        return self


class TrainingConfig(Config):
    """What supervised and preference training share."""

    max_tokens: Annotated[int, Field(ge=2)] = 1024
    """Longest example; what is longer is cut after a whole answer or dropped, and counted."""
    held_out_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the rows that are never trained but measured, chosen by the hash of their id."""
    evaluations: PositiveInt = 4
    """How often the held-out rows are measured after the start: evenly spread, the last time at the end."""
    epochs: PositiveFloat = 1.0
    max_steps: PositiveInt | None = None
    """Stop after so many steps even if epochs are left."""
    batch_examples: PositiveInt = 32
    """Dialogues (of preferences: pairs) behind one step of the optimiser."""
    learning_rate: PositiveFloat = 1e-4
    """Of AdamW, reached after the warm-up."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate goes on after the warm-up: `cosine` and `linear` end at zero."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps over which the learning rate rises from zero."""
    weight_decay: NonNegativeFloat = 0.0
    gradient_clip: PositiveFloat = 1.0
    """Largest norm of a step's gradient."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` computes in mixed precision; the trained weights are kept in float32 either way."""
    seed: NonNegativeInt = 0
    """Of the adapter's start, the order of the rows and dropout."""
    adapter: Lora = Lora()

    def examples(self, rows: int) -> int:
        """Rows that are trained on out of `rows`, each counted as often as it comes.

        >>> TrainingConfig(epochs=1.5).examples(100), TrainingConfig(max_steps=2, batch_examples=8).examples(100)
        (150, 16)
        """
        asked = max(1, round(self.epochs * rows))
        return asked if self.max_steps is None else min(asked, self.max_steps * self.batch_examples)

    def steps(self, rows: int) -> int:
        """Optimiser steps over `rows`; the last batch may be short.

        >>> TrainingConfig(epochs=1.5, batch_examples=32).steps(100)
        5
        """
        return math.ceil(self.examples(rows) / self.batch_examples)

    def measured_at(self, steps: int) -> frozenset[int]:
        """Steps after which the held-out rows are measured, out of `steps`.

        >>> sorted(TrainingConfig(evaluations=4).measured_at(90))
        [22, 45, 68, 90]
        """
        return frozenset(max(1, round(steps * part / self.evaluations)) for part in range(1, self.evaluations + 1))

    def warmup_steps(self, steps: int) -> int:
        """Steps of the warm-up out of `steps`."""
        return round(self.warmup_share * steps)


class Dpo(Config):
    """Direct preference optimisation, Rafailov et al. 2023 (arXiv:2305.18290) eq. 7.

    The loss is -log σ(beta · ((log π(chosen) - log π₀(chosen)) - (log π(rejected) - log π₀(rejected)))), the mean over
    pairs; π₀ is the checkpoint that training starts from.
    """

    type: Literal["dpo"] = "dpo"
    beta: PositiveFloat = 0.1
    """How much a difference in log-probability counts as reward: the smaller, the further the model may move."""


class SftConfig(TrainingConfig):
    """Supervised fine-tuning on dialogues."""


class DpoConfig(TrainingConfig):
    """Optimisation towards preferred answers."""

    learning_rate: PositiveFloat = 5e-5
    """Of AdamW, reached after the warm-up."""
    objective: Dpo = Dpo()


class MergeConfig(Config):
    """Folding an adapter into its weights asks for nothing: the adapter says it all."""
