"""A SentencePiece `.model` of someone else's, to be extended: what its pieces spell, and Hugging Face's form of it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from bunbuku_contracts import BunbukuError
from google.protobuf.message import DecodeError
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers

from bunbuku_tokenizer.exports import NEVER
from bunbuku_tokenizer.foreign_json import SPACE, Stretch

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_KINDS = {1: "Unigram", 2: "BPE"}


class ForeignModel:
    """SentencePiece's form of a tokenizer."""

    def __init__(self, proto: Any, origin: str) -> None:
        self.proto = proto
        self.origin = origin
        self.kind = _KINDS.get(proto.trainer_spec.model_type, "word or character")
        self.first_id = len(proto.pieces)
        if self.kind not in _KINDS.values():
            raise BunbukuError(
                f"{origin} is a {self.kind} model, which cannot be extended",
                hint="byte-pair and unigram models can",
            )
        if sum(piece.type == _BYTE for piece in proto.pieces) != 256:
            raise BunbukuError(
                f"{origin} has no byte fallback, so texts would be lost whatever is added",
                hint="begin with a tokenizer that can spell every text",
            )
        self.processor = SentencePieceProcessor(model_proto=proto.SerializeToString())
        self.spellings = [self._spelling(piece) for piece in proto.pieces]
        self.single_bytes = frozenset(id for id, piece in enumerate(proto.pieces) if piece.type == _BYTE)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The model in a file.

        Raises:
            BunbukuError: It is none, or one that cannot be extended.
        """
        try:
            proto = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())  # pyright: ignore[reportAttributeAccessIssue]
        except DecodeError as error:
            raise _none(path) from error
        if not proto.pieces:
            raise _none(path)
        return cls(proto, str(path))

    def encode(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Ids of each text."""
        yield from self.processor.encode(list(texts), num_threads=1)

    def stretches(self, texts: Sequence[str]) -> Iterator[list[Stretch]]:
        """Each text as tokens: SentencePiece cuts it nowhere before it merges."""
        for ids in self.encode(texts):
            yield [Stretch(ids, [self.spellings[id] for id in ids])]

    def decode(self, ids: Sequence[int]) -> str:
        return self.processor.decode(list(ids))

    @property
    def scores(self) -> dict[int, float]:
        """Of the pieces that may be merged or chosen."""
        return {id: piece.score for id, piece in enumerate(self.proto.pieces) if piece.type == _NORMAL}

    def extended(self, pieces: Sequence[tuple[str, float]]) -> Any:
        """The model with more pieces."""
        made = type(self.proto)()
        made.CopyFrom(self.proto)
        for piece, score in pieces:
            made.pieces.add(piece=piece, score=score, type=_NORMAL)
        made.trainer_spec.vocab_size = len(made.pieces)
        return made

    @staticmethod
    def _spelling(piece: Any) -> bytes:
        if piece.type == _BYTE:
            return bytes.fromhex(piece.piece[3:5])
        return piece.piece.replace(SPACE, " ").encode() if piece.type == _NORMAL else b""


def hugging_face(proto: Any) -> dict[str, Any]:
    """The content of a `tokenizer.json` that does what SentencePiece does with a model.

    Whether it does has to be tried: there is no equal for every setting.
    """
    spec = proto.normalizer_spec
    fast = Tokenizer(_bpe(proto) if proto.trainer_spec.model_type == 2 else _unigram(proto))
    steps: list[Any] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    fast.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    lead = [decoders.Strip(" ", 1, 0)] if spec.add_dummy_prefix else []
    fast.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *lead])
    special = [piece.piece for piece in proto.pieces if piece.type in (_UNKNOWN, _CONTROL)]
    fast.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    if proto.trainer_spec.model_type == 2:
        symbols = [piece.piece for piece in proto.pieces if piece.type == _USER_DEFINED and len(piece.piece) > 1]
        fast.add_tokens([AddedToken(text, normalized=False) for text in symbols])
    return json.loads(fast.to_str())


def _bpe(proto: Any) -> models.BPE:
    ids = {piece.piece: id for id, piece in enumerate(proto.pieces)}
    parts = {piece.piece: id for id, piece in enumerate(proto.pieces) if piece.type == _NORMAL}
    merges: list[tuple[str, str]] = []
    for piece in sorted((piece for piece in proto.pieces if piece.type == _NORMAL), key=lambda each: -each.score):
        text = piece.piece
        found = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        found = [(left, right) for left, right in found if left in parts and right in parts]
        merges += sorted(found, key=lambda pair: (parts[pair[0]], parts[pair[1]]))
    unknown = next(piece.piece for piece in proto.pieces if piece.type == _UNKNOWN)
    return models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)


def _unigram(proto: Any) -> models.Unigram:
    normal = [piece.score for piece in proto.pieces if piece.type == _NORMAL]
    text = [piece.piece for piece in proto.pieces if piece.type == _NORMAL]
    lone = set("".join(text)) - {piece for piece in text if len(piece) == 1}
    # What is no text must never be chosen. But a score below the worst makes unknown characters worse as well, which
    # changes how a text is cut if a longer piece holds a character that is none itself.
    never = min(normal) if lone else NEVER

    def score(piece: Any) -> float:
        if piece.type == _USER_DEFINED:  # `unigram_model.cc`: these always win
            return len(piece.piece.encode()) * max(normal) - 0.1
        return piece.score if piece.type == _NORMAL else never

    unknown = next(id for id, piece in enumerate(proto.pieces) if piece.type == _UNKNOWN)
    return models.Unigram([(piece.piece, score(piece)) for piece in proto.pieces], unk_id=unknown, byte_fallback=True)


def _none(path: Path) -> BunbukuError:
    return BunbukuError(
        f"{path} is neither a SentencePiece model nor a `tokenizer.json`",
        hint="give one of these, or a folder with one",
    )
