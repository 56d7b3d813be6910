"""Scores of one answer, and of a list of answers, as llm-jp-eval counts them; where its code goes wrong, not as it does.

Texts are compared in NFKC without the white space around them, so that full and half width are the same.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, utils

UNREADABLE = -2.0
"""What llm-jp-eval puts in the place of a prediction that is no number, before it correlates."""

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|[-+]?\.\d+")
# fuzzywuzzy drops these before it compares (its `force_ascii`), and leaves every other character alone.
_LATIN_1 = dict.fromkeys(range(128, 256))


def normalized(text: str) -> str:
    """NFKC without the white space around it.

    >>> normalized(" ＡＢＣ１２３ｱｲ　")
    'ABC123アイ'
    """
    return unicodedata.normalize("NFKC", text).strip()


def exact_match(predicted: str, gold: str) -> float:
    """1 if both are the same in NFKC.

    >>> exact_match("３", "3"), exact_match("3. 机", "3")
    (1.0, 0.0)
    """
    return float(normalized(predicted) == normalized(gold))


def char_f1(predicted: str, gold: str) -> float:
    """Likeness of two texts with their words sorted, 0 to 1 in hundredths: fuzzywuzzy's token_sort_ratio.

    >>> char_f1("東京タワー", "東京"), char_f1("東京", "東京"), char_f1("", "東京")
    (0.57, 1.0, 0.0)
    """
    one, other = (
        " ".join(sorted(utils.default_process(normalized(text).translate(_LATIN_1)).split()))
        for text in (predicted, gold)
    )
    if one == other:
        return 1.0
    return round(fuzz.ratio(one, other)) / 100 if one and other else 0.0


def set_f1(predicted: str, gold: str) -> float:
    r"""F1 of the sets of lines.

    >>> set_f1("猫 positive\n犬 neutral", "犬 neutral\n猫 negative")
    0.5
    """
    said = {line.strip() for line in normalized(predicted).split("\n")}
    wanted = [line.strip() for line in normalized(gold).split("\n")]
    precision = sum(line in wanted for line in said) / len(said)
    recall = sum(line in said for line in wanted) / len(wanted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def parse_float(text: str) -> float | None:
    """The number that `text` is, if it is one and nothing else; its sign counts.

    >>> parse_float("－３．５"), parse_float("1,200"), parse_float("4点"), parse_float("nan")
    (-3.5, 1200.0, None, None)
    """
    found = _NUMBER.fullmatch(_signed(normalized(text)))
    return float(found[0].replace(",", "")) if found else None


def parity_float(text: str) -> float | None:
    """The number that llm-jp-eval makes of a text: its digits and points, whatever else is there; its sign counts here.

    >>> parity_float("約4.5点です"), parity_float("-3.5"), parity_float("3から4"), parity_float("なし")
    (4.5, -3.5, 34.0, None)
    """
    text = _signed(normalized(text))
    try:
        value = float(re.sub(r"[^0-9.]", "", text))
    except ValueError:
        return None
    return -value if text.startswith("-") else value


def numbers(text: str) -> list[float]:
    """All numbers in a text.

    >>> numbers("3個と５個で８個、気温は-1.5度、1,200円"), numbers("10-3=7")
    ([3.0, 5.0, 8.0, -1.5, 1200.0], [10.0, 3.0, 7.0])
    """
    plain = re.sub(r"(?<=[\d\w])-(?=\d)", " ", _signed(normalized(text)), flags=re.ASCII)
    return [float(found.replace(",", "")) for found in _NUMBER.findall(plain)]


def pearson(predicted: Sequence[float], gold: Sequence[float]) -> float:
    """Pearson's correlation; `nan`, which is shown as undefined, for fewer than two pairs or where one side is constant.

    >>> round(pearson([1.0, 2.0, 3.0], [-1.0, -2.0, -3.5]), 3), pearson([1.0], [1.0])
    (-0.993, nan)
    """
    one, other = np.asarray(predicted, float), np.asarray(gold, float)
    if len(one) < 2:
        return math.nan
    one, other = one - one.mean(), other - other.mean()
    size = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / size if size > 0 else math.nan


def spearman(predicted: Sequence[float], gold: Sequence[float]) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank; undefined where Pearson's is.

    >>> round(spearman([1.0, 2.0, 9.0], [3.0, 5.0, 4.0]), 3)
    0.5
    """
    from scipy.stats import rankdata  # slow to import

    return pearson(rankdata(predicted).tolist(), rankdata(gold).tolist()) if len(predicted) > 1 else math.nan


def bleu(predicted: Sequence[str], gold: Sequence[str], *, tokenize: str = "char") -> float:
    """Corpus BLEU, 0 to 100, by sacrebleu.

    `tokenize` is one of its tokenizers: `13a`, `char`, `ja-mecab` (which needs `sacrebleu[ja]`); a score is without
    meaning unless it says which.

    >>> bleu(["猫が好きです"], ["猫が好きです"])
    100.0
    """
    from sacrebleu import corpus_bleu

    return round(corpus_bleu(list(predicted), [list(gold)], tokenize=tokenize, force=True).score, 10)


def bleu_counts(predicted: Sequence[str], gold: Sequence[Sequence[str]], *, tokenize: str) -> NDArray[np.float64]:
    """What corpus BLEU adds up, a row a sentence: lengths, then n-grams that match and that there are, for n of 1 to 4.

    Sentences without a right answer give zeros. `bleu_of` makes a score of the sum of any rows.
    """
    scorer = _bleu(tokenize)
    rows = np.zeros((len(predicted), 10))
    for at, (said, wanted) in enumerate(zip(predicted, gold, strict=True)):
        if wanted:
            # sacrebleu gives these sums nowhere else, and a bootstrap that cut every word anew would take hours.
            row = scorer._extract_corpus_statistics([said], [[one] for one in wanted])[0]
            rows[at] = row
    return rows


def bleu_of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corpus BLEU, 0 to 100, of each row of summed `bleu_counts`; `nan` where there is no sentence."""
    return np.array([_one_bleu(row) for row in np.atleast_2d(counts)])


def _one_bleu(row: NDArray[np.float64]) -> float:
    from sacrebleu.metrics.bleu import BLEU

    said, wanted = int(row[0]), int(row[1])
    if not wanted:
        return math.nan
    matches, all = [int(one) for one in row[2:6]], [int(one) for one in row[6:10]]
    return BLEU.compute_bleu(matches, all, said, wanted, smooth_method="exp").score


@cache
def _bleu(tokenize: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    # It cuts words that are cut already on purpose; its advice on that would stand in every log.
    return BLEU(tokenize=tokenize, force=True)


def sentence_bleu(predicted: str, gold: str, *, tokenize: str = "char") -> float:
    """BLEU of one sentence, 0 to 100, orders without a match left out (sacrebleu's effective order)."""
    from sacrebleu import sentence_bleu

    return sentence_bleu(predicted, [gold], tokenize=tokenize, use_effective_order=True).score


def _signed(text: str) -> str:
    return text.translate({0x2212: "-", 0x2010: "-", 0x2011: "-"})
