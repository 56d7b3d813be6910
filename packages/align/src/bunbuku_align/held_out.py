"""What a model makes of given answers: plain forward passes, apart from the trainer's own.

Means are over trained tokens (dialogues) or over pairs (preferences) of all rows together, not over batches, so they do
not depend on how rows were batched; the balancing loss of a mixture of experts is no part of them.
"""

# Shapes: B rows, S tokens, N trained tokens of all rows, D model, V vocabulary

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple, cast

import torch
from peft import PeftModel
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from bunbuku_align.examples import IGNORED, Example, Pair
from bunbuku_align.objectives import Answers, Reference, judge, needs_reference
from bunbuku_align.ranks import as_forward
from bunbuku_align.training import AnyObjective

type AnyModel = PreTrainedModel | PeftModel
_TIE = 1e-5
"""Margins below this are rounding: a reference that was asked in other batches differs by as much."""

_TOKENS_AT_ONCE = 512

type Labelled = tuple[list[int], list[int]]
"""Ids and labels."""


def bare(model: AnyModel) -> PreTrainedModel:
    """The causal model, without what an adapter puts around it (its updates stay in it)."""
    return cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model


def measure_dialogues(model: AnyModel, rows: Sequence[Example], *, pad_id: int, batch: int) -> dict[str, float]:
    """Mean loss in nats and share of right first guesses, over the trained tokens of `rows`."""
    loss = right = tokens = 0.0
    for some in _batches(rows, batch):
        found = _measure(model, [(row.input_ids, row.labels) for row in some], pad_id)
        loss -= found.logprobs_B.sum().item()
        right += found.right
        tokens += sum(row.trained for row in some)
    return {"loss": loss / tokens, "accuracy": right / tokens}


def measure_preferences(
    model: AnyModel,
    rows: Sequence[Pair],
    *,
    pad_id: int,
    batch: int,
    objective: AnyObjective,
    reference: Sequence[tuple[float, float]] | None,
) -> dict[str, float]:
    """Mean loss, mean margin of rewards and share of pairs whose chosen answer has the higher reward, ties a half.

    The reference is the model with its adapter switched off, unless its log-probabilities are given. With an adapter, `kl` is
    how far the model has gone from where it started: KL(now || start) a token of the chosen answers, over whole distributions.
    """
    found: list[torch.Tensor] = []
    places = {id(row): place for place, row in enumerate(rows)}
    for some in _batches(rows, batch):
        answers = [answer(row.prompt_ids, ids) for row in some for ids in (row.chosen_ids, row.rejected_ids)]
        here = _measure(model, answers, pad_id)
        there = _measure(model, answers, pad_id, adapter=False) if isinstance(model, PeftModel) else None
        policy_B = here.logprobs_B
        if not needs_reference(objective):
            reference_B = torch.zeros_like(policy_B)
        elif reference is not None:
            given = [logprob for row in some for logprob in reference[places[id(row)]]]
            reference_B = torch.tensor(given, dtype=policy_B.dtype, device=policy_B.device)
        else:
            reference_B = (there or here).logprobs_B
        lengths = torch.tensor([[len(row.chosen_ids), len(row.rejected_ids)] for row in some], device=policy_B.device)
        judged = judge(
            objective,
            Answers(policy_B[::2], policy_B[1::2], lengths[:, 0], lengths[:, 1]),
            Reference(reference_B[::2], reference_B[1::2]),
        )
        margin_B = judged.chosen_rewards_B - judged.rejected_rewards_B
        far_B = policy_B - reference_B
        higher_B = (torch.where(margin_B.abs() < _TIE, 0.0, margin_B.sign()) + 1) / 2
        columns = [judged.loss_B, margin_B, higher_B, far_B[::2], far_B[1::2]]
        if there:
            columns.append(_divergence(model, here, there)[::2] / lengths[:, 0])
        found.append(torch.stack(columns))
    names = ("loss", "margin", "accuracy", "logratio_chosen", "logratio_rejected", "kl")[: len(found[0])]
    means = torch.cat(found, 1).mean(1).tolist()
    return dict(zip(names, means, strict=True))


