"""Whether a text repeats its phrases: the rule and thresholds that Tanuki's data went through.

After `is_repetitive_japanese` (KanHatakeyama/ParquetToJsonl, src/repeated_phrase.py), which is Gopher's rule (Rae et al. 2021,
arXiv:2112.11446, table A1) over characters instead of words. The verdict is the same; most texts are judged by two of
its nine counts, since what repeats is never more for longer sequences than for shorter ones.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

LINES, LETTERS_OF_LINES = 0.30, 0.20
MOST_FREQUENT = {2: 0.20, 3: 0.18, 4: 0.16}
"""Share of all sequences of so many characters that the most frequent one may have."""
SAID_BEFORE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Share of sequences of so many characters that may have been there before."""

_LARGEST = 2**63 - 1


def repeats_phrases(text: str) -> bool:
    """Whether paragraphs, sentences or sequences of 2 to 10 characters come again more often than they may.

    Sentences end with `。`. A text is too short for a count of sequences that are longer than it; there the original
    fails, and here that count says nothing.

    >>> repeats_phrases("これはテストです。これはテストです。これもテストです。")
    True
    >>> repeats_phrases("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。")
    False
    """
    if not text:
        return False
    sentences = text.replace("\n", " ").split("。")
    if _come_again(text.split("\n"), text) or _come_again(sentences, text):
        return True
    run = _Run(text.replace("\n", ""))
    return _too_many(run.most_frequent, MOST_FREQUENT, run.length) or _too_many(
        run.there_before, SAID_BEFORE, run.length
    )


def _come_again(items: Sequence[str], text: str) -> bool:
    """Distinct items that are there twice, by the number of items; letters of what comes again, by the letters of all."""
    if len(set(items)) == len(items):
        return False
    twice = {item: count for item, count in Counter(items).items() if count > 1}
    letters = sum(len(item) * (count - 1) for item, count in twice.items())
    return len(twice) / len(items) > LINES or letters / len(text) > LETTERS_OF_LINES


class _Run:
    """A text whose sequences of characters are counted as numbers: exactly, each sequence its own."""

    def __init__(self, text: str) -> None:
        self.length = len(text)
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        kinds, ranks = np.unique(codes, return_inverse=True)
        self._kinds, self._ranks = len(kinds), ranks.astype(np.int64)

    def _starts(self, size: int) -> np.ndarray:
        """Where a new sequence begins once they are sorted, and where the last one ends."""
        total = self.length - size + 1
        keys, most = self._ranks[:total], self._kinds
        for at in range(1, size):
            if most * self._kinds > _LARGEST:
                kinds, keys = np.unique(keys, return_inverse=True)
                most = len(kinds)
            keys = keys * self._kinds + self._ranks[at : at + total]
            most *= self._kinds
        keys = np.sort(keys)
        return np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1], [True])))

    def most_frequent(self, size: int) -> int:
        """How often the most frequent sequence is there."""
        return int(np.diff(self._starts(size)).max())

    def there_before(self, size: int) -> int:
        """How many sequences were there before."""
        return self.length - size + 1 - (len(self._starts(size)) - 1)


def _too_many(count: Callable[[int], int], shares: Mapping[int, float], length: int) -> bool:
    """Whether a count, by the sequences of a size, is above that size's share.

    For no size is it more than for a smaller one: the most frequent longer sequence begins with a shorter one that is as
    frequent, and one that was there before begins with one that was. So a count that is low enough for all sizes decides.
    """
    for size, most in shares.items():
        if length < size:
            return False
        found = count(size)
        if found / (length - size + 1) > most:
            return True
        if all(found / (length - n + 1) <= share for n, share in shares.items() if size < n <= length):
            return False
    return False
