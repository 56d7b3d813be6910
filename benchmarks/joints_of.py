"""Makes the tables of joints that `bunbuku_corpus.filters.joints` reads, and prints them.

    python benchmarks/joints_of.py > packages/corpus/src/bunbuku_corpus/filters/joints.txt

Counted is every second document of each set of the text that thresholds of `web` are found on (`bench_corpus_rejections.py tune`): at
most 200,000 joints a set, of Aozora's other works 1,500,000. The table of old prose is of those works that it tells more of than the other
does; it begins with the eighth that the other tells least of.
"""

import sys

import numpy as np
from bench_corpus_rejections import clean
from bunbuku_corpus.filters.joints import joints, told
from bunbuku_corpus.texts import Texts
from numpy.typing import NDArray

CHARS, TOGETHER, MOST, MOST_OLD = 4_000, 20, 200_000, 1_500_000
OLD, FEWEST, ROUNDS = "aozora, other works", 200, 3


def counted(texts: list[str], most: int) -> NDArray[np.int64]:
    """Joints of each document, until there are so many."""
    found: list[NDArray[np.int64]] = []
    for start in range(0, len(texts), TOGETHER):
        found.append(joints(Texts(texts[start : start + TOGETHER])))
        if sum(int(one.sum()) for one in found) > most:
            break
    return np.concatenate(found, axis=1)


def bits_of(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a sign and what is beside it tell of each other, in bits."""
    shares = (counts + 0.3) / (counts + 0.3).sum(axis=(1, 2), keepdims=True)
    alone = shares.sum(axis=1, keepdims=True) * shares.sum(axis=2, keepdims=True)
    return np.log2(shares / alone).clip(-4, 4)


def main() -> None:
    sets = {name: [page.text[:CHARS] for page in pages[::2]] for name, pages in clean(tuning=True).items()}
    mosts = {name: MOST_OLD if name == OLD else MOST for name in sets}
    today = bits_of(np.sum([counted(texts, mosts[name]).sum(axis=1) for name, texts in sets.items()], axis=0))
    works = counted(sets[OLD], sys.maxsize)
    numbers = works.sum(axis=(0, 2, 3))
    works, numbers = works[:, numbers > FEWEST], numbers[numbers > FEWEST]
    by_today = told(works, today) / numbers
    table = bits_of(works[:, by_today < np.quantile(by_today, 1 / 8)].sum(axis=1))
    for _ in range(ROUNDS - 1):
        table = bits_of(works[:, told(works, table) / numbers > by_today].sum(axis=1))
    lines = [
        "# Tenths of bits that a hiragana and what is beside it tell of each other: six kinds behind it, six before it; then of old prose."
    ]
    for place, row in enumerate(np.round(np.stack([today, table]) * 10).astype(int).transpose(2, 0, 1, 3)):
        lines.append(" ".join([chr(0x3041 + place), *map(str, row.reshape(-1))]))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
