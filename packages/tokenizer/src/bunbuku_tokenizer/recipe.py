"""Where a vocabulary's candidates come from: a config each, all choosing by SentencePiece's unigram model afterwards.

`Morphemes` is ours. The other two are what the field does, kept for comparison on equal text.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from bunbuku_contracts import Config
from pydantic import Field, PositiveInt

from bunbuku_tokenizer import morphemes
from bunbuku_tokenizer.candidates import candidates
from bunbuku_tokenizer.scripts import is_japanese

type Track = Callable[[Iterable[Any]], Iterable[Any]]
"""Shows progress of what it passes on."""


class Material(NamedTuple):
    """What SentencePiece's trainer is given."""

    lines: list[str]
    candidates: list[tuple[str, int]] | None
    """Strings to choose from with how often they occur; `None` to let SentencePiece find them."""
    delimiter: str | None = None
    """Stands in `lines` where no candidate may reach across."""
    words: Mapping[str, int] = MappingProxyType({})
    """Morphemes of Japanese of several characters, with how often they occur."""
    word_share: float = 0.0
    """Such a share of the pieces of Japanese give way to the most frequent of `words` that are none."""


class Morphemes(Config):
    """Strings within a morpheme or word, and short runs of whole morphemes; the text stays as it is."""

    type: Literal["morphemes"] = "morphemes"
    dictionary: morphemes.Dictionary = "ipadic"
    """MeCab's. `unidic-lite` cuts finer; install it with `pip install bunbuku-tokenizer[unidic]`."""
    max_morphemes: PositiveInt = 3
    """Most whole morphemes in one piece: 1 never crosses a morpheme boundary, more gives fewer tokens."""
    word_share: float = Field(default=0.42, ge=0, le=1)
    """Such a share of the learned pieces of Japanese, the least likely, gives way to the most frequent morphemes that are none."""
    min_count: PositiveInt = 2
    """A string seen less often is no candidate."""
    max_candidates: PositiveInt = 1_000_000
    """Strings to choose from; the most useful are kept."""

    def prepare(self, lines: list[str], *, max_chars: int, workers: int, track: Track) -> Material:
        """Count with `workers` processes; the same whatever their number."""
        tally = morphemes.Tally()
        counted = morphemes.count(
            lines,
            max_morphemes=self.max_morphemes,
            max_chars=max_chars,
            dictionary=self.dictionary,
            workers=workers,
        )
        for part in track(counted):
            tally.add(part)
        found = candidates(tally, max_chars=max_chars, min_count=self.min_count, limit=self.max_candidates)
        words = Counter({word: count for word, count in tally.atoms.items() if self._is_word(word, count, max_chars)})
        return Material(lines, found, words=words, word_share=self.word_share)

    def _is_word(self, text: str, count: int, max_chars: int) -> bool:
        return count >= self.min_count and 2 <= len(text) <= max_chars and is_japanese(text)


class Delimiter(Config):
    """Marks morpheme boundaries in the text, as Tanuki's and llm-jp's first tokenizers did, and loses words by it.

    SentencePiece takes a string for a candidate if different characters follow it somewhere. A morpheme that is always
    followed by the mark never is one (`google/sentencepiece:src/unigram_model_trainer.cc`).
    """

    type: Literal["delimiter"]
    dictionary: morphemes.Dictionary = "ipadic"
    """As for `morphemes`."""
    max_candidates: PositiveInt = 1_000_000
    """Strings to choose from."""

    def prepare(self, lines: list[str], *, max_chars: int, workers: int, track: Track) -> Material:
        """Mark the lines with `workers` processes."""
        del max_chars
        marked: list[str] = []
        for chunk in track(morphemes.mark(lines, dictionary=self.dictionary, workers=workers)):
            marked.extend(chunk)
        return Material(marked, None, morphemes.DELIMITER)


class SuffixArray(Config):
    """SentencePiece's own candidates from the text as it is; MeCab is not asked."""

    type: Literal["suffix_array"]
    max_candidates: PositiveInt = 1_000_000
    """Strings to choose from."""

    def prepare(self, lines: list[str], *, max_chars: int, workers: int, track: Track) -> Material:
        """The lines as they are."""
        del max_chars, workers, track
        return Material(lines, None)


AnyCandidates = Annotated[Morphemes | Delimiter | SuffixArray, Field(discriminator="type")]
