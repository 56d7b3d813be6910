"""What a model answers before and after a training, to a few prompts that it is not trained on."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from transformers import GenerationConfig

from bunbuku_align.held_out import AnyModel, bare
from bunbuku_align.ranks import as_forward, first
from bunbuku_align.reporting import Sample
from bunbuku_align.template import ChatTokenizer


class Asked(NamedTuple):
    """A prompt and the answer that the data has."""

    prompt_ids: list[int]
    answer_ids: list[int]


class Sampler:
    """Answers before a training, which are kept in its scratch folder, and after it."""

    def __init__(
        self, model: AnyModel, chat: ChatTokenizer, asked: Sequence[Asked], most_tokens: int, scratch: Path
    ) -> None:
        self.model = model
        self.chat = chat
        self.asked = asked
        self.most_tokens = most_tokens
        self._kept = scratch / "before.json"

    def ask_before(self) -> None:
        """Let the model answer before its first step. A training that goes on finds what was said."""
        with self.model.disable_adapter() if isinstance(self.model, PeftModel) else nullcontext():
            answers = self._answers()
        if first():
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            self._kept.write_text(json.dumps(answers), encoding="utf-8")

    def compare(self) -> list[Sample]:
        """All of them, with what is answered now."""
        read, now = self.chat.tokenizer.decode, self._answers()
        before: list[list[int]] = json.loads(self._kept.read_text(encoding="utf-8"))
        return [
            Sample(
                read(asked.prompt_ids),
                read(asked.answer_ids, skip_special_tokens=True),
                read(then, skip_special_tokens=True),
                read(after, skip_special_tokens=True),
                len(then),
                len(after),
            )
            for asked, then, after in zip(self.asked, before, now, strict=True)
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
            generate: Any = model.generate
            asking = partial(generate, ids, attention_mask=torch.ones_like(ids), generation_config=settings)
            written: torch.Tensor = as_forward(self.model, asking)
            found.append(written[0, ids.shape[1] :].tolist())
        self.model.train(was_training)
        return found
