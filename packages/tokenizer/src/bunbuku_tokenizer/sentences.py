"""What training reads: texts cut where no piece may reach across.

A piece of several characters never holds a line end, a tab or two spaces in a row: those are pieces of their own
(`vocabulary.GIVEN`), so the text is cut there. It is cut as well around the four characters that SentencePiece's
trainer keeps for itself, and wherever a line would be longer than the trainer accepts; it silently skips such lines.
"""

import re
from collections.abc import Iterator

MAX_CHARS = 1000
"""Longest sentence: four bytes a character stay below SentencePiece's 4192."""

_BREAK = re.compile("[\n\r\t\0\u2581\u2585]+|  +")
_SENTENCE = re.compile(
    f"[^。！？]{{1,{MAX_CHARS}}}(?:[。！？]{{1,16}}|(?= )|$)"  # to a full stop, else to a space, else to the end
    f"|[^。！？]{{1,{MAX_CHARS}}}|[。！？]{{1,16}}"
)


def sentences(text: str) -> Iterator[str]:
    r"""Parts of `text` in order, each of at most about `MAX_CHARS` characters; only what cuts them is missing.

    >>> list(sentences("吾輩は猫である。名前はまだ無い。\n\tどこで生れたか"))
    ['吾輩は猫である。', '名前はまだ無い。', 'どこで生れたか']
    """
    for stretch in _BREAK.split(text):
        yield from _SENTENCE.findall(stretch)
