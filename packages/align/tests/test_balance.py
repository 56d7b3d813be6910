"""The load-balancing loss of experts."""

import pytest
import torch
from bunbuku_align.balance import load_balancing_loss


def test_tokens_spread_evenly_cost_one_a_layer() -> None:
    logits = torch.eye(4).repeat(3, 1) * 50
    assert load_balancing_loss((logits,), 1).item() == pytest.approx(1)
    assert load_balancing_loss((logits, logits), 1).item() == pytest.approx(2)


def test_one_expert_for_all_tokens_costs_as_much_as_there_are_experts() -> None:
    logits = torch.tensor([[50.0, 0, 0, 0]]).repeat(5, 1)
    assert load_balancing_loss((logits,), 1).item() == pytest.approx(4)


def test_layers_that_each_overload_another_expert_are_not_balanced() -> None:
    layers = tuple(torch.eye(4)[expert].repeat(6, 1) * 50 for expert in range(4))
    assert load_balancing_loss(layers, 1).item() == pytest.approx(16)


def test_two_experts_a_token_cost_one_a_layer_too() -> None:
    pairs = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]) * 50
    assert load_balancing_loss((pairs,), 2).item() == pytest.approx(1)


def test_padding_counts_nowhere() -> None:
    torch.manual_seed(0)
    logits, padding = torch.randn(6, 4), torch.randn(2, 4)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0]])
    padded = torch.cat([logits[:3], padding[:1], logits[3:], padding[1:]])
    assert load_balancing_loss((padded,), 2, mask).item() == pytest.approx(load_balancing_loss((logits,), 2).item())
