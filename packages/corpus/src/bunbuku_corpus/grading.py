"""How good a classifier is, on examples it has not seen, with intervals: a number without one says little of 200 examples."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from bunbuku_contracts.intervals import Interval, wilson
from numpy.typing import NDArray

from bunbuku_corpus.classifier import Probabilities
from bunbuku_corpus.intervals import bootstrap

_BINS = 10


class Grade(NamedTuple):
    """A measure with its 95 % interval."""

    name: str
    value: float
    interval: Interval


class Cut(NamedTuple):
    """What calling a text by a label would do from some probability on."""

    label: str
    threshold: float
    called: int
    """Examples that would be called so."""
    precision: float | None
    """Share of those that are."""
    recall: float | None
    """Share of those that are which would be called so."""


def grades(probabilities: Probabilities, truth: NDArray[np.int64], labels: Sequence[str], *, seed: int) -> list[Grade]:
    """Accuracy, macro F1, log loss, calibration error, and every label's precision and recall."""
    guesses = probabilities.argmax(axis=1)
    surprise = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12))
    right = guesses == truth

    def graded(name: str, statistic: Callable[[NDArray[np.int64]], float]) -> Grade:
        everything = np.arange(len(truth))
        return Grade(name, statistic(everything), bootstrap(len(truth), statistic, seed=seed))

    found = [
        _share("accuracy", right, np.ones_like(right)),
        graded("macro_f1", lambda rows: macro_f1(guesses[rows], truth[rows], len(labels))),
        graded("log_loss", lambda rows: float(surprise[rows].mean())),
        graded("calibration_error", lambda rows: calibration_error(probabilities[rows], truth[rows])),
    ]
    for index, label in enumerate(labels):
        called, is_so = guesses == index, truth == index
        found.append(_share(f"precision.{label}", called & is_so, called))
        found.append(_share(f"recall.{label}", called & is_so, is_so))
    return found


def _share(name: str, hits: NDArray[np.bool_], trials: NDArray[np.bool_]) -> Grade:
    """A share, with Wilson's interval: of 50 hits in 50 trials resampling would say that no other is possible."""
    hit, tried = int(hits.sum()), int(trials.sum())
    return Grade(name, hit / tried if tried else float("nan"), wilson(hit, tried))


def macro_f1(guesses: NDArray[np.int64], truth: NDArray[np.int64], labels: int) -> float:
    """The mean of the labels' F1; a label that is neither there nor guessed does not count."""
    table = np.bincount(truth * labels + guesses, minlength=labels * labels).reshape(labels, labels)
    size = table.sum(axis=0) + table.sum(axis=1)
    return float((2 * table.diagonal()[size > 0] / size[size > 0]).mean())


class Bin(NamedTuple):
    """Examples of which the classifier is about equally sure."""

    confidence: float
    accuracy: float
    examples: int


def reliability(probabilities: Probabilities, truth: NDArray[np.int64]) -> list[Bin]:
    """Examples in bins of equal size by how sure the classifier is: how sure, and how often right."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    order = np.argsort(sure, kind="stable")
    bins = [rows for rows in np.array_split(order, min(_BINS, len(order))) if len(rows)]
    return [Bin(float(sure[rows].mean()), float(right[rows].mean()), len(rows)) for rows in bins]


def calibration_error(probabilities: Probabilities, truth: NDArray[np.int64]) -> float:
    """Mean difference between how sure it is and how often right (Naeini et al. 2015), over bins of equal size."""
    return sum(abs(one.confidence - one.accuracy) * one.examples for one in reliability(probabilities, truth)) / len(
        truth
    )


def cuts(
    probabilities: Probabilities, truth: NDArray[np.int64], labels: Sequence[str], at: Sequence[float]
) -> list[Cut]:
    """For every label and threshold, what calling texts so from there on would do."""
    found: list[Cut] = []
    for index, label in enumerate(labels):
        is_so = truth == index
        for threshold in at:
            called = probabilities[:, index] >= threshold
            hits = int((called & is_so).sum())
            precision = hits / int(called.sum()) if called.any() else None
            recall = hits / int(is_so.sum()) if is_so.any() else None
            found.append(Cut(label, threshold, int(called.sum()), precision, recall))
    return found
