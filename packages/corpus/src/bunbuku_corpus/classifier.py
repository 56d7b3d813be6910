"""A linear classifier of texts: learned once, kept as two files that any program reads, applied without the library.

The score of a label is the sum of its weights over a text's n-grams; the softmax of the scores, divided by a temperature
(Guo et al. 2017, arXiv:1706.04599), is its probability. Plain arrays and JSON: nothing that is loaded can run anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bunbuku_contracts import Artifact, ArtifactError, Classifier, Config, Draft
from numpy.typing import NDArray
from pydantic import PositiveFloat, ValidationError

from bunbuku_corpus.features import Features, Rows

type Matrix = NDArray[np.float32]
type Probabilities = NDArray[np.float64]

_FACTS, _WEIGHTS = "classifier.json", "weights.npy"


class Facts(Config):
    """What `classifier.json` says."""

    labels: tuple[str, ...]
    features: Features
    temperature: PositiveFloat
    biases: tuple[float, ...]


@dataclass(frozen=True)
class Linear:
    """A classifier that has learned."""

    facts: Facts
    weights: Matrix
    """A row a slot, a column a label."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What a text can be."""
        return self.facts.labels

    def probabilities(self, texts: Sequence[str]) -> Probabilities:
        """A row a text, a column a label."""
        logits = scores(self.facts.features.of(texts), self.weights) + np.array(self.facts.biases)
        return softmax(logits / self.facts.temperature)


def scores(rows: Rows, weights: Matrix) -> NDArray[np.float64]:
    """The product of sparse rows and weights."""
    products = weights[rows.slots] * rows.values[:, np.newaxis]
    sums = np.zeros((len(rows.offsets) - 1, weights.shape[1]))
    filled = np.flatnonzero(np.diff(rows.offsets))
    if len(filled):
        sums[filled] = np.add.reduceat(products.astype(np.float64), rows.offsets[filled], axis=0)
    return sums


def softmax(logits: NDArray[np.float64]) -> Probabilities:
    """Probabilities in proportion to the exponentials.

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def write_classifier(draft: Draft, linear: Linear) -> None:
    """Write both files into the draft."""
    (draft.dir / _FACTS).write_text(linear.facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    np.save(draft.dir / _WEIGHTS, linear.weights, allow_pickle=False)


def read_classifier(classifier: Artifact[Classifier]) -> Linear:
    """The classifier of an artifact.

    Raises:
        ArtifactError: Its files do not read as one.
    """
    try:
        facts = Facts.model_validate_json((classifier.dir / _FACTS).read_bytes())
        weights = np.load(classifier.dir / _WEIGHTS, allow_pickle=False)
    except (OSError, ValueError, ValidationError) as error:
        raise ArtifactError(
            f"{classifier.dir} does not read as a classifier: {error}", hint=f"bunbuku verify {classifier.dir}"
        ) from error
    shape = (facts.features.slots, len(facts.labels))
    if weights.shape != shape:
        raise ArtifactError(f"{classifier.dir / _WEIGHTS} has shape {weights.shape}, not {shape}", hint="make it anew")
    return Linear(facts, weights)
