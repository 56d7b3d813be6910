"""The files of a tokenizer: SentencePiece's and Hugging Face's, which give the same ids.

Three things make that so. Scores add up exactly (see `vocabulary`). Hugging Face's library, where any entry of the
vocabulary matches text, special tokens and bytes included, is given these with a score that never wins. And it cuts the
text at line ends first, which no piece but the line ends themselves reaches across: the same pieces, much less work.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import Unigram

from bunbuku_tokenizer.candidates import SPACE
from bunbuku_tokenizer.chat import TEMPLATE
from bunbuku_tokenizer.unigram import BOS, EOS, ESCAPED, PAD, SPECIALS, UNK
from bunbuku_tokenizer.vocabulary import Piece

MODEL, TOKENIZER, CONFIG = "tokenizer.model", "tokenizer.json", "tokenizer_config.json"

NEVER = -1000.0
"""Score of an entry that text must not match: spelling it in single characters is always better."""

# SentencePiece's ModelProto.SentencePiece.Type
_TYPES = {"normal": 1, "unknown": 2, "control": 3, "byte": 6}
_SPECIAL = ("unknown", "control")


def write(dir: Path, pieces: Sequence[Piece], model: Any) -> None:
    """Write the tokenizer into `dir`: `pieces`, with the normalisation and the settings of SentencePiece's `model`."""
    (dir / MODEL).write_bytes(_sentencepiece(pieces, model))
    (dir / TOKENIZER).write_text(_fast(pieces).to_str() + "\n", encoding="utf-8")
    (dir / CONFIG).write_text(json.dumps(_config(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _sentencepiece(pieces: Sequence[Piece], model: Any) -> bytes:
    made = type(model)()
    made.CopyFrom(model)
    made.ClearField("pieces")
    for piece in pieces:
        made.pieces.add(piece=piece.text, score=piece.score, type=_TYPES[piece.role])
    made.trainer_spec.vocab_size = len(pieces)
    return made.SerializeToString(deterministic=True)


def _fast(pieces: Sequence[Piece]) -> Tokenizer:
    vocabulary = [(piece.text, piece.score if piece.role == "normal" else NEVER) for piece in pieces]
    fast = Tokenizer(Unigram(vocabulary, unk_id=SPECIALS.index(UNK), byte_fallback=True))
    fast.normalizer = normalizers.Sequence(
        [*(normalizers.Replace(plain, escaped) for plain, escaped in ESCAPED), normalizers.Replace(" ", SPACE)]
    )
    fast.pre_tokenizer = pre_tokenizers.Split(Regex("\n+"), "isolated")
    fast.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *(decoders.Replace(escaped, plain) for plain, escaped in reversed(ESCAPED)),
        ]
    )
    fast.add_special_tokens(
        [AddedToken(piece.text, special=True, normalized=False) for piece in pieces if piece.role in _SPECIAL]
    )
    return fast


def _config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNK,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 10**30,
        "chat_template": TEMPLATE,
    }
