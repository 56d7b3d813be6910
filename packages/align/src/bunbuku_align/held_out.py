"""How well a model does on rows that it was not trained on: plain forward passes, apart from the trainer's own.

Means are over trained tokens (dialogues) or over pairs (preferences) of all rows together, not over batches, so they do
not depend on how rows were batched; the balancing loss of a mixture of experts is no part of them.
"""

# Shapes: B rows, S tokens, V vocabulary.

from collections.abc import Iterator, Sequence

import torch
from peft import PeftModel
from torch.nn import functional

from bunbuku_align.examples import IGNORED, Example, Pair


def measure_dialogues(model: PeftModel, rows: Sequence[Example], *, pad_id: int, batch: int) -> dict[str, float]:
    """Mean loss in nats and share of correct first guesses, over the trained tokens of `rows`."""
    loss = right = tokens = 0.0
    for some in _batches(rows, batch):
        logprobs_BS, first_BS, trained_BS = _answers(model, [(row.input_ids, row.labels) for row in some], pad_id)
        loss -= logprobs_BS.double().sum().item()
        right += first_BS.sum().item()
        tokens += trained_BS.sum().item()
    return {"loss": loss / tokens, "accuracy": right / tokens}


def measure_preferences(
    model: PeftModel, rows: Sequence[Pair], *, pad_id: int, batch: int, beta: float
) -> dict[str, float]:
    """Mean DPO loss, margin of rewards and share of pairs whose chosen answer has the higher reward.

    A reward is beta · (log π(answer) - log π₀(answer)); π₀ is the model with its adapter switched off.
    """
    losses: list[torch.Tensor] = []
    margins: list[torch.Tensor] = []
    for some in _batches(rows, batch):
        answers = [_answer(row.prompt_ids, row.chosen_ids) for row in some]
        answers += [_answer(row.prompt_ids, row.rejected_ids) for row in some]
        policy_B = _answers(model, answers, pad_id)[0].double().sum(1)
        with model.disable_adapter():
            reference_B = _answers(model, answers, pad_id)[0].double().sum(1)
        chosen_B, rejected_B = (beta * (policy_B - reference_B)).chunk(2)
        margins.append(chosen_B - rejected_B)
        losses.append(-functional.logsigmoid(chosen_B - rejected_B))
    margin = torch.cat(margins)
    return {
        "loss": torch.cat(losses).mean().item(),
        "margin": margin.mean().item(),
        "accuracy": (margin > 0).double().mean().item(),
    }


@torch.no_grad()
def _answers(
    model: PeftModel, rows: Sequence[tuple[list[int], list[int]]], pad_id: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each token but the first: its log-probability where trained (else 0), whether it came first, whether trained."""
    was_training = model.training
    model.eval()
    ids_BS = _padded([ids for ids, _ in rows], pad_id).to(model.device)
    labels_BS = _padded([labels for _, labels in rows], IGNORED).to(model.device)[:, 1:]
    mask_BS = _padded([[1] * len(ids) for ids, _ in rows], 0).to(model.device)
    logits_BSV = model(input_ids=ids_BS, attention_mask=mask_BS, use_cache=False).logits[:, :-1].float()
    model.train(was_training)
    trained_BS = labels_BS != IGNORED
    losses = functional.cross_entropy(logits_BSV.transpose(1, 2), labels_BS, ignore_index=IGNORED, reduction="none")
    return -losses, (logits_BSV.argmax(-1) == labels_BS) & trained_BS, trained_BS


def _answer(prompt_ids: list[int], answer_ids: list[int]) -> tuple[list[int], list[int]]:
    return prompt_ids + answer_ids, [IGNORED] * len(prompt_ids) + answer_ids


def _padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def _batches[T: tuple[list[int], ...]](rows: Sequence[T], batch: int) -> Iterator[Sequence[T]]:
    """Rows of like length together, so that little is padded."""
    ordered = sorted(rows, key=lambda row: sum(map(len, row)))
    for start in range(0, len(ordered), batch):
        yield ordered[start : start + batch]
