"""Measures and filters of personal information, by its form; what `mask_personal_information` puts in its place counts, too."""

from typing import ClassVar, Literal, override

import numpy as np
import pyarrow as pa
from pydantic import NonNegativeInt

from bunbuku_corpus.filters.filter import Filter, Measure, Ratio, Values, ratio
from bunbuku_corpus.personal import sizes
from bunbuku_corpus.texts import Texts


class PersonalInformationRatio(Measure):
    """Share of the characters in mail addresses, Japanese telephone numbers and IP addresses."""

    type: Literal["personal_information_ratio"] = "personal_information_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        return ratio(np.array([sum(sizes(text)) for text in texts.texts]), texts.chars)


class PersonalInformationCount(Measure):
    """How many mail addresses, Japanese telephone numbers and IP addresses stand in a text."""

    type: Literal["personal_information_count"] = "personal_information_count"
    column: ClassVar[pa.DataType] = pa.int64()

    @override
    def of(self, texts: Texts) -> Values:
        return np.array([len(sizes(text)) for text in texts.texts], np.int64)


class PersonalInformation(Filter):
    """More than `max_ratio` of the characters are mail addresses, telephone numbers and IP addresses: lists of members.

    >>> PersonalInformation().drops("山田 03-1234-5678 taro@mail.co.jp"), PersonalInformation().drops("電話は明日かけます。")
    (True, False)
    """

    measured = PersonalInformationRatio
    type: Literal["personal_information"] = "personal_information"
    max_ratio: Ratio = 0.1


class TooMuchPersonalInformation(Filter):
    """More than `max_count` mail addresses, telephone numbers and IP addresses, however long the text is.

    >>> TooMuchPersonalInformation(max_count=1).drops("03-1234-5678、又は090-1234-5678")
    True
    """

    measured = PersonalInformationCount
    type: Literal["too_much_personal_information"] = "too_much_personal_information"
    max_count: NonNegativeInt = 10
