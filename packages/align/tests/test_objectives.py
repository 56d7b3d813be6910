"""Every objective on one pair of three tokens, through its trainer, against numbers worked out by hand."""

import math
from math import log, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from bunbuku_align.objectives import Answers, Reference, judge
from bunbuku_align.trainers import preference_trainer
from bunbuku_align.training import AnyObjective, Cdpo, Ddpo, Dpo, Ipo, Kto, Orpo, Simpo
from datasets import Dataset
from torch import nn
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

# The model knows only the token before: p(1|0) = 1/2, p(2|1) = 2/5, p(3|0) = 1/4.
# So p(chosen) = p(1|0) · p(2|1) = 1/5 in two tokens, and p(rejected) = p(3|0) = 1/4 in one.
WIDTH = 8
CHOSEN, REJECTED = log(1 / 5), log(1 / 4)
ODDS = sqrt(1 / 5) / (1 - sqrt(1 / 5)) / (0.25 / 0.75)

CASES: list[tuple[AnyObjective, float, float, float]] = [
    # The reference gives 1/10 to the chosen and 1/2 to the rejected: log-ratios log 2 and -log 2, Δ = log 4.
    (Dpo(beta=1), 1 / 10, 1 / 2, log(1 + 1 / 4)),
    (Dpo(beta=0.5), 1 / 10, 1 / 2, log(1 + 1 / 2)),
    (Cdpo(beta=1, label_smoothing=0.1), 1 / 10, 1 / 2, 0.9 * log(1 + 1 / 4) + 0.1 * log(1 + 4)),
    (Cdpo(beta=1, label_smoothing=0), 1 / 10, 1 / 2, log(1 + 1 / 4)),
    (Ipo(beta=0.5), 1 / 10, 1 / 2, (log(2) / 2 + log(2) - 1) ** 2),
    # The chosen answer is likelier than it was: no penalty. Then the reference gives it 2/5, it lost log 2, and Δ = 0.
    (Ddpo(beta=1, penalty=3), 1 / 10, 1 / 2, log(1 + 1 / 4)),
    (Ddpo(beta=1, penalty=3), 2 / 5, 1 / 2, log(2) + 3 * log(2)),
    (Ddpo(beta=1, penalty=0), 2 / 5, 1 / 2, log(2)),
    (Ddpo(beta=1, penalty=3, label_smoothing=0.2), 2 / 5, 1 / 2, log(2) + 3 * log(2)),
    # No reference: whatever it says.
    (Simpo(beta=2, margin=1), 1 / 10, 1 / 2, log(1 + math.e / (0.2 / 0.25**2))),
    (Simpo(beta=1, margin=0), 0.9, 0.1, log(1 + 0.25 / sqrt(0.2))),
    (Orpo(weight=0.1), 1 / 10, 1 / 2, -log(1 / 5) / 2 + 0.1 * log(1 + 1 / ODDS)),
]


@pytest.fixture(scope="module")
def tokenizer(make) -> Any:
    return AutoTokenizer.from_pretrained(make.model().dir)


def bigrams() -> LlamaForCausalLM:
    """Attention and feed-forward are silenced and embeddings are axes: what is said depends on the last token alone."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WIDTH, hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, pad_token_id=7, rms_norm_eps=0.0,
        )
    )  # fmt: skip
    table = torch.full((WIDTH, WIDTH), 1.0 / WIDTH, dtype=torch.float64)
    table[0] = torch.tensor([0.05, 0.5, 0.05, 0.25, 0.05, 0.05, 0.025, 0.025])
    table[1] = torch.tensor([0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 0.05, 0.05])
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(WIDTH))
        model.lm_head.weight.copy_(table.log().T / sqrt(WIDTH))
    return model


def trained_loss(objective: AnyObjective, rows: list[dict[str, Any]], tokenizer, folder: Path) -> float:
    arguments = {
        "output_dir": str(folder),
        "max_steps": 1,
        "per_device_train_batch_size": 1,
        "report_to": "none",
        "use_cpu": True,
        "max_length": None,
        "precompute_ref_log_probs": True,
    }
    trainer = preference_trainer(
        objective, arguments, model=bigrams(), train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )
    batch = trainer.data_collator(rows)
    assert isinstance(trainer.model, nn.Module)
    loss: torch.Tensor = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in trainer.model.parameters())
    return loss.item()


@pytest.mark.parametrize(
    ("objective", "chosen", "rejected", "expected"), CASES, ids=lambda value: getattr(value, "type", "")
)
def test_the_loss_that_is_trained_is_the_one_worked_out_by_hand(
    objective, chosen, rejected, expected, tokenizer, tmp_path: Path
) -> None:
    row = {"prompt_ids": [0], "chosen_ids": [1, 2], "rejected_ids": [3]}
    row |= {"ref_chosen_logps": log(chosen), "ref_rejected_logps": log(rejected)}
    assert trained_loss(objective, [row], tokenizer, tmp_path) == pytest.approx(expected, abs=1e-5)


def test_the_loss_of_kto_is_the_one_worked_out_by_hand(tokenizer, tmp_path: Path) -> None:
    """Mismatched, the answers have log-ratios 0 and log 2: z = log(2) / 2, between the ratios log 2 and -log 2."""
    rows = [
        {
            "prompt_ids": [0], "completion_ids": [1, 2], "KL_completion_ids": [3], "label": True,
            "ref_logps": log(1 / 10), "ref_KL_logps": log(1 / 4),
        },
        {
            "prompt_ids": [0], "completion_ids": [3], "KL_completion_ids": [1, 2], "label": False,
            "ref_logps": log(1 / 2), "ref_KL_logps": log(1 / 10),
        },
    ]  # fmt: skip
    good, bad = 1 / (1 + sqrt(2)), 1 / (1 + 2 * sqrt(2))
    loss = trained_loss(Kto(beta=1, desirable_weight=2, undesirable_weight=3), rows, tokenizer, tmp_path)
    assert loss == pytest.approx((2 * good + 3 * bad) / 2, abs=1e-5)


@pytest.mark.parametrize(
    ("objective", "chosen", "rejected", "expected"), CASES, ids=lambda value: getattr(value, "type", "")
)
def test_the_loss_of_held_out_pairs_is_the_same(objective, chosen, rejected, expected) -> None:
    policy = Answers(*(torch.tensor([value], dtype=torch.float64) for value in (CHOSEN, REJECTED, 2, 1)))
    reference = Reference(*(torch.tensor([log(value)], dtype=torch.float64) for value in (chosen, rejected)))
    assert judge(objective, policy, reference).loss_B.item() == pytest.approx(expected)


def test_the_held_out_loss_of_kto_takes_no_account_of_mismatched_pairs() -> None:
    policy = Answers(*(torch.tensor([value], dtype=torch.float64) for value in (CHOSEN, REJECTED, 2, 1)))
    reference = Reference(*(torch.tensor([log(value)], dtype=torch.float64) for value in (1 / 10, 1 / 2)))
    judged = judge(Kto(beta=1), policy, reference)
    assert judged.loss_B.item() == pytest.approx(1 / 3)
    assert (judged.chosen_rewards_B - judged.rejected_rewards_B).item() == pytest.approx(log(4))
