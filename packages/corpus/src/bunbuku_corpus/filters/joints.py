"""Measures and filters of how hiragana is joined to what stands beside it, and of sentences that are cut off.

What stands behind を is a word, and what stands behind た is often 。: a hiragana and the sign beside it tell something of
each other wherever words make sentences, and nothing where words were put together in any order. How much is told by two tables, of
prose as it is written today and of that of a hundred years ago, which has other endings; `joints.txt` has a row a hiragana, and
`benchmarks/joints_of.py` makes it.
"""

from functools import cache
from importlib.resources import files
from typing import Literal, override

import numpy as np
from numpy.typing import NDArray

from bunbuku_corpus.characters import JAPANESE, LETTERS, Class
from bunbuku_corpus.filters.filter import Filter, Measure, Ratio, Values, ratio
from bunbuku_corpus.texts import Texts

_FIRST, _LAST = 0x3041, 0x3096
_SIGNS = _LAST - _FIRST + 1
_OPENING, _CLOSING = ([ord(sign) for sign in signs] for signs in ("「『（(【〈《", "」』）)】〉》"))
_BESIDE = np.full(len(Class), -1, np.int64)
"""What may stand beside a hiragana, by the class: a word in kanji, any other word, 、, 。; brackets have no class of their own."""
_BESIDE[[Class.KANJI, Class.NUMERAL_KANJI]] = 0
_BESIDE[[Class.KATAKANA, Class.LONG_VOWEL, Class.LETTER, Class.DIGIT]] = 1
_BESIDE[[Class.TOTEN]] = 2
_BESIDE[[Class.KUTEN]] = 3
_OPEN, _CLOSE, _KINDS = 4, 5, 6
_FEWEST_JOINTS, _FEWEST_MARKS, _FEWEST_STOPS, _FEWEST_LINE_CHARS = 20, 5, 2, 45
_USUAL_JOINTS, _USUAL_BITS = 20, 0.4


def joints(texts: Texts) -> NDArray[np.int64]:
    """How often each document has each hiragana with each kind of sign behind it, and before it.

    >>> joints(Texts(["本を読む。"])).sum(axis=(2, 3)).tolist()
    [[2], [2]]
    """
    codes, documents = texts.characters.values, texts.characters.documents
    beside = _BESIDE[texts.kinds]
    beside[np.isin(codes, _OPENING)] = _OPEN
    beside[np.isin(codes, _CLOSING)] = _CLOSE
    hiragana, same = texts.kinds == Class.HIRAGANA, documents[1:] == documents[:-1]
    found: list[NDArray[np.int64]] = []
    for sign, other in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
        at = np.flatnonzero(hiragana[sign] & (beside[other] >= 0) & same)
        which = (documents[sign][at] * _SIGNS + codes[sign][at] - _FIRST) * _KINDS + beside[other][at]
        counts = np.bincount(which.astype(np.int64), minlength=len(texts) * _SIGNS * _KINDS)
        found.append(counts.reshape(len(texts), _SIGNS, _KINDS))
    return np.stack(found)


@cache
def _bits() -> NDArray[np.float64]:
    """What each hiragana and each kind of sign behind and before it tell of each other, in prose of today and in old prose."""
    table = files("bunbuku_corpus").joinpath("filters", "joints.txt").read_text(encoding="utf-8")
    rows = [line.split()[1:] for line in table.splitlines() if not line.startswith("#")]
    return np.array(rows, np.float64).reshape(_SIGNS, 2, 2, _KINDS).transpose(1, 2, 0, 3) / 10


