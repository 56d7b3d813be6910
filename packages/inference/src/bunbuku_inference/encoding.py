"""Prompts as the tokens a model reads, for engines that have the model's tokenizer at hand.

Chat messages are rendered with the tokenizer's chat template, up to and including its generation prompt. Raw prompts are
taken as they are, after the begin-of-sequence token if the tokenizer puts one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jinja2

from bunbuku_inference.errors import EngineError
from bunbuku_inference.request import Failure, Prompt, ScoreRequest
from bunbuku_inference.span import shared

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTEXT_TOKENS = 8
"""Tokens of the prompt decoded together with its continuation: a first space, and characters cut in two, come out right."""


class Scored(NamedTuple):
    """Tokens of a text, of which those from `first` on are scored."""

    ids: list[int]
    first: int


class Encoder:
    """A model's tokenizer, as far as asking it needs one."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, name: str) -> None:
        self.tokenizer = tokenizer
        self.name = name
        self._bos = [tokenizer.bos_token_id] if isinstance(tokenizer.bos_token_id, int) else []
        self._puts_bos = bool(self._bos) and tokenizer("").input_ids[:1] == self._bos

    def prompt(self, prompt: Prompt) -> list[int] | Failure:
        """Tokens of a prompt; at least one."""
        text = self._render(prompt)
        if isinstance(text, Failure):
            return text
        return self._encode(text, puts_bos=self._puts_bos and isinstance(prompt, str)) or self._begin()

    def scored(self, request: ScoreRequest) -> Scored | Failure:
        """Tokens of prompt and completion as one text; those are scored that differ from the prompt alone."""
        prompt, text = self.prompt(request.prompt), self._render(request.prompt)
        if isinstance(prompt, Failure) or isinstance(text, Failure):
            return prompt if isinstance(prompt, Failure) else Failure(reason="rejected", detail=str(text))
        puts_bos = self._puts_bos and isinstance(request.prompt, str)
        whole = self._encode(text + request.completion, puts_bos=puts_bos)
        if not text and not puts_bos:
            whole = self._begin() + whole
        return Scored(whole, max(1, shared(prompt, whole)))

    def continuation(self, prompt: Sequence[int], written: Sequence[int]) -> str:
        """Text of the tokens that were written after a prompt."""
        before = self._decode(prompt[-_CONTEXT_TOKENS:])
        both = self._decode([*prompt[-_CONTEXT_TOKENS:], *written])
        return both[len(before) :] if both.startswith(before) else self._decode(written)

    def _decode(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text if isinstance(text, str) else "".join(text)

    def _encode(self, text: str, *, puts_bos: bool) -> list[int]:
        ids = list(self.tokenizer(text, add_special_tokens=False).input_ids)
        return self._bos + ids if puts_bos else ids

    def _begin(self) -> list[int]:
        if not self._bos:
            raise EngineError(
                f"an empty prompt needs a begin-of-sequence token, and the tokenizer of {self.name!r} has none",
                hint="give a prompt of at least one character",
            )
        return self._bos

    def _render(self, prompt: Prompt) -> str | Failure:
        if isinstance(prompt, str):
            return prompt
        if not self.tokenizer.chat_template:
            raise EngineError(
                f"{self.name!r} has no chat template, and was asked to continue a conversation",
                hint="ask with a plain string, or add `chat_template` to its tokenizer_config.json",
            )
        turns = [message.model_dump() for message in prompt]
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        except jinja2.TemplateError as error:
            return Failure(reason="rejected", detail=f"the chat template does not take the conversation: {error}")


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    r"""The text before the first stop string, and whether there was one.

    >>> cut("はい。\n次", ["\n", "。"])
    ('はい', True)
    """
    places = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)
