"""A trained tokenizer at work, in both of its forms. Needs neither MeCab nor transformers.

Text is only ever text here: `</s>` in a document is spelt in letters, it does not end the document. (Hugging Face's own
way of encoding does take it for the special token, unless told `split_special_tokens=True`.)
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from bunbuku_contracts import BunbukuError
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as FastTokenizer

from bunbuku_tokenizer.chat import TEMPLATE
from bunbuku_tokenizer.conversation import Conversation, Message, encode, segments
from bunbuku_tokenizer.exports import CONFIG, MODEL, TOKENIZER
from bunbuku_tokenizer.unigram import BYTES, SPECIALS

_NAMED = ("unk_token", "bos_token", "eos_token", "pad_token")
"""What templates call the special tokens, in the order of their ids."""


@dataclass(frozen=True)
class Encoder:
    """Text to ids and back."""

    sentencepiece: SentencePieceProcessor
    fast: FastTokenizer
    """Hugging Face's."""
    template: str = TEMPLATE
    """Of its chats."""

    @classmethod
    def open(cls, dir: Path) -> Self:
        """The tokenizer in a folder.

        Raises:
            BunbukuError: One of its two files is missing or is none.
        """
        model, tokenizer = dir / MODEL, dir / TOKENIZER
        for path in (model, tokenizer):
            if not path.is_file():
                raise BunbukuError(f"{path} is missing", hint="name a folder that `bunbuku-tokenizer train` made")
        fast = FastTokenizer.from_file(str(tokenizer))
        fast.encode_special_tokens = True
        config = dir / CONFIG
        told = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        return cls(SentencePieceProcessor(model_file=str(model)), fast, told.get("chat_template", TEMPLATE))

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing added before or after."""
        return self.sentencepiece.encode(text)

    def encode_chat(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Conversation:
        """A conversation by the tokenizer's own chat template; whatever a message contains is text.

        Where no message begins or ends with a line end, the ids are those of Hugging Face's `apply_chat_template`.

        Raises:
            BunbukuError: The template refuses the conversation: a role it does not know, or in the wrong place.
        """
        spelt = {token: self.sentencepiece.id_to_piece(id) for id, token in enumerate(_NAMED)}
        parts = segments(self.template, messages, tokens=spelt, add_generation_prompt=add_generation_prompt)
        return encode(parts, specials=self.specials, encode_text=self.encode)

    @cached_property
    def specials(self) -> dict[str, int]:
        """Special tokens by what they are called, those in reserve included."""
        model = self.sentencepiece
        ids = (id for id in range(model.get_piece_size()) if model.is_control(id) or model.is_unknown(id))
        return {model.id_to_piece(id): id for id in ids}

    def decode(self, ids: Sequence[int]) -> str:
        """The text that `ids` spell; special tokens spell nothing."""
        return self.sentencepiece.decode(list(ids))

    def pieces(self, text: str) -> list[str]:
        """What each token of `text` spells, a byte of a character as `<0xE3>`, a space as `▁`."""
        return self.sentencepiece.encode(text, out_type=str)

    def encode_both(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[int]]]:
        """Ids of each text by SentencePiece and by Hugging Face."""
        fast = self.fast.encode_batch_fast(list(texts), add_special_tokens=False)
        yield from zip(self.sentencepiece.encode(list(texts)), (found.ids for found in fast), strict=True)

    def decode_fast(self, ids: Sequence[int]) -> str:
        """As `decode`, by Hugging Face."""
        return self.fast.decode(list(ids))

    def first_failure(self, texts: Iterable[str]) -> str | None:
        """What is wrong with the first text whose ids differ or that does not come back, `None` if all is well."""
        for text in texts:
            ((ids, fast),) = self.encode_both([text])
            if ids != fast:
                return f"SentencePiece and Hugging Face give different ids for {text[:200]!r}"
            if self.decode(ids) != text or self.decode_fast(ids) != text:
                return f"{text[:200]!r} does not come back when its ids are decoded"
        return None


def is_byte(id: int) -> bool:
    """Whether the token is a byte of a character that has no piece."""
    return len(SPECIALS) <= id < len(SPECIALS) + BYTES
