"""SentencePiece's unigram trainer (Kudo 2018, arXiv:1804.10959), given its candidates; the one module that runs it.

The text goes in as it is: no normalisation, no space put before it, spaces kept, digits apart. One character is written
in another way, U+2581, by which SentencePiece means a space: it becomes `ESCAPE` and `a`, and `ESCAPE` itself becomes
`ESCAPE` and `b`. Both are undone when ids are decoded, so that every string comes back.
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from bunbuku_contracts import BunbukuError
from sentencepiece import sentencepiece_model_pb2

from bunbuku_tokenizer.candidates import SPACE

ESCAPE = "\U0010fffd"
"""The last character for private use. Where a text has it, it costs six tokens and comes back."""
ESCAPED = ((ESCAPE, ESCAPE + "b"), (SPACE, ESCAPE + "a"))
"""What is written how, in the order in which it has to be replaced."""

UNK, BOS, EOS, PAD = SPECIALS = ("<unk>", "<s>", "</s>", "<pad>")
"""Special tokens: their ids are 0, 1, 2 and 3."""
BYTES = 256
ALPHABET = 0x110000
MAX_BYTES = 1 << 16
"""SentencePiece silently skips longer sentences; `sentences.sentences` gives none."""

_TOO_HIGH = re.compile(r"Vocabulary size too high .* <= (\d+)")
_TOO_LOW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


class VocabularyTooLarge(Exception):
    """The text does not hold that many pieces."""

    def __init__(self, largest: int) -> None:
        super().__init__(largest)
        self.largest = largest


class VocabularyTooSmall(Exception):
    """The characters alone are more."""

    def __init__(self, smallest: int) -> None:
        super().__init__(smallest)
        self.smallest = smallest


def learn(
    sentences: Iterable[str],
    candidates: Sequence[tuple[str, int]] | None,
    *,
    size: int,
    exactly: bool = True,
    delimiter: str | None = None,
    max_candidates: int = 1_000_000,
    required: str,
    coverage: float,
    max_chars: int,
    shrinking_factor: float,
    num_threads: int,
    scratch: Path,
) -> Any:
    """A model of `size` pieces as SentencePiece's protocol buffer, the paths that it embeds blanked.

    Args:
        sentences: Lines without line ends, tabs and the characters SentencePiece reserves.
        candidates: Pieces of several characters to choose from, with how often they occur; `None` for SentencePiece's own.
        size: Special tokens and bytes included.
        exactly: Whether fewer pieces are an error.
        delimiter: Where it stands, no candidate of SentencePiece's own reaches across.
        max_candidates: How many candidates of its own SentencePiece takes.
        required: Characters that become pieces whether they occur or not.
        coverage: Share of the text's characters to cover with pieces; rarer ones are spelt in bytes.
        max_chars: Longest piece.
        shrinking_factor: Share of the pieces kept at each pruning step.
        num_threads: Changes the last bits of the sums, and so the result.
        scratch: A folder for the files that SentencePiece wants to read.

    Raises:
        VocabularyTooLarge: The text and the candidates give fewer pieces.
        VocabularyTooSmall: The characters to cover are more.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=exactly,
            seed_sentencepieces_file="" if candidates is None else str(_write_candidates(candidates, scratch)),
            # Single characters count as well.
            seed_sentencepiece_size=ALPHABET + (max_candidates if candidates is None else len(candidates)),
            pretokenization_delimiter=delimiter or "",
            max_sentence_length=MAX_BYTES,
            character_coverage=coverage,
            required_chars=required,
            max_sentencepiece_length=max_chars,
            shrinking_factor=shrinking_factor,
            num_threads=num_threads,
            split_digits=True,
            byte_fallback=True,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            normalization_rule_tsv=str(_write_rules(ESCAPED, scratch / "escape.tsv")),
            denormalization_rule_tsv=str(_write_rules([(b, a) for a, b in ESCAPED], scratch / "unescape.tsv")),
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _understood(error) from error
    model = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())  # pyright: ignore[reportAttributeAccessIssue]
    model.trainer_spec.seed_sentencepieces_file = ""
    model.normalizer_spec.normalization_rule_tsv = ""
    model.denormalizer_spec.normalization_rule_tsv = ""
    return model


def _understood(error: RuntimeError) -> Exception:
    if found := _TOO_HIGH.search(str(error)):
        return VocabularyTooLarge(int(found[1]))
    if found := _TOO_LOW.search(str(error)):
        return VocabularyTooSmall(int(found[1]))
    return BunbukuError(f"SentencePiece could not train: {error}")


def _write_candidates(candidates: Sequence[tuple[str, int]], scratch: Path) -> Path:
    path = scratch / "candidates.tsv"
    path.write_text("".join(f"{piece}\t{count}\n" for piece, count in candidates), encoding="utf-8")
    return path


def _write_rules(rules: Iterable[tuple[str, str]], path: Path) -> Path:
    def spell(text: str) -> str:
        return " ".join(f"{ord(character):X}" for character in text)

    path.write_text("".join(f"{spell(a)}\t{spell(b)}\n" for a, b in rules), encoding="utf-8")
    return path
