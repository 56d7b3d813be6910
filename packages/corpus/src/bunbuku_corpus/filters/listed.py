"""Measures and filters of listed words, and of where a text was found."""

from collections.abc import Callable
from typing import ClassVar, Literal, override
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from pydantic import NonNegativeInt

from bunbuku_corpus.filters.filter import AmongWords, Filter, Measure, Ratio, Values, ratio
from bunbuku_corpus.texts import Texts
from bunbuku_corpus.vocabulary import Found, Vocabulary, searcher


class _Listed(Measure):
    vocabulary: Vocabulary
    words: tuple[str, ...] = ()

    def found(self, texts: Texts) -> list[Found]:
        find = searcher(self.vocabulary, self.words).find
        return [find(text) for text in texts.folded]


class ListedWordRatio(_Listed):
    """Share of the characters in words of a list; 0 for one word alone, which is a mention and no density."""

    type: Literal["listed_word_ratio"] = "listed_word_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        found = self.found(texts)
        return ratio(
            np.array([one.chars if one.words > 1 else 0 for one in found]), np.array([one.total for one in found])
        )


class ListedWordCount(_Listed):
    """How many words of a list stand in a text."""

    type: Literal["listed_word_count"] = "listed_word_count"
    column: ClassVar[pa.DataType] = pa.int64()

    @override
    def of(self, texts: Texts) -> Values:
        return np.array([one.words for one in self.found(texts)], np.int64)


class _OfAddress(Measure):
    column: ClassVar[pa.DataType] = pa.string()

    def _each(self, texts: Texts, part: Callable[[str], str | None]) -> Values:
        hosts = [_host(url) if url else None for url in texts.urls]
        return np.array([part(host) if host else None for host in hosts], object)


class Host(_OfAddress):
    """Host of a text's address."""

    type: Literal["host"] = "host"

    @override
    def of(self, texts: Texts) -> Values:
        return self._each(texts, lambda host: host)


class TopLevelDomain(_OfAddress):
    """Last part of the host of a text's address."""

    type: Literal["top_level_domain"] = "top_level_domain"

    @override
    def of(self, texts: Texts) -> Values:
        return self._each(texts, lambda host: host.rpartition(".")[2])


class UrlWordCount(_Listed):
    """How many words of a list stand in a text's address."""

    type: Literal["url_word_count"] = "url_word_count"
    column: ClassVar[pa.DataType] = pa.int64()

    @override
    def of(self, texts: Texts) -> Values:
        find = searcher(self.vocabulary, self.words).find
        return np.array([find(url.lower()).words if url else 0 for url in texts.urls], np.int64)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


class ListedWords(Filter):
    """More than `max_ratio` of the characters stand in words of a list: never one hit, always a density.

    `vocabulary` is `adult`, `violence`, `discrimination`, `advertising` or `boilerplate`; `words` adds more.

    >>> ListedWords(vocabulary="advertising").drops("送料無料！今だけ激安セール実施中、ご注文はこちら")
    True
    >>> ListedWords(vocabulary="violence").drops("1572年のこの事件は、後に虐殺と呼ばれるようになった。")
    False
    """

    measured = ListedWordRatio
    type: Literal["listed_words"] = "listed_words"
    vocabulary: Vocabulary
    words: tuple[str, ...] = ()
    max_ratio: Ratio = 0.1


class TooManyListedWords(Filter):
    """More than `max_count` words of a list, however long the text is.

    >>> TooManyListedWords(vocabulary="advertising", max_count=2).drops("送料無料、激安、特価")
    True
    """

    measured = ListedWordCount
    type: Literal["too_many_listed_words"] = "too_many_listed_words"
    vocabulary: Vocabulary
    words: tuple[str, ...] = ()
    max_count: NonNegativeInt = 10


class SuspectUrl(Filter):
    """More than `max_count` words of a list stand in the address. Documents without one pass."""

    measured = UrlWordCount
    type: Literal["suspect_url"] = "suspect_url"
    vocabulary: Vocabulary = "adult"
    words: tuple[str, ...] = ()
    max_count: NonNegativeInt = 1


class ListedHost(AmongWords):
    """The address is at one of `hosts` or below it. Documents without an address pass.

    >>> ListedHost(hosts=("example.com",)).refuses("blog.example.com"), ListedHost(hosts=("example.com",)).refuses(None)
    (True, False)
    """

    measured = Host
    type: Literal["listed_host"] = "listed_host"
    hosts: tuple[str, ...]

    @override
    def refuses(self, value: str | None) -> bool:
        return value is not None and any(value == host or value.endswith(f".{host}") for host in self.hosts)


class OtherTopLevelDomain(AmongWords):
    """The address is under none of the `expected` top-level domains. Documents without an address pass.

    >>> OtherTopLevelDomain().refuses("jp"), OtherTopLevelDomain().refuses("ru")
    (False, True)
    """

    measured = TopLevelDomain
    type: Literal["other_top_level_domain"] = "other_top_level_domain"
    expected: tuple[str, ...] = ("jp", "com", "net", "org")

    @override
    def refuses(self, value: str | None) -> bool:
        return value is not None and value not in self.expected
