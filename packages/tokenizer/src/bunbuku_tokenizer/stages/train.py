"""Training: read, run the core, write."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Config,
    Corpus,
    Draft,
    RunSettings,
    Tokenizer,
    stage,
)
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from bunbuku_tokenizer import exports, unigram
from bunbuku_tokenizer.adversarial import adversarial
from bunbuku_tokenizer.documents import Document, held_out_ids, read_documents
from bunbuku_tokenizer.encoder import Encoder
from bunbuku_tokenizer.learning import Learner
from bunbuku_tokenizer.recipe import AnyCandidates, Morphemes
from bunbuku_tokenizer.sampling import Drawn, draw
from bunbuku_tokenizer.sentences import sentences
from bunbuku_tokenizer.unigram import BOS, EOS, PAD, SPECIALS, UNK
from bunbuku_tokenizer.vocabulary import GIVEN, Characters, Piece, assemble

_CHECKED_TEXTS = 500
"""Of each language, where the corpus holds nothing out."""


class TrainConfig(Config):
    """What vocabulary to make, and of which text."""

    vocab_size: PositiveInt = 65_024
    """Ids: special tokens, 256 bytes, whitespace, learned pieces and the tokens in reserve."""
    multiple_of: PositiveInt = 64
    """Further tokens in reserve make the number of ids a multiple of this, so that embeddings divide over devices."""
    reserved_tokens: NonNegativeInt = 16
    """Special tokens without a meaning yet, `<|reserved_0|>` and so on: for chats and tools that come later."""
    max_chars: PositiveInt = 20_000_000
    """Characters to learn from, drawn from each language of the corpus."""
    language_chars: dict[str, NonNegativeInt] = Field(default={})
    """Another number for some languages, `{en = 5_000_000}`; 0 leaves a language out."""
    shares: dict[str, PositiveFloat] = Field(default={})
    """How the learned pieces are divided, `{ja = 0.6, en = 0.25, code = 0.15}`; left out, what serves the whole sample."""
    seed: NonNegativeInt = 0
    """Which documents are drawn."""
    candidates: AnyCandidates = Morphemes()
    """Which strings may become pieces."""
    max_piece_chars: PositiveInt = Field(default=16, ge=2)
    """Longest piece."""
    required_characters: Characters = "joyo"
    """Characters that always have a piece: `kana` and ASCII, or the 2,136 kanji of general use (常用漢字) as well."""
    character_coverage: float = Field(default=0.9998, gt=0, le=1)
    """Share of the text's characters that get a piece besides; rarer ones are spelt in bytes."""
    shrinking_factor: float = Field(default=0.75, gt=0, lt=1)
    """Share of the candidates that survives each round of pruning."""
    num_threads: PositiveInt = 2
    """Threads of SentencePiece. Part of the recipe, for it changes the order of sums and with it the last pieces."""


class TrainRun(RunSettings):
    """Circumstance of training: changes nothing in what is made."""

    workers: PositiveInt = 1
    """Processes that look for morphemes."""


@stage("tokenizer.train")
def train(
    draft: Draft,
    config: TrainConfig,
    corpus: Artifact[Corpus],
    more: dict[str, Artifact[Corpus]] | None = None,
    *,
    run: TrainRun = TrainRun(),  # noqa: B008 - a frozen value
) -> Tokenizer:
    """Learn a vocabulary from a sample of a corpus, and write it for SentencePiece and for Hugging Face.

    MeCab says where the morphemes of the sample are. The strings within a morpheme, short runs of whole morphemes and the
    words of other scripts are the candidates; SentencePiece's unigram model chooses among them on the text as it is. The
    tokenizer that comes out does not need MeCab, gives back every text exactly, and has the same ids in both forms.

    --more NAME=DIR adds further text, for example the English side of a parallel corpus; what belongs to a validation or
    test document of --corpus is left out of it.
    """
    drawn = draw(
        draft.track(_documents(corpus, more or {}), unit="documents"),
        max_chars=config.max_chars,
        budgets=config.language_chars,
        seed=config.seed,
    )
    _check_sample(drawn, config)
    lines = {language: [line for text in each.texts for line in sentences(text)] for language, each in drawn.items()}
    pieces, model = _learn(draft, config, run, lines)
    exports.write(draft.dir, pieces, model)
    _check_made(draft, corpus, drawn)
    for language, each in drawn.items():
        kept = sum(map(len, lines[language]))
        draft.metrics |= {
            f"sample.{language}.characters": float(each.chars),
            f"sample.{language}.share": each.chars / max(each.seen_chars, 1),
            f"sample.{language}.sentences": float(len(lines[language])),
            f"sample.{language}.characters_between_sentences": float(each.chars - kept),
        }
    ids = {text: id for id, text in enumerate(SPECIALS)}
    return Tokenizer(vocab_size=len(pieces), unk_id=ids[UNK], bos_id=ids[BOS], eos_id=ids[EOS], pad_id=ids[PAD])


