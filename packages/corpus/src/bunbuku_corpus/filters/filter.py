"""What a measure and a filter are.

A **measure** gives every document of a batch a number (or a word, such as its language) and decides nothing; it is the
column that `annotate` writes. A **filter** is a threshold on one measure; it is what `clean` and `decide` apply. Both are
their own configs: frozen values with one pure method. A filter's fields named `min_…` and `max_…` are its thresholds, the
others go to its measure, so that no change of a threshold ever measures anything again.

To add one: write a measure and a filter, put their names into the unions of the package, add cases to its test.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple, override

import numpy as np
import pyarrow as pa
from bunbuku_contracts import Config
from numpy.typing import NDArray
from pydantic import Field

from bunbuku_corpus.document import Document
from bunbuku_corpus.items import Mask
from bunbuku_corpus.texts import Texts

Ratio = Annotated[float, Field(ge=0, le=1)]
type Values = NDArray[Any]


class Bounds(NamedTuple):
    """From which to which value a measure may lie, both included; `None` if there is no bound."""

    low: float | None = None
    high: float | None = None

    def outside(self, values: Values) -> Mask:
        """Which values do not lie within. What has no value (NaN) is not outside.

        >>> Bounds(low=1).outside(np.array([0.5, 1.0, np.nan])).tolist()
        [True, False, False]
        """
        outside = np.zeros(len(values), np.bool_)
        if self.low is not None:
            outside |= values < self.low
        if self.high is not None:
            outside |= values > self.high
        return outside


def ratio(part: Values, whole: Values) -> NDArray[np.float64]:
    """One over the other; where there is no whole there is no ratio (NaN).

    >>> ratio(np.array([1, 0]), np.array([4, 0])).tolist()
    [0.25, nan]
    """
    result = np.full(len(part), np.nan)
    return np.divide(part, whole, out=result, where=np.asarray(whole) > 0)


class Measure(Config, ABC):
    """What every measure is."""

    revision: ClassVar[int] = 1
    """Raised when the same text would now get another value."""
    column: ClassVar[pa.DataType] = pa.float64()
    """Type of its column: float64, where null says that a text has no such value; int64; or string."""

    @property
    def name(self) -> str:
        """What its column is called: its type and its fields' values.

        >>> from bunbuku_corpus.filters import KanaRatio, RepeatedNgramRatio
        >>> KanaRatio().name, RepeatedNgramRatio(n=5).name
        ('kana_ratio', 'repeated_ngram_ratio_5')
        """
        return "_".join([_type(self), *_words_of(self, type(self).model_fields)])

    @abstractmethod
    def of(self, texts: Texts) -> Values:
        """A value for each text."""


class Filter(Config, ABC):
    """What every filter is."""

    measured: ClassVar[type[Measure]]
    """The measure that its thresholds are for."""

    languages: tuple[str, ...] = ()
    """Judge only documents of these languages; all documents if empty."""

    @property
    def name(self) -> str:
        """What the filter is called in reasons, metrics and reports.

        Its type, what it measures other than by default, and the languages that it judges.

        >>> from bunbuku_corpus.filters import RepeatedNgrams, TooShort
        >>> TooShort().name, TooShort(languages=("ja", "zh")).name, RepeatedNgrams(n=5).name
        ('too_short', 'too_short.ja-zh', 'repeated_ngrams_5')
        """
        fields = [field for field in self._measured_fields if not isinstance(getattr(self, field), tuple)]
        changed = [field for field in fields if getattr(self, field) != _default(self, field)]
        name = "_".join([_type(self), *_words_of(self, changed)])
        return f"{name}.{'-'.join(self.languages)}" if self.languages else name

    @property
    def _measured_fields(self) -> list[str]:
        return [field for field in self.measured.model_fields if field != "type"]

    @property
    def measure(self) -> Measure:
        """What its thresholds are for."""
        return self.measured(**{field: getattr(self, field) for field in self._measured_fields})

    @property
    def bounds(self) -> Bounds:
        """Its thresholds. None for a filter that decides by words."""
        fields = type(self).model_fields
        low = [getattr(self, field) for field in fields if field.startswith("min_")]
        high = [getattr(self, field) for field in fields if field.startswith("max_")]
        return Bounds(low[0] if low else None, high[0] if high else None)

    def excludes(self, values: Values) -> Mask:
        """Which of its measure's values are to go."""
        return self.bounds.outside(values)

    def judges(self, languages: Sequence[str]) -> Mask:
        """Which documents it judges, by their languages."""
        if not self.languages:
            return np.ones(len(languages), np.bool_)
        return np.fromiter((language in self.languages for language in languages), np.bool_, len(languages))

    def rejects(self, document: Document) -> bool:
        """Whether the document is among those it judges, and is to go."""
        texts = Texts([document.text], [document.url])
        return bool((self.judges([document.language]) & self.excludes(self.measure.of(texts)))[0])

    def drops(self, text: str) -> bool:
        """Whether a document of this text is to go."""
        return bool(self.excludes(self.measure.of(Texts([text])))[0])


class AmongWords(Filter):
    """A filter that decides by words: `excludes` says which."""

    @property
    @override
    def bounds(self) -> Bounds:
        return Bounds()

    @override
    def excludes(self, values: Values) -> Mask:
        return np.fromiter((self.refuses(value) for value in values), np.bool_, len(values))

    @abstractmethod
    def refuses(self, value: str | None) -> bool:
        """Whether a document with this value is to go."""


def _type(config: Config) -> str:
    return str(type(config).model_fields["type"].default)


def _default(config: Config, field: str) -> object:
    return type(config).model_fields[field].default


def _words_of(config: Config, fields: Iterable[str]) -> list[str]:
    """The fields' values as they stand in a name; a list of words as a hash of it."""
    values = (getattr(config, field) for field in fields if field != "type")
    return [_digest(value) if isinstance(value, tuple) else str(value) for value in values if value != ()]


def _digest(words: tuple[object, ...]) -> str:
    return hashlib.blake2b("\n".join(map(str, words)).encode(), digest_size=4).hexdigest()
