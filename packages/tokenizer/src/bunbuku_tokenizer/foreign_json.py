"""A `tokenizer.json` of someone else's, to be extended: what its tokens spell, and the same file with more of them.

Hugging Face's library gives added tokens (`<|im_end|>`) new ids when it loads a file whose vocabulary has grown, unless
the vocabulary itself holds them. So they are put there, with the ids they always had, and new pieces come after all.
"""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self

from bunbuku_contracts import BunbukuError
from tokenizers import Tokenizer as FastTokenizer

SPACE = "\u2581"
_BATCH = 1000


class Stretch(NamedTuple):
    """Tokens that may merge with each other."""

    ids: list[int]
    spellings: list[bytes]


class ForeignJson:
    """Hugging Face's form of a tokenizer."""

    def __init__(self, content: dict[str, Any], origin: str) -> None:
        self.content = content
        self.origin = origin
        self.fast = opened(content, origin)
        self.kind: str = content["model"].get("type", "BPE")
        self.added = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
        self.byte_level = any(part.get("type") == "ByteLevel" for part in _parts(content.get("decoder")))
        self.vocabulary = self._vocabulary()
        self.first_id = max([*self.vocabulary.values(), *self.added.values()]) + 1
        self.spellings = self._spellings()
        self.single_bytes = self._single_bytes()
        self._check()

    @classmethod
    def read(cls, path: Path) -> Self:
        """The tokenizer in a file.

        Raises:
            BunbukuError: It is none, or one that cannot be extended.
        """
        return cls(content_of(path), str(path))

    def encode(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Ids of each text, in which special tokens are only text."""
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            yield from (found.ids for found in self.fast.encode_batch_fast(batch, add_special_tokens=False))

    def stretches(self, texts: Sequence[str]) -> Iterator[list[Stretch]]:
        """Each text as tokens, in the stretches that the tokenizer cuts it into before it merges."""
        for start in range(0, len(texts), _BATCH):
            for found in self.fast.encode_batch(list(texts[start : start + _BATCH]), add_special_tokens=False):
                cut = groupby(zip(found.word_ids, found.ids, strict=True), key=lambda each: each[0])
                ids = [[id for _, id in each] for _, each in cut]
                yield [Stretch(each, [self.spellings[id] for id in each]) for each in ids]

    def decode(self, ids: Sequence[int]) -> str:
        return self.fast.decode(list(ids), skip_special_tokens=False)

    def merges(self) -> list[tuple[int, int, int]]:
        """Left, right and what they become, the first first."""
        known = self.vocabulary
        return [(known[left], known[right], known[left + right]) for left, right in self.merge_texts()]

    def merge_texts(self) -> list[tuple[str, str]]:
        """Left and right, as the vocabulary writes them."""
        pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in self._merges)
        return [(left, right) for left, right in pairs]

    @property
    def _merges(self) -> list[Any]:
        return self.content["model"].get("merges") or []

    def token(self, spelling: bytes) -> str:
        """How a piece is written in the vocabulary."""
        if self.byte_level:
            return "".join(_LETTER_OF[byte] for byte in spelling)
        return spelling.decode().replace(" ", SPACE)

    def extended(self, tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The content of a byte-pair tokenizer's file with more tokens and merges."""
        content = deepcopy(self.content)
        model = content["model"]
        model["vocab"] |= {token: id for token, id in self.added.items() if token not in model["vocab"]}
        model["vocab"] |= {token: self.first_id + place for place, token in enumerate(tokens)}
        apart = not self._merges or isinstance(self._merges[0], str)
        model["merges"] = [*self._merges, *(" ".join(pair) if apart else list(pair) for pair in merges)]
        return content

    def extended_unigram(self, pieces: Sequence[tuple[str, float]]) -> dict[str, Any]:
        """The content of a unigram tokenizer's file with more pieces, which have their scores."""
        content = deepcopy(self.content)
        vocabulary = content["model"]["vocab"]
        # Not below the worst there is: Hugging Face's library measures unknown characters by that.
        worst = min(score for _, score in vocabulary)
        name_of = {id: token for token, id in self.added.items()}
        vocabulary += [[name_of.get(id, f"<unused{id}>"), worst] for id in range(len(vocabulary), self.first_id)]
        vocabulary += [[text, score] for text, score in pieces]
        return content

    def _vocabulary(self) -> dict[str, int]:
        vocabulary = self.content["model"].get("vocab")
        if self.kind == "Unigram" and isinstance(vocabulary, list):
            return {piece: id for id, (piece, _) in enumerate(vocabulary)}
        if not isinstance(vocabulary, dict) or not vocabulary:
            raise _none(self.origin, "it has no vocabulary")
        return dict(vocabulary)

    def _spellings(self) -> list[bytes]:
        spellings = [b""] * self.first_id
        for token, id in self.vocabulary.items():
            if token not in self.added:
                spellings[id] = self._spelling(token)
        return spellings

    def _spelling(self, token: str) -> bytes:
        if self.byte_level:
            found = [BYTE_OF.get(letter) for letter in token]
            return b"" if None in found else bytes(byte for byte in found if byte is not None)
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes.fromhex(token[3:5])
        return token.replace(SPACE, " ").encode()

    def _single_bytes(self) -> frozenset[int]:
        if self.byte_level:
            return frozenset()
        found = (self.vocabulary.get(f"<0x{byte:02X}>") for byte in range(256))
        return frozenset(id for id in found if id is not None)

    def _check(self) -> None:
        if self.kind not in {"BPE", "Unigram"}:
            raise BunbukuError(
                f"{self.origin} is a {self.kind} tokenizer, which cannot be extended",
                hint="byte-pair and unigram tokenizers can: those of Llama, Qwen, Mistral, Gemma",
            )
        if not self.byte_level and not (self.content["model"].get("byte_fallback") and len(self.single_bytes) == 256):
            raise BunbukuError(
                f"{self.origin} spells rare characters neither by byte-level pieces nor by byte fallback, so texts would "
                "be lost whatever is added",
                hint="begin with a tokenizer that can spell every text",
            )


def content_of(path: Path) -> dict[str, Any]:
    """What a `tokenizer.json` holds.

    Raises:
        BunbukuError: It is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _none(str(path), "it is not JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise _none(str(path), "it has no `model`")
    return content


def opened(content: dict[str, Any], origin: str) -> FastTokenizer:
    """Hugging Face's tokenizer of a file's content; special tokens in a text are only text to it."""
    try:
        fast = FastTokenizer.from_str(json.dumps(content, ensure_ascii=False))
    except Exception as error:  # the library raises nothing more particular
        raise _none(origin, str(error)) from error
    fast.no_truncation()
    fast.no_padding()
    fast.encode_special_tokens = True
    return fast


def _none(origin: str, why: str) -> BunbukuError:
    return BunbukuError(
        f"{origin} is not a tokenizer of Hugging Face's: {why}",
        hint="give a `tokenizer.json` or a SentencePiece `.model`",
    )


def _parts(component: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A component, or those that a sequence consists of."""
    if component is None:
        return
    inner = component.get("decoders") if component.get("type") == "Sequence" else None
    for part in inner or ():
        yield from _parts(part)
    if inner is None:
        yield component


def _letters() -> dict[int, str]:
    """How byte-level tokenizers write a byte: visible Latin-1 as itself, the others from U+0100 on (GPT-2)."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in visible)
    return {byte: chr(byte) for byte in visible} | {byte: chr(0x100 + place) for place, byte in enumerate(others)}


_LETTER_OF = _letters()
BYTE_OF = {letter: byte for byte, letter in _LETTER_OF.items()}
"""The byte that a character of a byte-level vocabulary writes."""
