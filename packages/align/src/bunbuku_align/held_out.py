"""How well a model does on rows that it was not trained on: plain forward passes, apart from the trainer's own.

Means are over trained tokens (dialogues) or over pairs (preferences) of all rows together, not over batches, so they do
not depend on how rows were batched; the balancing loss of a mixture of experts is no part of them.
"""

# Shapes: B rows, S tokens, N trained tokens of all rows, D model, V vocabulary

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch
from peft import PeftModel
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from bunbuku_align.examples import IGNORED, Example, Pair


def measure_dialogues(model: PeftModel, rows: Sequence[Example], *, pad_id: int, batch: int) -> dict[str, float]:
    """Mean loss in nats and share of right first guesses, over the trained tokens of `rows`."""
    loss = right = tokens = 0.0
    for some in _batches(rows, batch):
        found = _measure(model, [(row.input_ids, row.labels) for row in some], pad_id)
        loss -= found.logprobs_B.sum().item()
        right += found.right
        tokens += sum(row.trained for row in some)
    return {"loss": loss / tokens, "accuracy": right / tokens}


def measure_preferences(
    model: PeftModel, rows: Sequence[Pair], *, pad_id: int, batch: int, beta: float
) -> dict[str, float]:
    """Mean DPO loss, mean margin of rewards and share of pairs whose chosen answer has the higher reward, ties a half.

    A reward is beta · (log π(answer) - log π₀(answer)); π₀ is the model with its adapter switched off.
    """
    losses: list[torch.Tensor] = []
    margins: list[torch.Tensor] = []
    for some in _batches(rows, batch):
        answers = [_answer(row.prompt_ids, row.chosen_ids) for row in some]
        answers += [_answer(row.prompt_ids, row.rejected_ids) for row in some]
        policy_B = _measure(model, answers, pad_id).logprobs_B
        with model.disable_adapter():
            reference_B = _measure(model, answers, pad_id).logprobs_B
        chosen_B, rejected_B = (beta * (policy_B - reference_B)).chunk(2)
        margins.append(chosen_B - rejected_B)
        losses.append(-functional.logsigmoid(chosen_B - rejected_B))
    margin = torch.cat(margins)
    return {
        "loss": torch.cat(losses).mean().item(),
        "margin": margin.mean().item(),
        "accuracy": ((margin.sign() + 1) / 2).mean().item(),
    }


class _Measured(NamedTuple):
    logprobs_B: torch.Tensor
    """Log-probability of a row's trained tokens, summed."""
    right: int
    """Trained tokens of all rows that were the first guess."""


@torch.no_grad()
def _measure(model: PeftModel, rows: Sequence[tuple[list[int], list[int]]], pad_id: int) -> _Measured:
    """Log-probabilities of trained tokens. Only their logits are computed: most of a dialogue is given."""
    causal = cast(PreTrainedModel, model.get_base_model())
    was_training = model.training
    model.eval()
    ids_BS = _padded([ids for ids, _ in rows], pad_id).to(model.device)
    mask_BS = _padded([[1] * len(ids) for ids, _ in rows], 0).to(model.device)
    labels_BS = _padded([labels for _, labels in rows], IGNORED).to(model.device)[:, 1:]
    hidden_BSD = causal.base_model(input_ids=ids_BS, attention_mask=mask_BS, use_cache=False).last_hidden_state[:, :-1]
    trained_BS = labels_BS != IGNORED
    logits_NV = cast(nn.Module, causal.get_output_embeddings())(hidden_BSD[trained_BS]).float()
    model.train(was_training)
    labels_N = labels_BS[trained_BS]
    loss_BS = torch.zeros(labels_BS.shape, dtype=torch.float64, device=model.device)
    loss_BS[trained_BS] = functional.cross_entropy(logits_NV, labels_N, reduction="none").double()
    return _Measured(-loss_BS.sum(1), int((logits_NV.argmax(-1) == labels_N).sum()))


def _answer(prompt_ids: list[int], answer_ids: list[int]) -> tuple[list[int], list[int]]:
    return prompt_ids + answer_ids, [IGNORED] * len(prompt_ids) + answer_ids


def _padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def _batches[T: (Example, Pair)](rows: Sequence[T], batch: int) -> Iterator[Sequence[T]]:
    """Rows of like length together, so that little is padded."""
    ordered = sorted(rows, key=lambda row: row.length)
    for start in range(0, len(ordered), batch):
        yield ordered[start : start + batch]
