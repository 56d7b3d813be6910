"""The edge to the checkpoint's tokenizer and its chat template."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bunbuku_contracts import ArtifactError, register_hf_models
from bunbuku_inference import Spelling
from jinja2 import TemplateError
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from bunbuku_align.examples import Message, Piece, Rendered

_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")


class ChatTokenizer:
    """Renders dialogues with the template that travels with a checkpoint, and tokenises text."""

    def __init__(self, checkpoint: Path) -> None:
        register_hf_models()  # the tokenizer's class is looked up by that of the model beside it
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
        self.template = self.tokenizer.chat_template
        if not isinstance(self.template, str) or not _MARKER.search(self.template):
            raise ArtifactError(
                f"the tokenizer in {checkpoint} has no chat template that marks what the assistant says",
                hint="its tokenizer_config.json needs a `chat_template` with {% generation %} … {% endgeneration %}",
            )
        if self.tokenizer.pad_token_id is None:
            raise ArtifactError(
                f"the tokenizer in {checkpoint} has no padding token",
                hint="its tokenizer_config.json needs a `pad_token` that no text uses",
            )
        self._spelling = Spelling(self.tokenizer)
        self._check_pieces(checkpoint)

    def render(self, messages: Sequence[Message]) -> Rendered:
        """The dialogue as text, with what the assistant said in it, and where the template names special tokens."""
        contents = [message.content for message in messages]
        try:
            text, said = self._render(messages, contents)
            special = self._spelling.own(text, contents, lambda contents: self._render(messages, contents)[0])
        except TemplateError as error:
            raise ArtifactError(
                f"the chat template cannot render a dialogue of {[message.role for message in messages]}: {error}"
            ) from error
        return Rendered(text, said, special)

    def _render(self, messages: Sequence[Message], contents: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
        """Text and what was said in it, where the function itself promises a string."""
        turns = [{"role": turn.role, "content": content} for turn, content in zip(messages, contents, strict=True)]
        tokens = self.tokenizer.special_tokens_map
        rendered: Any = render_jinja_template(
            [turns], chat_template=self.template, return_assistant_tokens_mask=True, **tokens
        )
        texts, said = rendered
        return texts[0], said[0]

    def encode(self, piece: Piece) -> list[int]:
        """Ids of a piece, with no token added."""
        return self._spelling.ids(piece.text, piece.special)

    @property
    def digest(self) -> str:
        """Of all that decides which ids a dialogue has: vocabulary, rules, special tokens, template."""
        fast = getattr(self.tokenizer, "backend_tokenizer", None)
        rules = fast.to_str() if fast else self.tokenizer.get_vocab()
        said = [rules, self.template, self.tokenizer.special_tokens_map]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()

    def _check_pieces(self, checkpoint: Path) -> None:
        """Raise if pieces tokenised one by one do not read as the whole text, as with a blank put before each."""
        dialogue = [Message("user", "今日は。"), Message("assistant", "はい。"), Message("user", "では。")]
        rendered = self.render([*dialogue, Message("assistant", "はい。")])
        ids = [id for piece in rendered.pieces for id in self.encode(piece)]
        read = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if read != rendered.text:
            raise ArtifactError(
                f"the tokenizer in {checkpoint} reads {rendered.text!r} back as {read!r}",
                hint="train it without a blank before the first word, and without normalising special tokens away",
            )