def told(counts: NDArray[np.int64], bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bits that the joints of each document tell by a table, more than by chance."""
    signs, beside = counts.sum(axis=3), counts.sum(axis=2)
    by_chance = np.einsum("sdh,shc,sdc->sd", signs, bits, beside) / np.maximum(signs.sum(axis=2), 1)
    return (np.einsum("sdhc,shc->sd", counts, bits) - by_chance).sum(axis=0)


class JointBits(Measure):
    """What a hiragana and the sign beside it tell of each other, in bits a joint, more than by chance.

    By chance is what the text's own hiragana and signs would tell if any stood beside any. Told is by the table that tells more. Twenty usual
    joints are counted with those of the text, so that a few odd ones say little. None for a text of fewer than twenty, or of fewer than five marks, or of lines of less than
    45 characters: verse has its own order.
    """

    type: Literal["joint_bits"] = "joint_bits"

    @override
    def of(self, texts: Texts) -> Values:
        counts = joints(texts)
        number = counts.sum(axis=(0, 2, 3))
        most = np.max([told(counts, bits) for bits in _bits()], axis=0)
        shrunk = (most + _USUAL_JOINTS * _USUAL_BITS) / (number + _USUAL_JOINTS)
        stops, marks = texts.number((Class.KUTEN,)), texts.number((Class.TOTEN, Class.KUTEN))
        long = texts.chars >= _FEWEST_LINE_CHARS * texts.lines.numbers
        judged = (number >= _FEWEST_JOINTS) & (stops >= _FEWEST_STOPS) & (marks >= _FEWEST_MARKS) & long
        return np.where(judged, shrunk, np.nan)


_DOTS = [ord(dot) for dot in "…‥.・"]
_ELLIPSES = [ord(dot) for dot in "…‥"]
_FEWEST_CUTS = 5


class CutOffRatio(Measure):
    """Sentences that an ellipsis cuts off, by all sentences, 1 at most; 0 for a text of fewer than five.

    An ellipsis is …, or at least three dots; it cuts off if a word stands before it, with a space between or without, and white space or
    nothing behind it. In 「そう……」 and そして……私は it does not.
    """

    type: Literal["cut_off_ratio"] = "cut_off_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        codes, kinds, documents = texts.characters.values, texts.kinds, texts.characters.documents
        # A border on both sides, so that every place has a neighbour.
        dots = np.concatenate(([False], np.isin(codes, _DOTS), [False]))
        kinds = np.concatenate(([Class.SPACE], kinds, [Class.SPACE]))
        owners = np.concatenate(([-1], documents, [-1]))
        edge = np.diff(owners) != 0
        starts = np.flatnonzero(dots[1:] & (~dots[:-1] | edge)) + 1
        ends = np.flatnonzero(dots[:-1] & (~dots[1:] | edge)) + 1
        whole = (ends - starts >= 3) | np.isin(codes[starts - 1], _ELLIPSES)
        starts, ends = starts[whole], ends[whole]
        before = starts - 1
        spaced = (kinds[before] == Class.SPACE) & (owners[before] == owners[starts]) & (codes[before - 1] != ord("\n"))
        before -= spaced
        word = np.isin(kinds[before], (*LETTERS, *JAPANESE, Class.DIGIT)) & ~np.isin(kinds[before], (Class.KUTEN,))
        cut = word & (owners[before] == owners[starts])
        cut &= (kinds[ends] == Class.SPACE) | (owners[ends] != owners[starts])
        number = np.bincount(owners[starts][cut], minlength=len(texts))
        found = np.minimum(ratio(number, np.maximum(texts.sentences.numbers, 1)), 1)
        return np.where(number >= _FEWEST_CUTS, found, 0.0)


class OddJoints(Filter):
    """Hiragana stands beside what comes, less than `min_bits` a joint: the words of sentences in another order.

    >>> prose = "昨日は友達と公園に行き、弁当を食べました。午後は雨が降ったので、家で本を読んだ。夜になると星が見えました。"
    >>> OddJoints().drops(prose[::3] + prose[1::3] + prose[2::3]), OddJoints().drops(prose)
    (True, False)
    """

    measured = JointBits
    type: Literal["odd_joints"] = "odd_joints"
    min_bits: float = 0.2


class CutOff(Filter):
    r"""More than `max_ratio` of the sentences are cut off: what a search engine shows of other pages, teasers.

    >>> CutOff().drops("駅前の食堂では安く ... \n夏の海で泳いだ日 ... \n" * 3), CutOff().drops("「そう……」と彼は……言った。" * 6)
    (True, False)
    """

    measured = CutOffRatio
    type: Literal["cut_off"] = "cut_off"
    max_ratio: Ratio = 0.3
