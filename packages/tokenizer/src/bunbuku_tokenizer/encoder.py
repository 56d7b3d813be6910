"""A trained tokenizer at work, in both of its forms. Needs neither MeCab nor transformers.

Text is only ever text here: `</s>` in a document is spelt in letters, it does not end the document. (Hugging Face's own
way of encoding does take it for the special token, unless told `split_special_tokens=True`.)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bunbuku_contracts import BunbukuError
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as FastTokenizer

from bunbuku_tokenizer.exports import MODEL, TOKENIZER
from bunbuku_tokenizer.unigram import BYTES, SPECIALS


@dataclass(frozen=True)
class Encoder:
    """Text to ids and back."""

    sentencepiece: SentencePieceProcessor
    fast: FastTokenizer
    """Hugging Face's."""

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
        return cls(SentencePieceProcessor(model_file=str(model)), fast)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing added before or after."""
        return self.sentencepiece.encode(text)

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
