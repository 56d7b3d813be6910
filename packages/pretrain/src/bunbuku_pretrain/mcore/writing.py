"""What the model writes when it is validated: it goes on from prompts, always with its likeliest token.

All prompts go through the model at once, filled up to one length on the right, which causal attention does not see, and
anew for every token: there is no cache to keep right under every layout. Every rank takes part; the one whose share of
the vocabulary has the likeliest token says which.

Shapes: B prompts, S tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from megatron.core import parallel_state

from bunbuku_pretrain.job import Job
from bunbuku_pretrain.mcore.runtime import Runtime
from bunbuku_pretrain.observations import Prompts, Sample, append, prompts_file, samples_file

type ForwardBackward = Callable[..., list[Any]]


class Writer:
    """Writes samples of the model, on every rank; the first one keeps them."""

    def __init__(self, job: Job, runtime: Runtime) -> None:
        self._job, self._runtime = job, runtime
        path = prompts_file(job.scratch)
        self._prompts = Prompts.model_validate_json(path.read_bytes()) if path.is_file() else None

    @torch.no_grad()
    def write(self, model: Any, forward_backward: ForwardBackward, step: int, beat: Callable[[], None]) -> None:
        """Go on from every prompt. Every rank must ask; the model is left as it is for evaluation. Beats at every token."""
        if self._prompts is None or not self._prompts.prompts:
            return
        model.eval()
        for prompt, ids in zip(self._prompts.prompts, self._written(model, forward_backward, beat), strict=True):
            if self._runtime.leads:
                append(samples_file(self._job.scratch), Sample(step=step, prompt=prompt.text, ids=tuple(ids)))

    def _written(self, model: Any, forward_backward: ForwardBackward, beat: Callable[[], None]) -> list[list[int]]:
        assert self._prompts is not None
        wanted, end = self._job.settings.watch.sample_tokens, self._prompts.end
        # Sequence parallel ranks share what they compute evenly.
        even = self._job.settings.tensor_parallel
        longest = self._job.config.sequence_length // even * even
        begun = [list(prompt.ids[-(longest - 1) :]) for prompt in self._prompts.prompts]
        length = min(longest, -(-(max(map(len, begun)) + wanted) // even) * even)
        texts = [list(ids) for ids in begun]
        going = set(range(len(texts)))
        for _ in range(wanted):
            going = {index for index in going if len(texts[index]) < length}
            if not going:
                break
            beat()
            likeliest = self._likeliest(model, forward_backward, texts, length)
            for index in sorted(going):
                if likeliest[index] == end:
                    going.discard(index)
                else:
                    texts[index].append(likeliest[index])
        return [text[len(ids) :] for text, ids in zip(texts, begun, strict=True)]

    def _likeliest(
        self, model: Any, forward_backward: ForwardBackward, texts: list[list[int]], length: int
    ) -> list[int]:
        """The likeliest next token of every text."""
        device = self._runtime.device
        tokens_BS = torch.tensor([text + [0] * (length - len(text)) for text in texts], device=device)
        last_B = torch.tensor([len(text) - 1 for text in texts], device=device)

        def forward(batches: Iterator[torch.Tensor], part: Any) -> tuple[torch.Tensor, Callable[..., torch.Tensor]]:
            batch_BS = next(batches)
            positions_BS = torch.arange(length, device=device).expand_as(batch_BS)
            return part(batch_BS, positions_BS, None), lambda logits_BSV, **_: logits_BSV[range(len(texts)), last_B]

        found = forward_backward(
            forward_step_func=forward,
            data_iterator=iter([tokens_BS]),
            model=[model],
            num_microbatches=1,
            seq_length=length,
            micro_batch_size=len(texts),
            forward_only=True,
            collect_non_loss_data=True,
        )
        logits_B, ids_B = self._best(found[0] if found else None, len(texts))
        best_B = self._runtime.largest(logits_B.clone())
        # Of equal ones the first: the largest of negative numbers.
        return (-self._runtime.largest(torch.where(logits_B == best_B, -ids_B, -torch.inf))).long().tolist()

    def _best(self, logits_BV: torch.Tensor | None, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The largest logit that this rank has for each text, and whose it is; of a rank without logits, none."""
        if logits_BV is None:
            none = torch.full((count,), -torch.inf, dtype=torch.float64, device=self._runtime.device)
            return none, torch.zeros_like(none)
        begin = logits_BV.shape[-1] * parallel_state.get_tensor_model_parallel_rank()
        real = self._job.vocabulary - begin  # the rows after these only pad
        logits_BV = logits_BV.double()
        if real < logits_BV.shape[-1]:
            logits_BV[:, max(real, 0) :] = -torch.inf
        best = logits_BV.max(dim=-1)
        return best.values, (best.indices + begin).double()
