"""Extending someone else's tokenizer: read, run the core, write."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bunbuku_contracts import Artifact, BunbukuError, Config, Corpus, Draft, Tokenizer, stage
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_tokenizer import foreign
from bunbuku_tokenizer.documents import count_documents, read_documents
from bunbuku_tokenizer.embeddings import EMBEDDINGS, NewRow, write_plan
from bunbuku_tokenizer.exports import CONFIG, MODEL, TOKENIZER
from bunbuku_tokenizer.extension import Extension, Wanted, extension_of, graft
from bunbuku_tokenizer.foreign import Foreign
from bunbuku_tokenizer.foreign_json import ForeignJson
from bunbuku_tokenizer.foreign_model import ForeignModel
from bunbuku_tokenizer.morphemes import Dictionary
from bunbuku_tokenizer.sampling import Reservoir
from bunbuku_tokenizer.sentences import sentences
from bunbuku_tokenizer.units import CJK, JAPANESE

_logger = logging.getLogger(__name__)

_CARRIED = ("chat_template.jinja", "special_tokens_map.json")
_CHECKED_TEXTS = 2000
_HELD_OUT = 0.05
_OTHER_TEXTS = (
    "The quick brown fox jumps over the lazy dog.\n\n  It's 12,345.67 metres away -- isn't it?",
    "def f(x: int) -> dict[str, int]:\n\treturn {'a': x ** 2}  # ok\r\n",
    "Größe, naïve façade, Ελληνικά, русский язык, עברית, العربية, हिन्दी, ไทย, 한국어 문장입니다.",
    "🏳️‍🌈👩‍👩‍👧‍👦 ∑∫√ ①㈱ ｱｲｳ！ \u00a0\u200b\ufeff\0 <s></s><|endoftext|>[INST] <0x41>",
)
"""No kana, no kanji."""


class ExtendConfig(Config):
    """What to add."""

    new_pieces: PositiveInt = 10_000
    """Pieces to add; fewer if the text does not give so many."""
    max_chars: PositiveInt = 5_000_000
    """Characters of Japanese documents to learn from, drawn from the corpus."""
    seed: NonNegativeInt = 0
    """Which documents are drawn."""
    max_morphemes: PositiveInt = 2
    """Most whole morphemes in one piece: 1 never crosses a morpheme boundary, more gives fewer tokens."""
    max_piece_chars: PositiveInt = 16
    """Longest piece."""
    min_count: PositiveInt = 2
    """A piece has to occur at least so often."""
    dictionary: Dictionary = "ipadic"
    """Of MeCab."""
    bos_token: str | None = None
    """Begins a text. If left out: what the tokenizer's files say, else the token that ends one."""
    eos_token: str | None = None
    """Ends a text. If left out: what the tokenizer's files say."""
    pad_token: str | None = None
    """Fills a batch. If left out: what the tokenizer's files say, else the token that ends a text."""
    unk_token: str | None = None
    """If left out: what the tokenizer's files say, else the token that ends a text; nothing is ever unknown."""


class Sample(NamedTuple):
    """Japanese documents."""

    learned: tuple[str, ...]
    held_out: tuple[str, ...]


@stage("tokenizer.extend")
def extend(draft: Draft, config: ExtendConfig, tokenizer: Path, corpus: Artifact[Corpus]) -> Tokenizer:
    """Add Japanese pieces to someone else's tokenizer, and say what their embeddings begin as.

    --tokenizer is a `tokenizer.json` (byte-level, or with byte fallback), a SentencePiece `.model`, or a folder with one
    or both. A byte-pair tokenizer's training goes on where it stopped, on the Japanese of the corpus, within MeCab's
    morphemes or whole ones; a unigram model gets pieces beside its own. Text without Japanese keeps its ids, and so do
    special tokens. `embeddings.parquet` says for every new piece which old pieces' embeddings to take the mean of.
    """
    given = foreign.read(tokenizer)
    ids = given.special_ids({name: getattr(config, name) for name in foreign.NAMES})
    sample = _sample(draft, config, corpus)
    checked = [*sample.held_out[:_CHECKED_TEXTS], *sample.learned[:_CHECKED_TEXTS]]
    given = foreign.agreed(given, checked)
    extension = _extend(draft, config, given, sample)
    new = ForeignJson(extension.content, f"{tokenizer}, extended,")
    _check(given, new, checked)
    extension = _agreed(given, new, extension, checked)
    _write(draft, given, extension, ids)
    _measure(draft, given, new, sample)
    return Tokenizer(
        vocab_size=new.first_id,
        unk_id=ids["unk_token"],
        bos_id=ids["bos_token"],
        eos_id=ids["eos_token"],
        pad_id=ids["pad_token"],
    )


