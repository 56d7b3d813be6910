"""What a model answers before and after a training, to a few prompts that it is not trained on."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from peft import PeftModel
from transformers import GenerationConfig

from bunbuku_align.held_out import AnyModel, bare
from bunbuku_align.reporting import Sample
from bunbuku_align.template import ChatTokenizer


class Asked(NamedTuple):
    """A prompt and the answer that the data has."""

    prompt_ids: list[int]
    answer_ids: list[int]


class Sampler:
    """Answers before the training when it is made, and after it when asked to compare."""

    def __init__(self, model: AnyModel, chat: ChatTokenizer, asked: Sequence[Asked], most_tokens: int) -> None:
        self.model = model
        self.chat = chat
        self.asked = asked
        self.most_tokens = most_tokens
        with model.disable_adapter() if isinstance(model, PeftModel) else nullcontext():
            self.before = self._answers()

    def compare(self) -> list[Sample]:
        """All of them, with what is answered now."""
        read = self.chat.tokenizer.decode
        return [
            Sample(
                read(asked.prompt_ids),
                read(asked.answer_ids, skip_special_tokens=True),
                read(before, skip_special_tokens=True),
                read(after, skip_special_tokens=True),
                len(before),
                len(after),
            )
            for asked, before, after in zip(self.asked, self.before, self._answers(), strict=True)
        ]

    @torch.no_grad()
    def _answers(self) -> list[list[int]]:
        """Greedy, one by one: a handful, and nothing is padded."""
        model, was_training, tokenizer = bare(self.model), self.model.training, self.chat.tokenizer
        self.model.eval()
        room = model.config.get_text_config().max_position_embeddings
        found: list[list[int]] = []
        for asked in self.asked:
            ids = torch.tensor([asked.prompt_ids], device=model.device)
            settings = GenerationConfig(
                do_sample=False,
                max_new_tokens=max(1, min(self.most_tokens, room - len(asked.prompt_ids))),
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
            written = model.generate(  # pyright: ignore[reportCallIssue]
                ids, attention_mask=torch.ones_like(ids), generation_config=settings
            )
            found.append(written[0, ids.shape[1] :].tolist())
        self.model.train(was_training)
        return found
