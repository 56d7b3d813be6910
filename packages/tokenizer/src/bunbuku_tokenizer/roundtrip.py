"""Whether texts come back from their ids, on random Unicode too."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from bunbuku_tokenizer.reader import Reader

_MAX_CHARS = 32
_SURROGATES = range(0xD800, 0xE000)
_ALL = 0x110000 - len(_SURROGATES)
_POOLS = (
    "吾輩は猫である名前まだ無いどこで生れたか頓と見当がつかぬ",
    "ｱｲｳｶﾞ①②㈱㍿ﾊﾟ１２３ＡＢＣ～〜－ー…‥㎏℃髙﨑葛",
    "the kettle 0123456789 {}()[]<>/\\|_=+-*&^%$#@!~`'\":;?,.",
    " \t\n\r\u3000\u00a0\u200b\u200d\u2028\u0085\0\ufeff",
    "\u2581\u2585\u2047\ufffd\u0301\u3099\ufe0f\U000e0100\U0010fffd",
    ("👩‍👩‍👧‍👦", "🏳️‍🌈", "🇯🇵", "👍🏽", "が", "é", "עִבְרִית", "한국어"),
    ("<s>", "</s>", "<unk>", "<pad>", "<|im_start|>", "<|endoftext|>", "[INST]", "<0x41>", "  ", "\r\n", "\n\n\n"),
)


class Trips(NamedTuple):
    """What became of some texts."""

    texts: int
    lost: int
    first: str | None
    """The first text that did not come back, and as what it did."""


def random_texts(count: int, seed: int) -> Iterator[str]:
    """Texts that mix Japanese, compatibility characters, code, white space, emoji, marks of tokenizers and any character.

    >>> list(random_texts(2, seed=0)) == list(random_texts(2, seed=0))
    True
    """
    draw = np.random.default_rng(seed)
    for _ in range(count):
        yield "".join(_snippet(draw) for _ in range(int(draw.integers(1, _MAX_CHARS + 1))))


def _snippet(draw: np.random.Generator) -> str:
    pool = int(draw.integers(len(_POOLS) + 1))
    if pool == len(_POOLS):
        code = int(draw.integers(_ALL))
        return chr(code if code < _SURROGATES.start else code + len(_SURROGATES))
    return _POOLS[pool][int(draw.integers(len(_POOLS[pool])))]


def trips(readers: Iterable[Reader], texts: Iterable[str]) -> Trips:
    """What becomes of `texts`; one comes back if it does so from the ids of every reader."""
    readers, seen, lost, first = list(readers), 0, 0, None
    for text in texts:
        seen += 1
        backs = (reader.decode(reader.encode(text)) for reader in readers)
        wrong = next((back for back in backs if back != text), None)
        if wrong is not None:
            lost += 1
            first = first or difference(text, wrong)
    return Trips(seen, lost, first)


def difference(text: str, back: str) -> str:
    """What first went wrong.

    >>> difference("カタカナのｱｲｳと①", "カタカナのアイウと1")
    "'カタカナのｱｲｳと①' comes back as 'カタカナのアイウと1'"
    """
    pairs = enumerate(zip(text, back, strict=False))
    at = next((place for place, (a, b) in pairs if a != b), min(len(text), len(back)))
    start, end = max(0, at - 8), at + 12
    return f"{text[start:end]!r} comes back as {back[start:end]!r}"