def _sample(draft: Draft, config: ExtendConfig, corpus: Artifact[Corpus]) -> Sample:
    reservoir = Reservoir(config.max_chars, config.seed)
    for document in draft.track(read_documents(corpus), unit="documents", total=count_documents(corpus)):
        if JAPANESE.search(document.text):
            reservoir.offer(document)
    texts = reservoir.drawn().texts
    if len(texts) < 2:
        found = "one document" if texts else "no document"
        raise BunbukuError(
            f"{corpus.dir} has {found} with Japanese: there has to be one to learn from and one to measure",
            hint="look at it with `bunbuku show`",
        )
    held_out = max(1, round(_HELD_OUT * len(texts)))
    return Sample(learned=texts[held_out:], held_out=texts[:held_out])


def _extend(draft: Draft, config: ExtendConfig, given: Foreign, sample: Sample) -> Extension:
    lines = [line for text in sample.learned for line in sentences(text) if JAPANESE.search(line)]
    wanted = Wanted(
        pieces=config.new_pieces,
        max_morphemes=config.max_morphemes,
        max_chars=config.max_piece_chars,
        min_count=config.min_count,
        dictionary=config.dictionary,
    )

    def track(items: Iterable[Any], unit: str) -> Iterator[Any]:
        return draft.track(items, unit=unit)

    extension = extension_of(given.model or given.fast, lines, wanted, track=track)
    if not extension.pieces:
        raise BunbukuError(
            f"the Japanese in the corpus gives no piece that {given.fast.origin} does not have",
            hint="give it more text, or a smaller `min_count`",
        )
    return graft(given.fast, extension) if given.model else extension


def _check(given: Foreign, new: ForeignJson, texts: Sequence[str]) -> None:
    """See that nothing changed but how Japanese is cut."""
    others = [*_OTHER_TEXTS, *given.fast.added, *(line for text in texts for line in _lines_without(text))]
    if changed := foreign.differences(given.fast, new, others):
        raise _unsound(f"the ids of {changed[0][:200]!r} have changed")
    for text, before, after in zip(texts, given.fast.encode(texts), new.encode(texts), strict=True):
        if given.fast.decode(before) != new.decode(after):
            raise _unsound(f"{text[:200]!r} does not come back as before")


def _agreed(given: Foreign, new: ForeignJson, extension: Extension, texts: Sequence[str]) -> Extension:
    """`extension`, without its SentencePiece model where that gives other ids: it rounds sums of scores."""
    if extension.model is None or given.model is None:
        return extension
    differing = foreign.differences(ForeignModel(extension.model, new.origin), new, texts)
    if not differing:
        return extension
    _logger.warning("%s is left out: extended, its ids differ for %r", given.model.origin, differing[0][:200])
    return extension._replace(model=None)


def _lines_without(text: str) -> list[str]:
    return [line for line in text.split("\n") if not CJK.search(line)]


def _unsound(problem: str) -> BunbukuError:
    return BunbukuError(
        f"the extended tokenizer is not sound: {problem}", hint="please report the tokenizer and the text"
    )


def _write(draft: Draft, given: Foreign, extension: Extension, ids: dict[str, int]) -> None:
    content = json.dumps(extension.content, ensure_ascii=False, indent=2)
    (draft.dir / TOKENIZER).write_text(content + "\n", encoding="utf-8")
    if extension.model is not None:
        (draft.dir / MODEL).write_bytes(extension.model.SerializeToString(deterministic=True))
    text_of = {id: text for text, id in (given.fast.vocabulary | given.fast.added).items()}
    named = {name: text_of[ids[name]] for name in foreign.NAMES}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **named} | given.settings
    (draft.dir / CONFIG).write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for name in _CARRIED:
        if given.folder and (given.folder / name).is_file():
            shutil.copyfile(given.folder / name, draft.dir / name)
    rows = (
        NewRow(piece.id, token, piece.old_ids) for piece, token in zip(extension.pieces, extension.tokens, strict=True)
    )
    write_plan(draft.dir / EMBEDDINGS, rows)
    draft.count(draft.dir / EMBEDDINGS, rows=len(extension.pieces), part="embeddings")


def _measure(draft: Draft, given: Foreign, new: ForeignJson, sample: Sample) -> None:
    chars = sum(map(len, sample.held_out))
    before = sum(map(len, given.fast.encode(sample.held_out)))
    used = Counter(id for ids in new.encode(sample.held_out) for id in ids)
    draft.metrics |= {
        "sentencepiece_differences": given.differing,
        "pieces": float(new.first_id - given.fast.first_id),
        "held_out.characters": float(chars),
        "held_out.characters_per_token.before": chars / before,
        "held_out.characters_per_token.after": chars / used.total(),
        "held_out.pieces_used": float(sum(id >= given.fast.first_id for id in used)),
    }
    _logger.info("%.3f characters a token, %.3f before", chars / used.total(), chars / before)
