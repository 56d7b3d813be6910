"""Character n-grams of a text as 64-bit hashes, all at once: what repetition and near-duplicates are counted with.

Characters and not words, since Japanese does not space its words and an analyzer would be the slowest step of all.
"""

import numpy as np
from numpy.typing import NDArray

type Hashes = NDArray[np.uint64]

_BASE = np.uint64(0x9E3779B97F4A7C15)


def codepoints(text: str) -> NDArray[np.uint32]:
    """The text's characters as numbers.

    >>> codepoints("猫a").tolist()
    [29483, 97]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def ngram_hashes(points: NDArray[np.uint32], n: int) -> Hashes:
    """A hash of each window of `n` characters, in order; of the whole if there are fewer, of nothing if there are none.

    The hash of a window c₁ … cₙ is the polynomial c₁Bⁿ⁻¹ + … + cₙ modulo 2⁶⁴, mixed by SplitMix64's finalizer (Steele,
    Lea and Flood 2014, "Fast splittable pseudorandom number generators") since neighbours differ little.

    >>> hashes = ngram_hashes(codepoints("にわにわにわ"), 2)
    >>> len(hashes), len(set(hashes.tolist()))
    (5, 2)
    >>> len(ngram_hashes(codepoints("犬"), 5)), len(ngram_hashes(codepoints(""), 5))
    (1, 0)
    """
    if not len(points):
        return np.empty(0, np.uint64)
    n = min(n, len(points))
    wide = points.astype(np.uint64) + np.uint64(1)
    windows = len(points) - n + 1
    total = np.zeros(windows, np.uint64)
    for offset in range(n):
        total *= _BASE
        total += wide[offset : offset + windows]
    return _mix(total)


def _mix(x: Hashes) -> Hashes:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def seen_before(hashes: Hashes) -> NDArray[np.bool_]:
    """Which of them equal one that stands further left.

    >>> seen_before(np.array([7, 8, 7, 7], np.uint64)).tolist()
    [False, False, True, True]
    """
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    repeated = np.zeros(len(hashes), np.bool_)
    repeated[order[1:]] = ordered[1:] == ordered[:-1]
    return repeated


def covered(starts: NDArray[np.bool_], n: int) -> int:
    """How many characters lie in a window of `n` that starts where `starts` is true, each counted once.

    >>> covered(np.array([True, True, False, False, False]), 2)
    3
    """
    places = np.arange(len(starts) + n - 1)
    last_start = np.full(len(places), -n)
    last_start[: len(starts)][starts] = places[: len(starts)][starts]
    return int(np.count_nonzero(places - np.maximum.accumulate(last_start) < n))
