"""Which tokens of a text are scored, and how, where the text is longer than a model's context.

Prompt and completion are tokenized as one text. What that text does not share with the prompt alone is the completion. A
text that does not fit is scored in windows that overlap, each token exactly once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Window(NamedTuple):
    """A slice of a text's tokens, of which those from `first` on are scored. All three are positions in the text."""

    begin: int
    end: int
    first: int


def windows(length: int, first: int, context: int) -> Iterator[Window]:
    """Windows that score tokens `first` to `length`, each once, with at most `context` tokens a window.

    A text that fits is one window. In a longer one each window after the first moves on by half the context, so that
    every token sees at least the half of the context before it (or all there is).

    >>> list(windows(10, 1, 4))
    [Window(begin=0, end=4, first=1), Window(begin=2, end=6, first=4), Window(begin=4, end=8, first=6), \
Window(begin=6, end=10, first=8)]

    Args:
        length: Tokens of the text.
        first: Position of the first token to score, at least 1: a token needs one before it.
        context: Tokens that fit into one window, at least 2.
    """
    if first < 1 or context < 2:
        raise ValueError(f"nothing can be scored from position {first} in windows of {context} tokens")
    stride = context // 2
    while first < length:
        end = min(length, context if first < context else first + stride)
        begin = max(0, end - context)
        yield Window(begin, end, first)
        first = end


def shared(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the longest common beginning.

    >>> shared([1, 2, 3], [1, 2, 4, 3])
    2
    """
    return next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
