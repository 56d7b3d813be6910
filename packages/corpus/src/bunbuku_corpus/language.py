"""Which language a text is written in, offline. The one module that knows py3langid."""

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from bunbuku_corpus.characters import KANA as KANA_CLASSES
from bunbuku_corpus.characters import LETTERS, Class, classes
from bunbuku_corpus.document import UNDETERMINED
from bunbuku_corpus.ngrams import codepoints

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u30fc\uff66-\uff9f]")
"""Hiragana and katakana, the long-vowel mark and half-width forms included."""
SAMPLE_CHARS = 900
_JAPANESE_KANA = 0.1
"""Share of kana among a text's letters from which it is Japanese: no other language is written with them, and quotations
in a Chinese or English text stay below. Statutes, official notices and letters in old style have little more; the model takes
half of these for Chinese. It settles most Japanese texts, a hundred times as fast as the model."""


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # its model takes a quarter of a second to read

    return LanguageIdentifier.from_model_file(MODEL_FILE)


def sample(text: str, chars: int = SAMPLE_CHARS) -> str:
    r"""The text, or thirds from its beginning, middle and end: a header in another language decides nothing.

    >>> sample("abcdefghi", chars=3)
    'a\ne\ni'
    """
    if len(text) <= chars:
        return text
    third = chars // 3
    middle = (len(text) - third) // 2
    return "\n".join((text[:third], text[middle : middle + third], text[-third:]))


def identify(text: str) -> str:
    """ISO 639-1 code of the text's language, `und` if it has no letters.

    >>> identify("吾輩は猫である。名前はまだ無い。"), identify("I am a cat. As yet I have no name.")
    ('ja', 'en')
    >>> identify("１２３ … ！")
    'und'
    """
    part = sample(text)
    counts = np.bincount(classes(codepoints(part)), minlength=len(Class))
    letters = int(counts[list(LETTERS)].sum())
    if not letters:
        return UNDETERMINED
    if counts[list(KANA_CLASSES)].sum() >= _JAPANESE_KANA * letters:
        return "ja"
    return str(_identifier().classify(part)[0])
