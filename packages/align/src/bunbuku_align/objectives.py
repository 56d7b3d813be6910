"""What preference training minimises, of log-probabilities: pure functions of tensors. The formulas are at the configs.

TRL computes DPO, IPO and KTO while training; these compute all seven, for what TRL has not and for held-out pairs.
"""

# Shapes: B pairs

from typing import NamedTuple

import torch
from torch.nn.functional import logsigmoid

from bunbuku_align.training import AnyObjective, Cdpo, Ddpo, Dpo, Ipo, Kto, Orpo, Simpo


class Answers(NamedTuple):
    """Log-probabilities of the answers of some pairs, summed over tokens, and how many tokens those are."""

    chosen_B: torch.Tensor
    rejected_B: torch.Tensor
    chosen_tokens_B: torch.Tensor
    rejected_tokens_B: torch.Tensor

    @property
    def means(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The same a token."""
        return self.chosen_B / self.chosen_tokens_B, self.rejected_B / self.rejected_tokens_B


class Reference(NamedTuple):
    """Log-probabilities that the reference gives to the same answers."""

    chosen_B: torch.Tensor
    rejected_B: torch.Tensor


class Judged(NamedTuple):
    """Of each pair: the loss, and the rewards whose difference is the margin."""

    loss_B: torch.Tensor
    chosen_rewards_B: torch.Tensor
    rejected_rewards_B: torch.Tensor


def needs_reference(objective: AnyObjective) -> bool:
    """Whether an objective asks what the reference says."""
    return not isinstance(objective, Simpo | Orpo)


def judge(objective: AnyObjective, policy: Answers, reference: Reference) -> Judged:
    """Losses and rewards of some pairs; an objective without reference does not look at it."""
    if isinstance(objective, Simpo):
        chosen_B, rejected_B = (objective.beta * mean_B for mean_B in policy.means)
        return Judged(-logsigmoid(chosen_B - rejected_B - objective.margin), chosen_B, rejected_B)
    if isinstance(objective, Orpo):
        chosen_B, rejected_B = policy.means
        odds_B = _log_odds(chosen_B) - _log_odds(rejected_B)
        return Judged(
            -chosen_B - objective.weight * logsigmoid(odds_B),
            objective.weight * chosen_B,
            objective.weight * rejected_B,
        )
    chosen_B, rejected_B = policy.chosen_B - reference.chosen_B, policy.rejected_B - reference.rejected_B
    rewards = objective.beta * chosen_B, objective.beta * rejected_B
    margin_B = rewards[0] - rewards[1]
    match objective:
        case Dpo():
            loss_B = -logsigmoid(margin_B)
        case Cdpo():
            wrong = objective.label_smoothing
            loss_B = -(1 - wrong) * logsigmoid(margin_B) - wrong * logsigmoid(-margin_B)
            if isinstance(objective, Ddpo):
                loss_B = loss_B + objective.penalty * (-chosen_B).relu()
        case Ipo():
            delta_B = chosen_B / policy.chosen_tokens_B - rejected_B / policy.rejected_tokens_B
            loss_B = (delta_B - 1 / (2 * objective.beta)).square()
        case Kto():
            good_B = objective.desirable_weight * (1 - rewards[0].sigmoid())
            loss_B = (good_B + objective.undesirable_weight * rewards[1].sigmoid()) / 2
    return Judged(loss_B, *rewards)


def _log_odds(logprob_B: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) from log p, exact where p is close to 1."""
    return logprob_B - torch.log(-torch.expm1(logprob_B))
