"""Someone else's vocabulary with Japanese pieces added, and what a model's new rows begin as.

What the old tokenizer made of a text without Japanese the new one makes of it too, id by id: pieces are made of kana and
kanji alone, old merges come first, old scores stay. Old ids stay, those of special tokens included; new pieces come
after all of them. A row of an embedding matrix for a new piece begins as the mean of the rows of the old pieces that
spell it, as in Swallow (Fujii et al. 2024, arXiv:2404.17790).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, NamedTuple

from bunbuku_tokenizer import morphemes
from bunbuku_tokenizer.appending import Encode, Lattice, append_pieces
from bunbuku_tokenizer.candidates import SPACE, candidates
from bunbuku_tokenizer.foreign_json import ForeignJson, opened
from bunbuku_tokenizer.foreign_model import ForeignModel, hugging_face
from bunbuku_tokenizer.merging import Merger, NewPiece, PairRules, Row, StringRules
from bunbuku_tokenizer.units import JAPANESE, units

_BATCH_LINES = 2000
_CANDIDATES_PER_PIECE = 8
_LOWEST = -1e6

type Track = Callable[[Iterable[Any], str], Iterator[Any]]


@dataclass(frozen=True)
class Wanted:
    """How much is to be added, and what pieces may be."""

    pieces: int
    max_morphemes: int
    max_chars: int
    min_count: int
    dictionary: morphemes.Dictionary


class Extension(NamedTuple):
    """What was added."""

    pieces: tuple[NewPiece, ...]
    tokens: tuple[str, ...]
    """The pieces, as the vocabulary writes them."""
    content: dict[str, Any]
    """Of `tokenizer.json`."""
    model: Any = None
    """SentencePiece's protocol buffer, if there was one."""


def extension_of(
    origin: ForeignJson | ForeignModel, lines: Sequence[str], wanted: Wanted, *, track: Track
) -> Extension:
    """`origin` with pieces learned from `lines`.

    Args:
        origin: The old tokenizer.
        lines: Japanese text, as `sentences.sentences` gives it.
        wanted: How many pieces, and which may be.
        track: Shows progress through an iterable, in units that it is told.
    """
    if origin.kind == "BPE":
        return _merge(origin, lines, wanted, track)
    return _append(origin, lines, wanted, track)


def graft(given: ForeignJson, extension: Extension) -> Extension:
    """What was added to a SentencePiece model, in a `tokenizer.json` of the same vocabulary."""
    return extension._replace(content={**given.content, "model": extension.content["model"]})


def _merge(origin: ForeignJson | ForeignModel, lines: Sequence[str], wanted: Wanted, track: Track) -> Extension:
    row = row_of(origin, track(lines, "lines"), wanted)
    spellings = list(origin.spellings)
    rules = (
        PairRules(spellings, origin.merges())
        if isinstance(origin, ForeignJson)
        else StringRules(spellings, origin.scores)
    )
    merger = Merger(
        row=row,
        rules=rules,
        single_bytes=origin.single_bytes,
        first_id=origin.first_id,
        max_morphemes=wanted.max_morphemes,
        max_chars=wanted.max_chars,
        min_count=wanted.min_count,
    )
    pieces = tuple(track(merger.learn(wanted.pieces), "pieces"))
    if isinstance(rules, PairRules) and isinstance(origin, ForeignJson):
        tokens = tuple(origin.token(piece.spelling) for piece in pieces)
        written = {id: token for token, id in origin.vocabulary.items()}
        written |= {piece.id: token for piece, token in zip(pieces, tokens, strict=True)}
        merges = [(written[left], written[right]) for left, right in rules.added]
        return Extension(pieces, tokens, origin.extended(tokens, merges))
    assert isinstance(origin, ForeignModel)
    tokens = tuple(piece.spelling.decode() for piece in pieces)
    # Llama's runs of spaces score -1e9, where single precision has no room for the next 64 scores.
    worst = min((score for score in origin.scores.values() if score > _LOWEST), default=0.0)
    proto = origin.extended([(token, worst - 1 - place) for place, token in enumerate(tokens)])
    return Extension(pieces, tokens, hugging_face(proto), proto)