def answer_logprobs(model: AnyModel, answers: Sequence[Labelled], *, pad_id: int, batch: int) -> list[float]:
    """Log-probabilities of what is labelled in each, in their order; an adapter is switched off."""
    order = sorted(range(len(answers)), key=lambda row: len(answers[row][0]))
    found = [0.0] * len(answers)
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        logprobs = _measure(model, [answers[row] for row in some], pad_id, adapter=False).logprobs_B.tolist()
        for row, logprob in zip(some, logprobs, strict=True):
            found[row] = logprob
    return found


def answer(prompt_ids: list[int], answer_ids: list[int]) -> Labelled:
    """A prompt with an answer of which every token is labelled."""
    return prompt_ids + answer_ids, [IGNORED] * len(prompt_ids) + answer_ids


class _Measured(NamedTuple):
    logprobs_B: torch.Tensor
    """Log-probability of a row's trained tokens, summed."""
    right: int
    """Trained tokens of all rows that were the first guess."""
    hidden_ND: torch.Tensor
    """What the head makes their logits of."""
    row_N: torch.Tensor
    """Of which row each of them is."""


@torch.no_grad()
def _measure(model: AnyModel, rows: Sequence[Labelled], pad_id: int, *, adapter: bool = True) -> _Measured:
    """Log-probabilities of trained tokens. Only their logits are computed: most of a dialogue is given."""
    causal = bare(model)
    was_training = model.training
    model.eval()
    ids_BS = _padded([ids for ids, _ in rows], pad_id).to(causal.device)
    mask_BS = _padded([[1] * len(ids) for ids, _ in rows], 0).to(causal.device)
    labels_BS = _padded([labels for _, labels in rows], IGNORED).to(causal.device)[:, 1:]
    trained_BS = labels_BS != IGNORED

    def compute() -> tuple[torch.Tensor, torch.Tensor]:
        output = causal.base_model(input_ids=ids_BS, attention_mask=mask_BS, use_cache=False)
        hidden_ND = output.last_hidden_state[:, :-1][trained_BS]
        return hidden_ND, cast(nn.Module, causal.get_output_embeddings())(hidden_ND).float()

    with model.disable_adapter() if isinstance(model, PeftModel) and not adapter else nullcontext():
        hidden_ND, logits_NV = as_forward(model, compute)
    model.train(was_training)
    labels_N = labels_BS[trained_BS]
    loss_BS = torch.zeros(labels_BS.shape, dtype=torch.float64, device=causal.device)
    loss_BS[trained_BS] = functional.cross_entropy(logits_NV, labels_N, reduction="none").double()
    right, row_N = int((logits_NV.argmax(-1) == labels_N).sum()), trained_BS.nonzero()[:, 0]
    return _Measured(-loss_BS.sum(1), right, hidden_ND, row_N)


@torch.no_grad()
def _divergence(model: AnyModel, here: _Measured, there: _Measured) -> torch.Tensor:
    """KL(here || there) of each row, summed over its trained tokens; logits of a few tokens at a time."""
    head = cast(nn.Module, bare(model).get_output_embeddings())

    def compute() -> torch.Tensor:
        parts = zip(here.hidden_ND.split(_TOKENS_AT_ONCE), there.hidden_ND.split(_TOKENS_AT_ONCE), strict=True)
        return torch.cat([_kl(head(one).float(), head(other).float()) for one, other in parts])

    kl_N = as_forward(model, compute)
    return torch.zeros_like(here.logprobs_B).index_add(0, here.row_N, kl_N.to(here.logprobs_B.dtype))


def _kl(here_NV: torch.Tensor, there_NV: torch.Tensor) -> torch.Tensor:
    """Of each pair of distributions, given as logits.

    >>> round(_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 1.0]]).log()).exp().item() ** 2, 4)
    1.3333
    """
    here_NV, there_NV = here_NV.log_softmax(-1), there_NV.log_softmax(-1)
    return (here_NV.exp() * (here_NV - there_NV)).sum(-1)


def _padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def _batches[T: (Example, Pair)](rows: Sequence[T], batch: int) -> Iterator[Sequence[T]]:
    """Rows of like length together, so that little is padded."""
    ordered = sorted(rows, key=lambda row: row.length)
    for start in range(0, len(ordered), batch):
        yield ordered[start : start + batch]
