"""Training: read, run the core, write."""

from collections.abc import Iterable, Iterator
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
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bunbuku_tokenizer import exports, morphemes, unigram
from bunbuku_tokenizer.candidates import SPACE, candidates
from bunbuku_tokenizer.documents import Document, held_out_ids, read_documents
from bunbuku_tokenizer.encoder import Encoder
from bunbuku_tokenizer.sampling import Drawn, draw
from bunbuku_tokenizer.sentences import sentences
from bunbuku_tokenizer.unigram import BOS, EOS, PAD, SPECIALS, UNK
from bunbuku_tokenizer.vocabulary import GIVEN, MANDATORY, assemble

_CHECKED_TEXTS = 500
_TRICKY = (
    "\u2581\U0010fffd\U0010fffda\U0010fffdb\u2585",
    "<unk><s></s><pad><0x41>",
    " \t \r\n\n\n  ｱｲｳ①㈱ﾞ か\u3099 \u3000\0\u200d\ufeff" + " " * 40,
    "👩‍👩‍👧‍👦🏳️‍🌈" + "w" * 99 + "ー" * 99,
)


class TrainConfig(Config):
    """What vocabulary to make, and of which text."""

    vocab_size: PositiveInt = 65_024
    """Ids in use: special tokens, 256 bytes, whitespace and learned pieces."""
    multiple_of: PositiveInt = 64
    """`vocab_size` has to be a multiple of this, so that embeddings divide evenly over devices."""
    max_chars: PositiveInt = 20_000_000
    """Characters to learn from, drawn from each language of the corpus."""
    language_chars: dict[str, NonNegativeInt] = Field(default={})
    """Another number for some languages, `{en = 5_000_000}`; 0 leaves a language out."""
    seed: NonNegativeInt = 0
    """Which documents are drawn."""
    max_morphemes: PositiveInt = 2
    """Most whole morphemes in one piece: 1 never crosses a morpheme boundary, more gives fewer tokens."""
    max_piece_chars: PositiveInt = Field(default=16, ge=2)
    """Longest piece."""
    min_count: PositiveInt = 2
    """A string seen less often is no candidate."""
    max_candidates: PositiveInt = 1_000_000
    """Strings to choose from; the most useful are kept."""
    character_coverage: float = Field(default=0.9995, gt=0, le=1)
    """Share of the text's characters that get a piece; rarer ones are spelt in bytes. Kana and ASCII always have one."""
    shrinking_factor: float = Field(default=0.75, gt=0, lt=1)
    """Share of the candidates that survives each round of pruning."""
    num_threads: PositiveInt = 2
    """Threads of SentencePiece. Part of the recipe, for it changes the order of sums and with it the last pieces."""

    @model_validator(mode="after")
    def _divides(self) -> "TrainConfig":
        if self.vocab_size % self.multiple_of:
            below = self.vocab_size // self.multiple_of * self.multiple_of
            raise ValueError(
                f"`vocab_size` {self.vocab_size} is not a multiple of `multiple_of` {self.multiple_of}; "
                f"{below} and {below + self.multiple_of} are"
            )
        return self


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
    texts = _check_sample(drawn, config)
    lines = [line for text in texts for line in sentences(text)]
    tally = _tally(draft, config, run, lines)
    chosen = candidates(
        tally, max_chars=config.max_piece_chars, min_count=config.min_count, limit=config.max_candidates
    )
    model = _learn(draft, config, lines, chosen)
    learned = model.pieces[len(SPECIALS) + unigram.BYTES :]
    pieces = assemble((piece.piece, piece.score) for piece in learned)
    exports.write(draft.dir, pieces, model)
    if problem := Encoder.open(draft.dir).first_failure(chain(_TRICKY, texts[:_CHECKED_TEXTS])):
        raise BunbukuError(f"the tokenizer is not sound: {problem}", hint="this is a bug: please report that text")
    for language, each in drawn.items():
        draft.metrics[f"sample.{language}.characters"] = float(each.chars)
        draft.metrics[f"sample.{language}.share"] = each.chars / max(each.seen_chars, 1)
    draft.metrics["candidates"] = float(len(chosen))
    ids = {text: id for id, text in enumerate(SPECIALS)}
    return Tokenizer(vocab_size=len(pieces), unk_id=ids[UNK], bos_id=ids[BOS], eos_id=ids[EOS], pad_id=ids[PAD])


def _documents(corpus: Artifact[Corpus], more: dict[str, Artifact[Corpus]]) -> Iterator[Document]:
    yield from read_documents(corpus)
    held_out = held_out_ids(corpus) if more else frozenset[str]()
    for name in sorted(more):
        for document in read_documents(more[name]):
            if document.id not in held_out and document.id.rpartition("/")[0] not in held_out:
                yield document


def _check_sample(drawn: dict[str, Drawn], config: TrainConfig) -> list[str]:
    if missing := sorted(set(config.language_chars) - set(drawn)):
        there = ", ".join(drawn) or "none"
        raise BunbukuError(
            f"`language_chars` names {missing[0]!r}, and the corpus has no document in it; its languages are: {there}",
            hint="take it out of `language_chars`, or add text in it with --more",
        )
    texts = [text for each in drawn.values() for text in each.texts]
    if not any(text.strip() for text in texts):
        raise BunbukuError("the corpus has no text to learn from", hint="look at it with `bunbuku show`")
    return texts


def _tally(draft: Draft, config: TrainConfig, run: TrainRun, lines: list[str]) -> morphemes.Tally:
    tally = morphemes.Tally()
    counted = morphemes.count(
        lines, max_morphemes=config.max_morphemes, max_chars=config.max_piece_chars, workers=run.workers
    )
    for part in draft.track(counted, unit="batches", label=f"{draft.label}: morphemes"):
        tally.add(part)
    return tally


def _learn(draft: Draft, config: TrainConfig, lines: Iterable[str], chosen: list[tuple[str, int]]) -> Any:
    extra = len(GIVEN)
    try:
        return unigram.learn(
            chain([MANDATORY], lines),
            chosen,
            size=config.vocab_size - extra,
            required=MANDATORY.replace(" ", SPACE),
            coverage=config.character_coverage,
            max_chars=config.max_piece_chars,
            shrinking_factor=config.shrinking_factor,
            num_threads=config.num_threads,
            scratch=draft.scratch,
        )
    except unigram.VocabularyTooLarge as error:
        most = error.largest + extra
        largest = most // config.multiple_of * config.multiple_of
        raise BunbukuError(
            f"`vocab_size` {config.vocab_size} is more than the sample gives, which is {most} pieces; "
            f"the largest possible multiple of {config.multiple_of} is {largest}",
            hint=f"set vocab_size = {largest}, or a smaller `multiple_of`, or give it more text",
        ) from error
    except unigram.VocabularyTooSmall as error:
        least = error.smallest + extra
        smallest = -(-least // config.multiple_of) * config.multiple_of
        raise BunbukuError(
            f"`vocab_size` {config.vocab_size} is too small for the characters alone, which take {least} pieces; "
            f"the smallest possible multiple of {config.multiple_of} is {smallest}",
            hint=f"set vocab_size = {smallest} or more, or lower `character_coverage` {config.character_coverage}",
        ) from error
