"""The list of pieces, each with a score; a piece's id is its place in the list.

In order: the special tokens, the 256 bytes, the pieces that are given, what was learned, the likeliest first, and the
tokens in reserve.

A text is cut into the pieces whose scores (log-probabilities) have the largest sum. SentencePiece adds them up in single
precision and Hugging Face's library in double, so that of two ways with almost the same sum each may take another one;
that happens with any run of a repeated letter. Here every score is a multiple of `SCORE_STEP`. Then both sums are exact
up to `EXACT_UP_TO`, about a hundred thousand tokens, and ties, which both break in the same way, stay ties.
"""

from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Literal, NamedTuple

from bunbuku_tokenizer.candidates import SPACE
from bunbuku_tokenizer.chat import MARKS
from bunbuku_tokenizer.unigram import BYTES, SPECIALS, UNK

SCORE_STEP = 1 / 16
EXACT_UP_TO = 2**24 * SCORE_STEP
"""Largest sum of scores that single precision holds to the step."""
MAX_SPACES = 24
"""Longest run of spaces that is one piece."""

GIVEN = (
    *("\n", "\n\n", "\t", *(SPACE * length for length in range(2, MAX_SPACES + 1))),
    *(mark.replace(" ", SPACE) for mark in MARKS),
)
"""Pieces that training does not have to find: whitespace, and what heads the turns of a chat.

No other piece holds a line end, a tab or two spaces in a row.
"""

LOWEST = -100.0
"""Scores are above this: far better than any entry that text must not match."""

_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_HIRAGANA = "".join(map(chr, range(0x3041, 0x3097)))
_KATAKANA = "".join(map(chr, range(0x30A1, 0x30FB)))
KANA_AND_ASCII = "".join(
    dict.fromkeys(" \u3000ー々〇・、。「」『』（）！？〜…" + _ASCII + _HIRAGANA + _KATAKANA + "".join(MARKS))
)
"""Characters that are pieces in every vocabulary."""

type Characters = Literal["kana", "joyo"]
"""Kana, punctuation and ASCII; or the kanji of general use besides."""


def mandatory(characters: Characters) -> str:
    """The characters that are pieces whether the text has them or not.

    >>> [len(mandatory(each)) for each in ("kana", "joyo")]
    [292, 2428]
    """
    if characters == "kana":
        return KANA_AND_ASCII
    kanji = resources.files("bunbuku_tokenizer").joinpath("joyo.txt").read_text(encoding="utf-8").strip()
    return "".join(dict.fromkeys(KANA_AND_ASCII + kanji + _AS_TYPED))


_AS_TYPED = "叱填剥頬"
"""How 𠮟塡剝頰, the official forms of four kanji, are nearly always written."""


def reserved(index: int) -> str:
    """A token without a meaning yet, for what a team's chats or tools need later: no text spells it.

    >>> reserved(0)
    '<|reserved_0|>'
    """
    return f"<|reserved_{index}|>"


class Piece(NamedTuple):
    """One entry."""

    text: str
    score: float
    role: Literal["normal", "unknown", "control", "byte"] = "normal"


def assemble(learned: Iterable[tuple[str, float]], *, ids: int = 0) -> tuple[Piece, ...]:
    """The whole vocabulary around the pieces that were learned.

    Args:
        learned: Pieces with their log-probabilities.
        ids: How many tokens there are to be; those in reserve make up what is missing.

    Raises:
        ValueError: A piece is empty or there twice, has an absurd score, or holds a character that is no piece itself.
    """
    rounded = [Piece(text, on_step(score)) for text, score in learned]
    best = max(piece.score for piece in rounded)
    pieces = (
        *(Piece(text, 0.0, "unknown" if text == UNK else "control") for text in SPECIALS),
        *(Piece(f"<0x{byte:02X}>", 0.0, "byte") for byte in range(BYTES)),
        *(Piece(text, best) for text in GIVEN),
        *rounded,
    )
    missing = range(max(0, ids - len(pieces)))
    pieces += tuple(Piece(reserved(index), 0.0, "control") for index in missing)
    _check(pieces)
    return pieces


def on_step(score: float) -> float:
    """The multiple of `SCORE_STEP` nearest to `score`.

    >>> on_step(-9.8765)
    -9.875
    """
    return round(score / SCORE_STEP) * SCORE_STEP


def _check(pieces: Sequence[Piece]) -> None:
    texts = [piece.text for piece in pieces]
    normal = [piece.text for piece in pieces if piece.role == "normal"]
    if len(set(texts)) != len(texts) or "" in texts:
        raise ValueError("a piece is empty or there twice")
    if (lowest := min(piece.score for piece in pieces)) < LOWEST:
        raise ValueError(f"the score {lowest} is below {LOWEST}")
    # A text's unknown characters are then the same ones however it is cut, and their score cannot matter.
    if lone := set("".join(normal)) - {"\n", "\t"} - set(normal):
        raise ValueError(f"{min(lone)!r} is in a piece and no piece itself")
