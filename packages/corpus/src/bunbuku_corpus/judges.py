"""A sample of documents that several judges have called something: how large each kind is, and how far judges agree.

A judge is the rules, a classifier, or whoever wrote a file of labels: people, or a large model. Each speaks of one or more
*axes*: what a text is for, what it is about, what form it has. A judge may have nothing to say of a document.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from bunbuku_contracts.intervals import Interval, wilson
from numpy.typing import NDArray

from bunbuku_corpus.intervals import bootstrap

type Numbers = NDArray[np.int64]
type Axis = Literal["purpose", "topic", "format"]
AXES: tuple[Axis, ...] = ("purpose", "topic", "format")


class Judged(NamedTuple):
    """A document of the sample."""

    id: str
    chars: int
    text: str
    """Its beginning."""


@dataclass(frozen=True)
class Verdict:
    """What one judge calls the documents on one axis, `None` where it says nothing."""

    axis: Axis
    judge: str
    labels: tuple[str | None, ...]
    able: frozenset[str] | None = None
    """What it can say; anything, if that is not known."""

    def may_say(self, label: str) -> bool:
        """Whether its silence about a kind means that there is none."""
        return self.able is None or label in self.able


class Share(NamedTuple):
    """How large a kind is, by documents and by characters, each with its 95 % interval."""

    label: str
    documents: int
    share: float
    interval: Interval
    chars: float
    chars_interval: Interval


def shares(verdict: Verdict, documents: Sequence[Judged], *, seed: int, asked: Sequence[str] = ()) -> list[Share]:
    """Every kind's share of the documents that were judged, the largest first; before them those that are `asked` for.

    Those are there also when not one document is of them, unless the judge does not know them.
    By documents with Wilson's interval; by characters, of which a few long documents have most, with a bootstrap's.
    """
    judged = [(label, one.chars) for label, one in zip(verdict.labels, documents, strict=True) if label is not None]
    chars = np.array([size for _, size in judged], np.float64)
    found: list[Share] = []
    counts = Counter({label: 0 for label in asked if verdict.may_say(label)})
    counts.update(label for label, _ in judged)
    for label, count in counts.items():
        mine = np.array([one == label for one, _ in judged], np.float64) * chars

        def ratio(rows: Numbers, mine: NDArray[np.float64] = mine) -> float:
            total = float(chars[rows].sum())
            return float(mine[rows].sum()) / total if total else float("nan")

        everything = np.arange(len(judged))
        of_chars, interval = ratio(everything), bootstrap(len(judged), ratio, seed=seed)
        found.append(Share(label, count, count / len(judged), wilson(count, len(judged)), of_chars, interval))
    return sorted(found, key=lambda one: (_place(one.label, asked), -one.documents, one.label))


def _place(label: str, asked: Sequence[str]) -> int:
    return asked.index(label) if label in asked else len(asked)


class Agreement(NamedTuple):
    """How far two judges agree on the documents that both judged."""

    axis: Axis
    judges: tuple[str, str]
    documents: int
    same: float
    kappa: float
    interval: Interval
    """Of kappa."""


def agreements(verdicts: Sequence[Verdict], *, seed: int) -> list[Agreement]:
    """The agreement of every two judges of an axis."""
    found: list[Agreement] = []
    for left, right in combinations(verdicts, 2):
        if left.axis != right.axis:
            continue
        both = [(a, b) for a, b in zip(left.labels, right.labels, strict=True) if a is not None and b is not None]
        if not both:
            continue
        kinds = sorted({label for pair in both for label in pair})
        mine, other = (np.array([kinds.index(label) for label in column]) for column in zip(*both, strict=True))

        def statistic(rows: Numbers, mine: Numbers = mine, other: Numbers = other, count: int = len(kinds)) -> float:
            return kappa(mine[rows], other[rows], count)

        everything = np.arange(len(both))
        interval = bootstrap(len(both), statistic, seed=seed)
        same = float(np.mean(mine == other))
        found.append(Agreement(left.axis, (left.judge, right.judge), len(both), same, statistic(everything), interval))
    return found


def kappa(left: Numbers, right: Numbers, kinds: int) -> float:
    """Cohen's kappa (Cohen 1960, eq. 1) of two judges' labels, numbered from 0; `nan` where both say one thing only.

    >>> kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 2)
    0.5
    """
    table = np.bincount(left * kinds + right, minlength=kinds * kinds).reshape(kinds, kinds) / len(left)
    chance = float(table.sum(axis=0) @ table.sum(axis=1))
    return (float(table.trace()) - chance) / (1 - chance) if chance < 1 - 1e-12 else float("nan")


def crossed(rows: Verdict, columns: Verdict) -> Mapping[tuple[str, str], float]:
    """The share of each two kinds among the documents of which both judges say something."""
    counts = Counter(
        (a, b) for a, b in zip(rows.labels, columns.labels, strict=True) if a is not None and b is not None
    )
    total = counts.total()
    return {pair: count / total for pair, count in sorted(counts.items())}
