"""What a training run is asked for: the data's limits, the optimiser, and what may change in the model."""

import math
from typing import Annotated, Literal, Self

from bunbuku_contracts import Config
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

type Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


class Lora(Config):
    """Low-rank updates beside frozen weights, Hu et al. 2021 (arXiv:2106.09685): W + alpha/rank · B·A."""

    type: Literal["lora"] = "lora"
    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    """The update is scaled by `alpha / rank`."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a layer's inputs that its update does not see. Preference training runs without, whatever stands here."""
    targets: Annotated[tuple[Projection, ...], Field(min_length=1)] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Projections that get an update, in every layer; those of the feed-forward exist in dense models alone."""
    experts: bool = False
    """Whether every expert gets updates of its own, in all three projections. Not together with dropout."""
    router: bool = False
    """Whether the router gets an update. Not together with dropout."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"`targets` names a projection twice: {self.targets}")
        if self.dropout and (self.experts or self.router):
            raise ValueError(f"`dropout` {self.dropout} cannot be had on experts or router: set it to 0")
        return self

    def misses(self, *, mixture: bool) -> str | None:
        """What is asked for that a mixture of experts, or a dense model, does not have."""
        if mixture:
            return next((name for name in self.targets if name in _FEED_FORWARD), None)
        return "experts" if self.experts else "router" if self.router else None


class Full(Config):
    """No adapter: all weights are trained, and a whole checkpoint comes out."""

    type: Literal["full"] = "full"
    router: bool = True
    """Whether the router of a mixture is trained too."""


type AnyAdapter = Annotated[Lora | Full, Field(discriminator="type")]


class TrainingConfig(Config):
    """What supervised and preference training share."""

    max_tokens: Annotated[int, Field(ge=2)] = 1024
    """Longest example; what is longer is cut after a whole answer or dropped, and counted."""
    held_out_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the questions whose rows are never trained but measured, chosen by the hash of the first user turn."""
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
    adapter: AnyAdapter = Lora()
    """What may change: an adapter beside the weights, or all of them."""
    neftune_alpha: PositiveFloat | None = None
    """Noise on the embeddings of what is learnt, Jain et al. 2023 (arXiv:2310.05914): uniform, `alpha / sqrt(tokens · width)`,
    where tokens are those of a row, padding or packed dialogues included. Neither the reference nor held-out rows get any."""
    samples: NonNegativeInt = 3
    """Held-out rows that are answered before and after, for the report."""
    sample_tokens: PositiveInt = 48
    """Longest of those answers."""

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


class _Held(Config):
    """Objectives that hold the model near a reference: the checkpoint that training starts from."""

    beta: PositiveFloat = 0.1
    """How much a difference in log-probability counts as reward: the smaller, the further the model may move."""


class Dpo(_Held):
    """Direct preference optimisation, Rafailov et al. 2023 (arXiv:2305.18290) eq. 7.

    -log σ(beta · Δ), Δ = (log π(chosen) - log π₀(chosen)) - (log π(rejected) - log π₀(rejected)); the mean over pairs.
    """

    type: Literal["dpo"] = "dpo"


class Cdpo(_Held):
    """Conservative DPO (Mitchell 2023, https://ericmitchell.ai/cdpo.pdf eq. 3): a share of the labels may be wrong.

    -(1 - ε) · log σ(beta · Δ) - ε · log σ(-beta · Δ)
    """

    type: Literal["cdpo"] = "cdpo"
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.01
    """ε, the share of pairs that are taken to be the wrong way round."""


class Ddpo(Cdpo):
    """DPO with the penalty of Tanuki's training (option `ddpo_lambda` of its OpenRLHF fork; DPO-positive in kind).

    To DPO's loss, smoothed if asked, comes penalty · relu(log π₀(chosen) - log π(chosen)): the chosen answer is not to
    become less likely than it was. Departs from DPO-positive (Pal et al. 2024, arXiv:2402.13228), which has it inside σ.
    """

    type: Literal["ddpo"] = "ddpo"  # pyright: ignore[reportIncompatibleVariableOverride]
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    penalty: NonNegativeFloat = 0.1
    """λ."""


class Ipo(_Held):
    """Identity preference optimisation, Azar et al. 2023 (arXiv:2310.12036) eq. 17.

    (Δ - 1 / (2 · beta))², where Δ is of log-probabilities a token, as TRL has it and its authors report.
    """

    type: Literal["ipo"] = "ipo"


class Kto(_Held):
    """Kahneman-Tversky optimisation, Ethayarajh et al. 2024 (arXiv:2402.01306) eq. 7-8; a pair is a good and a bad answer.

    desirable_weight · (1 - σ(beta · (r_chosen - z))) and undesirable_weight · (1 - σ(beta · (z - r_rejected))), where r is
    a log-ratio to the reference and z its mean over mismatched prompts and answers of the batch, at least 0. The held-out
    loss takes z = 0.
    """

    type: Literal["kto"] = "kto"
    desirable_weight: PositiveFloat = 1.0
    undesirable_weight: PositiveFloat = 1.0


class Simpo(Config):
    """Simple preference optimisation, Meng et al. 2024 (arXiv:2405.14734) eq. 6; no reference.

    -log σ(beta · (mean log π(chosen) - mean log π(rejected)) - margin), means over an answer's tokens.
    """

    type: Literal["simpo"] = "simpo"
    beta: PositiveFloat = 2.0
    margin: NonNegativeFloat = 1.0
    """γ, by how much the chosen answer's reward is to be the larger."""


class Orpo(Config):
    """Odds-ratio preference optimisation, Hong et al. 2024 (arXiv:2403.07691) eq. 6-7; no reference.

    -mean log π(chosen) - weight · log σ(log odds(chosen) - log odds(rejected)), odds = p / (1 - p), log p the mean over an
    answer's tokens. Departs from TRL in that the first term is of the answer alone, as the paper has it.
    """

    type: Literal["orpo"] = "orpo"
    weight: PositiveFloat = 0.1
    """λ of the paper, which TRL calls beta."""


type AnyObjective = Annotated[Dpo | Cdpo | Ddpo | Ipo | Kto | Simpo | Orpo, Field(discriminator="type")]


class SftConfig(TrainingConfig):
    """Supervised fine-tuning on dialogues."""

    packing: bool = False
    """Put whole dialogues together into rows of up to `max_tokens`. None sees another; `batch_examples` counts rows then."""


class DpoConfig(TrainingConfig):
    """Optimisation towards preferred answers."""

    learning_rate: PositiveFloat = 5e-5
    """Of AdamW, reached after the warm-up."""
    objective: AnyObjective = Dpo()


class MergeConfig(Config):
    """Folding an adapter into its weights asks for nothing: the adapter says it all."""
