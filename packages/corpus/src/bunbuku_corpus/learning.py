"""What is learned from examples or from the shape of the data. The one module that knows scikit-learn, an extra.

Everything is seeded. The last bits of a result depend on the processor and the numerical libraries, as they do for anything
that solves large systems; on one machine the same data give the same bytes.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray

from bunbuku_corpus.classifier import Matrix, softmax
from bunbuku_corpus.features import Rows

if TYPE_CHECKING:
    from types import ModuleType


def _sklearn(name: str) -> "ModuleType":
    from importlib import import_module

    try:
        return import_module(f"sklearn.{name}")
    except ModuleNotFoundError as error:
        hint = 'pip install "bunbuku-corpus[learn]"'
        raise BunbukuError("this stage needs scikit-learn, which is not installed", hint=hint) from error


def sparse(rows: Rows, slots: int) -> Any:
    """The rows as a matrix of SciPy's."""
    _sklearn("base")  # SciPy comes with it
    from scipy.sparse import csr_matrix

    shape = (len(rows.offsets) - 1, slots)
    return csr_matrix((rows.values, rows.slots, rows.offsets), shape=shape)


class Learned(NamedTuple):
    """A linear model, and how far its scores are to be divided to become probabilities."""

    weights: Matrix
    biases: tuple[float, ...]
    temperature: float


def learn(rows: Rows, labels: NDArray[np.int64], slots: int, *, strength: float, folds: int, seed: int) -> Learned:
    """Multinomial logistic regression, its temperature fitted to scores of examples that were held out in turn.

    Args:
        rows: Of the examples.
        labels: Their labels, numbered from 0, each there at least `folds` times.
        slots: Length of a row.
        strength: Inverse of the regularization: the larger, the closer to the examples.
        folds: Into how many parts the examples are divided for the temperature.
        seed: Of that division.
    """
    matrix, count = sparse(rows, slots), int(labels.max()) + 1
    splits = _sklearn("model_selection").StratifiedKFold(folds, shuffle=True, random_state=seed)
    held_out = np.zeros((len(labels), count))
    for known, unknown in splits.split(matrix, labels):
        weights, biases = _fit(matrix[known], labels[known], strength)
        held_out[unknown] = matrix[unknown] @ weights + biases
    weights, biases = _fit(matrix, labels, strength)
    return Learned(weights.astype(np.float32), tuple(map(float, biases)), temperature(held_out, labels))


def _fit(matrix: Any, labels: NDArray[np.int64], strength: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    model = _sklearn("linear_model").LogisticRegression(C=strength, max_iter=1000)
    model.fit(matrix, labels)
    weights, biases = model.coef_.T.astype(np.float64), model.intercept_
    if weights.shape[1] == 1:  # of two labels only the second has weights
        weights, biases = np.hstack([np.zeros_like(weights), weights]), np.concatenate([[0.0], biases])
    return weights, biases


def temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """What the scores are divided by so that their softmax makes the labels likeliest.

    >>> logits = np.array([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [3.0, 0.0]])
    >>> sure = temperature(logits, np.array([0, 0, 0, 1]))
    >>> round(float(softmax(logits / sure)[0, 0]), 3)
    0.75
    """
    _sklearn("base")
    from scipy.optimize import minimize_scalar

    places = np.arange(len(labels))

    def loss(power: float) -> float:
        return -float(np.log(np.maximum(softmax(logits / np.exp(power))[places, labels], 1e-300)).mean())

    found: Any = minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded")
    return float(np.exp(found.x))


def directions(matrix: Any, dimensions: int, *, seed: int) -> NDArray[np.float64]:
    """The directions in which the rows differ most, a column each (randomized SVD, Halko et al. 2011, arXiv:0909.4061)."""
    model = _sklearn("decomposition").TruncatedSVD(dimensions, random_state=seed)
    model.fit(matrix)
    return model.components_.T


def centres(vectors: NDArray[np.float32], count: int, *, seed: int) -> NDArray[np.float32]:
    """Centres of so many clusters of rows of length one, scaled to that length (mini-batch k-means, Sculley 2010)."""
    model = _sklearn("cluster").MiniBatchKMeans(count, random_state=seed, n_init=5, batch_size=4096, max_iter=100)
    found = model.fit(vectors).cluster_centers_
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return (found / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def silhouette(vectors: NDArray[np.float32], clusters: NDArray[np.int64]) -> float:
    """How much nearer rows are to their own cluster than to the next, from -1 to 1 (Rousseeuw 1987), by cosine."""
    if not 1 < len(np.unique(clusters)) < len(clusters):
        return float("nan")
    return float(_sklearn("metrics").silhouette_score(vectors, clusters, metric="cosine"))


def flat(vectors: NDArray[np.float32], method: str, *, seed: int) -> NDArray[np.float64]:
    """The rows on a plane: `pca` keeps large distances, `tsne` neighbours (van der Maaten and Hinton 2008)."""
    centred = vectors - vectors.mean(axis=0)
    plane = _sklearn("decomposition").PCA(2, random_state=seed).fit_transform(centred)
    if method == "pca":
        return plane
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    start = plane / (plane[:, 0].std() or 1.0) * 1e-4
    model = _sklearn("manifold").TSNE(
        2, init=start, perplexity=perplexity, random_state=seed, metric="cosine", n_jobs=1
    )
    return model.fit_transform(vectors)
