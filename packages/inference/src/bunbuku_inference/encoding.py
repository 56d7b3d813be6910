"""Prompts as the tokens a model reads, for engines that have the model's tokenizer at hand.

Chat messages are rendered with the tokenizer's chat template, up to and including its generation prompt; a special token in
what somebody says is text, and ends nothing. Raw prompts are taken as they are, special tokens included, after the
begin-of-sequence token if the tokenizer puts one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jinja2

from bunbuku_inference.errors import EngineError
from bunbuku_inference.rendering import Place, Spelling
from bunbuku_inference.request import Failure, Message, Prompt, ScoreRequest
from bunbuku_inference.span import shared

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTEXT_TOKENS = 8
"""Tokens of the prompt decoded together with its continuation: a first space, and characters cut in two, come out right."""


class Scored(NamedTuple):
    """Tokens of a text, of which those from `first` on are scored."""

    ids: list[int]
    first: int


class _Written(NamedTuple):
    """A prompt as text, and where it names special tokens."""

    text: str
    own: list[Place]


class Encoder:
    """A model's tokenizer, as far as asking it needs one."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, name: str) -> None:
        self.tokenizer = tokenizer
        self.name = name
        self._spelling = Spelling(tokenizer)
        self._bos = [tokenizer.bos_token_id] if isinstance(tokenizer.bos_token_id, int) else []
        self._puts_bos = bool(self._bos) and tokenizer("").input_ids[:1] == self._bos

    def prompt(self, prompt: Prompt) -> list[int] | Failure:
        """Tokens of a prompt; at least one."""
        written = self._write(prompt)
        if isinstance(written, Failure):
            return written
        return self._ids(written, self._puts_bos and isinstance(prompt, str)) or self._begin()

    def scored(self, request: ScoreRequest) -> Scored | Failure:
        """Tokens of prompt and completion as one text; those are scored that differ from the prompt alone."""
        prompt, written = self.prompt(request.prompt), self._write(request.prompt)
        if isinstance(prompt, Failure) or isinstance(written, Failure):
            return prompt if isinstance(prompt, Failure) else Failure(reason="rejected", detail=str(written))
        raw = isinstance(request.prompt, str)
        text = written.text + request.completion
        whole = self._ids(_Written(text, self._spelling.named(text) if raw else written.own), raw and self._puts_bos)
        if not written.text and not (raw and self._puts_bos):
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

    def _ids(self, written: _Written, puts_bos: bool) -> list[int]:
        ids = self._spelling.ids(written.text, written.own)
        return self._bos + ids if puts_bos else ids

    def _begin(self) -> list[int]:
        if not self._bos:
            raise EngineError(
                f"an empty prompt needs a begin-of-sequence token, and the tokenizer of {self.name!r} has none",
                hint="give a prompt of at least one character",
            )
        return self._bos

    def _write(self, prompt: Prompt) -> _Written | Failure:
        if isinstance(prompt, str):
            return _Written(prompt, self._spelling.named(prompt))
        if not self.tokenizer.chat_template:
            raise EngineError(
                f"{self.name!r} has no chat template, and was asked to continue a conversation",
                hint="ask with a plain string, or add `chat_template` to its tokenizer_config.json",
            )
        said = [message.content for message in prompt]
        try:
            text = self._render(prompt, said)
            return _Written(text, self._spelling.own(text, said, lambda said: self._render(prompt, said)))
        except (jinja2.TemplateError, EngineError) as error:
            return Failure(reason="rejected", detail=f"the chat template does not take the conversation: {error}")

    def _render(self, prompt: Sequence[Message], said: Sequence[str]) -> str:
        turns = [{"role": turn.role, "content": content} for turn, content in zip(prompt, said, strict=True)]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    r"""The text before the first stop string, and whether there was one.

    >>> cut("はい。\n次", ["\n", "。"])
    ('はい', True)
    """
    places = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)
