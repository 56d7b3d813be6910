"""Why a model is better on held-out text than on what it is trained on.

That cannot be, unless something is not as it seems. The causes are looked for in the order in which they explain the
others: the two losses are not the same loss; the held-out text was trained on; the training loss is that of the weights
before each step, which a model that still improves fast has left behind; the sequences differ; the text is easier.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

LAST_STEPS = 5
"""The training loss is the mean of so many steps."""
MARGIN = 0.02
"""Share of the training loss by which the other must be lower to be looked at."""
SAME = 1e-3
"""Share by which two computations of one loss may differ."""


class Facts(NamedTuple):
    """What is known when validation is below training."""

    validation: float
    training: float
    """Mean of the last steps, each before its update."""
    as_training: float
    """The last training batch under the present weights, computed as in training."""
    as_validation: float
    """The same batch computed as in validation."""
    common: int | None
    """Documents of the held-out text that are in the text trained on; `None` if they were not counted."""
    documents: int
    """Documents of the held-out text."""
    training_length: int
    validation_length: int


def is_odd(validation: float | None, losses: Sequence[float]) -> bool:
    """Whether the held-out loss is so low that a cause is to be looked for.

    >>> is_odd(2.0, [2.5] * 5), is_odd(2.49, [2.5] * 5), is_odd(None, [2.5] * 5)
    (True, False, False)
    """
    last = losses[-LAST_STEPS:]
    return validation is not None and bool(last) and validation < (1 - MARGIN) * fmean(last)


def cause(facts: Facts) -> str | None:
    """One sentence that names the cause; `None` if the model has simply improved since its last losses."""
    what = f"the validation loss {facts.validation:.4g} is below the training loss {facts.training:.4g}: "
    if abs(facts.as_training - facts.as_validation) > SAME * abs(facts.as_validation):
        return what + (
            f"they are not the same loss, since one batch has {facts.as_training:.4g} as training "
            f"and {facts.as_validation:.4g} as validation; a mask, dropout or an added term differs"
        )
    if facts.common:
        return what + (
            f"{facts.common} of {facts.documents} held-out documents are in the text trained on, "
            "so they were learned by heart; take them out of one of the two"
        )
    if facts.as_validation < (1 + MARGIN) * facts.validation:
        return None
    if facts.training_length != facts.validation_length:
        return what + (
            f"training reads sequences of {facts.training_length} tokens and validation of {facts.validation_length}, "
            "so what stands before a token differs"
        )
    apart = "no document is in both" if facts.common == 0 else "documents in both were not looked for (`overlap`)"
    return what + (
        f"one batch has {facts.as_validation:.4g} either way and {apart}, so the held-out text is easier; "
        "measure on text drawn from the same sources in the same shares"
    )