def _documents(corpus: Artifact[Corpus], more: dict[str, Artifact[Corpus]]) -> Iterator[Document]:
    yield from read_documents(corpus)
    held_out = held_out_ids(corpus) if more else frozenset[str]()
    for name in sorted(more):
        for document in read_documents(more[name]):
            if document.id not in held_out and document.id.rpartition("/")[0] not in held_out:
                yield document


def _check_sample(drawn: dict[str, Drawn], config: TrainConfig) -> None:
    there = ", ".join(drawn) or "none"
    for name, budget in (("language_chars", config.language_chars), ("shares", config.shares)):
        if missing := sorted(set(budget) - set(drawn)):
            raise BunbukuError(
                f"`{name}` names {missing[0]!r}, and the corpus has no document in it; its languages are: {there}",
                hint=f"take it out of `{name}`, or add text in it with --more",
            )
    with_text = {language for language, each in drawn.items() if any(text.strip() for text in each.texts)}
    if not with_text:
        raise BunbukuError("the corpus has no text to learn from", hint="look at it with `bunbuku show`")
    if empty := sorted(set(config.shares) - with_text):
        raise BunbukuError(
            f"`shares` names {empty[0]!r}, and its sample has no text", hint="look at `language_chars`, or leave it out"
        )
    if config.shares and (without := sorted(with_text - set(config.shares))):
        raise BunbukuError(
            f"`shares` leaves out {without[0]!r}, which the sample has text in",
            hint=f"give it a share, or leave it out of the sample with `language_chars = {{ {without[0]} = 0 }}`",
        )


def _learn(
    draft: Draft, config: TrainConfig, run: TrainRun, lines: dict[str, list[str]]
) -> tuple[tuple[Piece, ...], Any]:
    learner = Learner(
        candidates=config.candidates,
        required=config.required_characters,
        coverage=config.character_coverage,
        max_chars=config.max_piece_chars,
        shrinking_factor=config.shrinking_factor,
        num_threads=config.num_threads,
        workers=run.workers,
        scratch=draft.scratch,
        track=partial(draft.track, unit="batches", label=f"{draft.label}: morphemes"),
    )
    beside = len(GIVEN) + config.reserved_tokens
    ids = config.vocab_size + -config.vocab_size % config.multiple_of
    size = config.vocab_size - beside
    try:
        if config.shares:
            learned, model, numbers = learner.apart(lines, size, config.shares)
            draft.metrics |= {f"pieces.{language}": float(number) for language, number in numbers.items()}
        else:
            learned, model = learner.together(lines, size)
    except unigram.VocabularyTooLarge as error:
        largest = error.largest + beside
        raise BunbukuError(
            f"`vocab_size` {config.vocab_size} is more than the sample gives, which is {largest} pieces",
            hint=f"set vocab_size = {largest} or less, or give it more text"
            + ", or other `shares`" * bool(config.shares),
        ) from error
    except unigram.VocabularyTooSmall as error:
        smallest = error.smallest + beside
        raise BunbukuError(
            f"`vocab_size` {config.vocab_size} is too small for the characters alone, which take {smallest} pieces",
            hint=f"set vocab_size = {smallest} or more, or lower `character_coverage` {config.character_coverage}"
            + ', or set required_characters = "kana"' * (config.required_characters == "joyo"),
        ) from error
    return assemble(learned, ids=ids), model


def _check_made(draft: Draft, corpus: Artifact[Corpus], drawn: dict[str, Drawn]) -> None:
    """Both forms on what is held out, else on some of the sample, and on strings made to trip them."""
    texts: Iterable[str] = (text for each in drawn.values() for text in each.texts[:_CHECKED_TEXTS])
    if "validation" in corpus.manifest.parts:
        texts = (document.text for document in read_documents(corpus, "validation"))
    checked = draft.track(chain(adversarial(), texts), unit="texts", label=f"{draft.label}: check")
    if problem := Encoder.open(draft.dir).first_failure(checked):
        raise BunbukuError(f"the tokenizer is not sound: {problem}", hint="this is a bug: please report that text")
