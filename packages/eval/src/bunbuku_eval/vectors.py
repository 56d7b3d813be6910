"""Texts as vectors by which of their letters stand together: hashed character n-grams, weighted by how rare they are.

No model is asked and nothing is downloaded, so that the same texts have the same vectors everywhere. Texts about the same things in
the same words are near; that two say one thing in other words is not seen.
"""

import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import svds

SIZES = (2, 3)
"""Lengths of the n-grams: about a word of Japanese."""
BINS = 1 << 18

type Matrix = NDArray[np.float64]
type Sparse = Any
"""scipy's `csr_matrix`, which has no types: to a type checker its shape may be missing."""


def vectors(texts: Sequence[str]) -> Sparse:
    """A row of length 1 for each text; of an empty one all is 0.

    >>> found = vectors(["猫は魚が好き", "猫は魚が嫌い", "株価が上がった"])
    >>> likeness = (found @ found.T).toarray()
    >>> bool(likeness[0, 1] > likeness[0, 2])
    True
    """
    starts, columns, counts = [0], [], []
    for text in texts:
        found = Counter(zlib.crc32(gram.encode()) % BINS for gram in _grams(text))
        columns += found.keys()
        counts += (1 + np.log(list(found.values()))).tolist() if found else []
        starts.append(len(columns))
    matrix: Sparse = csr_matrix((np.array(counts, float), columns, starts), shape=(len(texts), BINS))
    documents = np.bincount(matrix.indices, minlength=BINS)
    weighted = matrix @ diags(np.log((1 + len(texts)) / (1 + documents)) + 1)
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return csr_matrix(diags(1 / np.maximum(lengths, 1e-12)) @ weighted)


def reduced(matrix: Sparse, *, dimensions: int, seed: int) -> Matrix:
    """The rows in their main directions, the strongest first (truncated SVD), each of the same sign whatever the solver says."""
    size = min(dimensions, min(matrix.shape) - 1)
    start = np.random.default_rng(seed).normal(size=min(matrix.shape))
    found: Any = svds(matrix, k=size, v0=start)
    left, strengths, right = found
    order = np.argsort(-strengths)
    signs = np.sign(right[order, np.abs(right[order]).argmax(axis=1)])
    return left[:, order] * strengths[order] * signs


def nearest(rows: Sparse, others: Sparse, *, chunk: int = 512) -> tuple[NDArray[np.int64], Matrix]:
    """For each row the place of the most alike of the others, and their cosine."""
    places, cosines = [], []
    for start in range(0, rows.shape[0], chunk):
        likeness = (rows[start : start + chunk] @ others.T).toarray()
        places.append(likeness.argmax(axis=1))
        cosines.append(likeness.max(axis=1))
    return np.concatenate(places), np.concatenate(cosines)


def _grams(text: str) -> list[str]:
    plain = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    return [plain[at : at + size] for size in SIZES for at in range(len(plain) - size + 1)]
