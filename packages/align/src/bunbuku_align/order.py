"""The order of the rows in training: shuffled, with rows of like length in one batch, so that little is padded."""

import math
from collections.abc import Sequence

import numpy as np

_WINDOW_BATCHES = 16
"""Rows are sorted by length within so many batches: enough to save the padding, few enough to stay shuffled."""


def training_order(lengths: Sequence[int], *, examples: int, batch: int, seed: int) -> list[int]:
    """Numbers of the rows to train on, `examples` in all, to be read in batches of `batch`.

    Every row comes once before any comes twice, give or take the window in which rows are sorted.

    >>> training_order([7, 2, 9, 3], examples=6, batch=2, seed=0)
    [1, 3, 3, 0, 2, 2]
    """
    generator = np.random.default_rng(seed)
    window = _WINDOW_BATCHES * batch
    epochs = math.ceil(examples / len(lengths))
    order = np.concatenate([generator.permutation(len(lengths)) for _ in range(epochs)])[:examples]
    windows = (order[start : start + window] for start in range(0, examples, window))
    return [int(row) for rows in windows for row in _by_length(rows, np.asarray(lengths), batch, generator)]


def _by_length(rows: np.ndarray, lengths: np.ndarray, batch: int, generator: np.random.Generator) -> np.ndarray:
    """The rows sorted by length, whole batches of them shuffled, a short one last."""
    ordered = rows[np.argsort(lengths[rows], kind="stable")]
    whole = len(ordered) // batch * batch
    batches = generator.permutation(ordered[:whole].reshape(-1, batch))
    return np.concatenate([batches.reshape(-1), ordered[whole:]])