def row_of(origin: ForeignJson | ForeignModel, lines: Iterable[str], wanted: Wanted) -> Row:
    """The lines as the tokenizer cuts them and as MeCab does."""
    row, segment, last = Row(), morphemes.mecab(wanted.dictionary), 0
    for batch in batched(lines, _BATCH_LINES):
        for stretches in origin.stretches(batch):
            spelt = b"".join(spelling for stretch in stretches for spelling in stretch.spellings)
            try:
                text = spelt.decode()
            except UnicodeDecodeError:  # a token that is not text stood within a character
                continue
            numbers, at = units(text, segment, gap=wanted.max_morphemes, after=last), 0
            last = max([last, *numbers]) + wanted.max_morphemes  # so that no morpheme touches one of another line
            for stretch in stretches:
                size = sum(map(len, stretch.spellings))
                row.add(zip(stretch.ids, stretch.spellings, strict=True), numbers[at : at + size])
                at += size
    return row


def _append(origin: ForeignJson | ForeignModel, lines: Sequence[str], wanted: Wanted, track: Track) -> Extension:
    counts = _counts(lines, wanted, track)
    scores = _scores(origin)
    known = {text.replace(SPACE, " ") for text in scores}
    counts = {text: seen for text, seen in counts.items() if text not in known}
    worst = _worst(origin)

    def encoder(pieces: Sequence[tuple[str, float]]) -> Encode:
        made = _with(origin, pieces)
        larger = opened(made, origin.origin) if isinstance(origin, ForeignJson) else ForeignModel(made, origin.origin)
        if isinstance(larger, ForeignModel):
            return larger.encode
        return lambda texts: (found.ids for found in larger.encode_batch_fast(list(texts), add_special_tokens=False))

    byte_of = {origin.spellings[id][0]: id for id in origin.single_bytes}
    added = append_pieces(
        counts,
        count=wanted.pieces,
        lattice=Lattice(scores, [byte_of[byte] for byte in range(256)], worst),
        worst=worst,
        texts=lines,
        first_id=origin.first_id,
        encoder=encoder,
    )
    pieces = tuple(piece for piece, _ in added)
    tokens = tuple(piece.spelling.decode() for piece in pieces)
    made = _with(origin, [(token, score) for token, (_, score) in zip(tokens, added, strict=True)])
    if isinstance(origin, ForeignJson):
        return Extension(pieces, tokens, made)
    return Extension(pieces, tokens, hugging_face(made), made)


def _counts(lines: Sequence[str], wanted: Wanted, track: Track) -> dict[str, int]:
    """Strings that may become pieces with how often they occur, the most useful ones."""
    tally = morphemes.Tally()
    counted = morphemes.count(
        lines, max_morphemes=wanted.max_morphemes, max_chars=wanted.max_chars, dictionary=wanted.dictionary
    )
    for part in track(counted, "batches"):
        tally.add(part)
    chosen = candidates(
        tally,
        max_chars=wanted.max_chars,
        min_count=wanted.min_count,
        limit=wanted.pieces * _CANDIDATES_PER_PIECE,
    )
    characters = Counter(character for line in lines for character in line)
    single = {character: seen for character, seen in characters.items() if seen >= wanted.min_count}
    return {text: seen for text, seen in [*chosen, *sorted(single.items())] if JAPANESE.fullmatch(text)}


def _scores(origin: ForeignJson | ForeignModel) -> Mapping[str, tuple[int, float]]:
    if isinstance(origin, ForeignModel):
        return {origin.proto.pieces[id].piece: (id, score) for id, score in origin.scores.items()}
    entries = enumerate(origin.content["model"]["vocab"])
    return {
        text: (id, score) for id, (text, score) in entries if id not in origin.single_bytes and text not in origin.added
    }


def _worst(origin: ForeignJson | ForeignModel) -> float:
    """The score that unknown characters are measured by."""
    if isinstance(origin, ForeignModel):
        return min(origin.scores.values())
    return min(score for _, score in origin.content["model"]["vocab"])


def _with(origin: ForeignJson | ForeignModel, pieces: Sequence[tuple[str, float]]) -> Any:
    return origin.extended_unigram(pieces) if isinstance(origin, ForeignJson) else origin.extended(pieces)
