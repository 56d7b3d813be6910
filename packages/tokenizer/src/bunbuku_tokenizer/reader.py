"""A tokenizer at work, whoever made it: SentencePiece's `.model` files and Hugging Face's `tokenizer.json`.

All that measuring needs to know of one: ids of a text, the text of ids, which characters each token stands for, and what
each entry of the vocabulary spells. Characters are those of the text as it was given, however the tokenizer rewrites it
before it looks for pieces. Nothing is put before or after a text, and special tokens are not looked for in it, as far as
the library can be told so: SentencePiece always matches symbols that its model declares as user-defined.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from bunbuku_contracts import BunbukuError
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as FastTokenizer

from bunbuku_tokenizer.candidates import SPACE
from bunbuku_tokenizer.exports import MODEL, TOKENIZER
from bunbuku_tokenizer.foreign_json import BYTE_OF, content_of, opened

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class Spans(NamedTuple):
    """Tokens of a text; each stands for the characters from its start up to its end.

    Where several tokens spell one character, some of them stand for it and others may stand for nothing.
    """

    ids: list[int]
    starts: Sequence[int]
    ends: Sequence[int]


class Reader(Protocol):
    """A tokenizer."""

    @property
    def spellings(self) -> Sequence[str | None]:
        """What each id spells, spaces as spaces; `None` for special tokens and for parts of characters."""
        ...

    @property
    def partial(self) -> np.ndarray:
        """For each id whether it holds an incomplete character.

        That is a byte in place of a missing piece, or bytes that are no whole characters in a vocabulary made of bytes.
        """
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""
        ...

    def spans(self, text: str) -> Spans:
        """Ids of a text and where in it they lie."""
        ...


class SentencePieceReader:
    """A SentencePiece model."""

    def __init__(self, processor: SentencePieceProcessor) -> None:
        self._processor = processor
        ids = range(processor.get_piece_size())
        self.partial = np.array([processor.is_byte(id) for id in ids], dtype=bool)
        self.spellings = tuple(None if self._is_no_text(id) else self._spelling(id) for id in ids)

    def _is_no_text(self, id: int) -> bool:
        processor = self._processor
        return any(
            of(id) for of in (processor.is_unknown, processor.is_control, processor.is_unused, processor.is_byte)
        )

    def _spelling(self, id: int) -> str:
        return self._processor.id_to_piece(id).replace(SPACE, " ")

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        return self._processor.encode(text)

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""
        return self._processor.decode(ids)

    def spans(self, text: str) -> Spans:
        """Ids of a text and where in it they lie. SentencePiece says it in bytes of UTF-8."""
        pieces = self._processor.encode(text, out_type="proto").pieces
        leads = (np.frombuffer(text.encode(), dtype=np.uint8) & 0xC0) != 0x80
        chars = np.concatenate([[0], np.cumsum(leads)])
        starts = chars[np.fromiter((piece.begin for piece in pieces), dtype=np.int64)]
        ends = chars[np.fromiter((piece.end for piece in pieces), dtype=np.int64)]
        return Spans([piece.id for piece in pieces], starts.tolist(), ends.tolist())


class HuggingFaceReader:
    """A `tokenizer.json`: unigram, BPE over characters or over bytes, or word pieces."""

    def __init__(self, fast: FastTokenizer) -> None:
        self._fast = fast
        fast.encode_special_tokens = True
        fast.no_truncation()
        fast.no_padding()
        vocabulary = fast.get_vocab(with_added_tokens=True)
        added = {id: None if token.special else token.content for id, token in fast.get_added_tokens_decoder().items()}
        spell = _speller(json.loads(fast.to_str()))
        spellings: list[str | bytes | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
        for piece, id in vocabulary.items():
            spellings[id] = added[id] if id in added else spell(piece)
        self.partial = np.array([isinstance(spelling, bytes) for spelling in spellings], dtype=bool)
        self.spellings = tuple(None if isinstance(spelling, bytes) else spelling for spelling in spellings)

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        return self._fast.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""
        return self._fast.decode(ids)

    def spans(self, text: str) -> Spans:
        """Ids of a text and where in it they lie."""
        found = self._fast.encode(text, add_special_tokens=False)
        return Spans(found.ids, [start for start, _ in found.offsets], [end for _, end in found.offsets])


class _Speller(NamedTuple):
    """How the pieces of a `tokenizer.json` spell."""

    unknown: str | None
    of_bytes: bool
    byte_fallback: bool
    continuing: str | None

    def __call__(self, piece: str) -> str | bytes | None:
        """What a piece spells: text, bytes that are no text, or nothing."""
        if piece == self.unknown:
            return None
        if self.byte_fallback and _BYTE.fullmatch(piece):
            return bytes.fromhex(piece[3:5])
        if self.of_bytes and set(piece) <= BYTE_OF.keys():
            spelt = bytes(BYTE_OF[character] for character in piece)
            try:
                return spelt.decode()
            except UnicodeDecodeError:
                return spelt
        if self.continuing and piece.startswith(self.continuing):
            return piece.removeprefix(self.continuing)
        return piece.replace(SPACE, " ")


def _speller(state: dict[str, Any]) -> _Speller:
    model = state["model"]
    unknown = model.get("unk_token")
    if isinstance(id := model.get("unk_id"), int):
        unknown = model["vocab"][id][0]
    steps = json.dumps([state.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")])
    return _Speller(
        unknown=unknown,
        of_bytes='"ByteLevel"' in steps,
        byte_fallback=bool(model.get("byte_fallback")),
        continuing=model.get("continuing_subword_prefix") or None,
    )


def open_reader(path: Path) -> SentencePieceReader | HuggingFaceReader:
    """The tokenizer in a file, or in a folder: its `tokenizer.json`, else its `tokenizer.model` or only `.model` file.

    Raises:
        BunbukuError: There is none.
    """
    file = _file(path)
    content = file.read_bytes()
    if content.lstrip()[:1] == b"{":
        return HuggingFaceReader(opened(content_of(file), str(file)))
    processor = SentencePieceProcessor()
    try:
        processor.load_from_serialized_proto(content)
    except (RuntimeError, OSError, ValueError) as error:
        raise _none(file) from error
    if not processor.get_piece_size():
        raise _none(file)
    return SentencePieceReader(processor)


def open_forms(dir: Path) -> list[Reader]:
    """The forms in which a tokenizer of ours is there: SentencePiece's, unless there can be none, and Hugging Face's."""
    return [open_reader(dir / name) for name in (MODEL, TOKENIZER) if (dir / name).is_file()]


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    there = [path / name for name in (TOKENIZER, MODEL) if (path / name).is_file()] or sorted(path.glob("*.model"))
    if not there or (len(there) > 1 and there[0].name not in (TOKENIZER, MODEL)):
        raise BunbukuError(
            f"{path} holds no {TOKENIZER}, no {MODEL} and not just one other .model file",
            hint="name the file itself, or a folder that has one of these",
        )
    return there[0]


def _none(file: Path) -> BunbukuError:
    return BunbukuError(
        f"{file} does not read as a SentencePiece model",
        hint="name a SentencePiece .model file, a tokenizer.json, or a folder that holds one",
    )
