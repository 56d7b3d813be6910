"""Whether a text repeats its phrases: the rule and thresholds that Tanuki's data went through.

After `is_repetitive_japanese` (KanHatakeyama/ParquetToJsonl, src/repeated_phrase.py), which is Gopher's rule (Rae et al. 2021,
arXiv:2112.11446, table A1) over characters instead of words. The verdict is the same; most texts are judged by two of
its nine counts, since what repeats is never more for longer sequences than for shorter ones.
"""

from collections import Counter
from collections.abc import Sequence

LINES, LETTERS_OF_LINES = 0.30, 0.20
MOST_FREQUENT = {2: 0.20, 3: 0.18, 4: 0.16}
"""Share of all sequences of so many characters that the most frequent one may have."""
SAID_BEFORE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Share of sequences of so many characters that may have been there before."""


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
    run = text.replace("\n", "")
    return _one_is_frequent(run) or _many_were_there(run)


def _come_again(items: Sequence[str], text: str) -> bool:
    """Distinct items that are there twice, by the number of items; letters of what comes again, by the letters of all."""
    if len(set(items)) == len(items):
        return False
    twice = {item: count for item, count in Counter(items).items() if count > 1}
    letters = sum(len(item) * (count - 1) for item, count in twice.items())
    return len(twice) / len(items) > LINES or letters / len(text) > LETTERS_OF_LINES


def _one_is_frequent(run: str) -> bool:
    for size, most in MOST_FREQUENT.items():
        total = len(run) - size + 1
        if total < 1:
            return False
        times = max(Counter(_sequences(run, size)).values())
        if times / total > most:
            return True
        # None that is longer comes more often.
        if all(times / (len(run) - n + 1) <= share for n, share in MOST_FREQUENT.items() if size < n <= len(run)):
            return False
    return False


def _many_were_there(run: str) -> bool:
    for size, most in SAID_BEFORE.items():
        total = len(run) - size + 1
        if total < 1:
            return False
        again = total - len(set(_sequences(run, size)))
        if again / total > most:
            return True
        # A longer one that was there before begins with a shorter one that was.
        if all(again / (len(run) - n + 1) <= share for n, share in SAID_BEFORE.items() if size < n <= len(run)):
            return False
    return False


def _sequences(run: str, size: int) -> list[str]:
    return [run[at : at + size] for at in range(len(run) - size + 1)]
