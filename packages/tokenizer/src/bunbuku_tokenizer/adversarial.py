"""Strings on which tokenizers lose something, forge something, or differ from each other; the same ones every time."""

import random
from collections.abc import Iterator

SNIPPETS = (
    *(
        "吾輩は猫である。",
        "石油",
        "ｱｲｳ",
        "ガ",
        "カ\u3099",
        "①㈱㍿",
        "髙﨑",
        "葛\U000e0100",
        "𠮷野家",
        "〜～",
        "ー",
        "w",
    ),
    *(
        " ",
        "  ",
        " " * 17,
        " " * 40,
        "\t",
        "\n",
        "\n\n\n",
        "\r\n",
        "\r",
        "\u3000",
        "\u00a0",
        "\u200b",
        "\u2028",
        "\u0085",
    ),
    *("\0", "\u2581", "\u2585", "\u2047", "\ufffd", "\ufeff", "\U0010fffd", "\U0010fffda", "\U0010fffc", "\U0010ffff"),
    *("<s>", "</s>", "<pad>", "<unk>", "<|reserved_0|>", "<0x41>", "<0xE3>", "### 指示:", "### 応答:\n", "a", "b"),
    *(
        "123",
        "１２３",
        "the kettle",
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈",
        "é",
        "e\u0301",
        "ﷺ",
        "עִבְרִית",
        "한국어",
        "def f(x):\n    return x",
    ),
)
"""Full and half width, composed and decomposed, rare forms, every kind of white space, control characters, what
SentencePiece keeps for itself, special tokens in letters, digits, emoji sequences, other scripts."""

_SURROGATES = range(0xD800, 0xE000)


def adversarial(count: int = 2000, seed: int = 0) -> Iterator[str]:
    """Every snippet, all of them in a row, and `count` strings of snippets, repetitions and characters from anywhere.

    >>> len(list(adversarial(10))) == len(SNIPPETS) + 1 + 10
    True
    """
    draw = random.Random(seed)
    yield from SNIPPETS
    yield "".join(SNIPPETS)
    for _ in range(count):
        yield "".join(_part(draw) for _ in range(draw.randint(1, 8)))


def _part(draw: random.Random) -> str:
    match draw.randrange(4):
        case 0:
            return draw.choice(SNIPPETS)
        case 1:
            return draw.choice(SNIPPETS) * draw.randint(2, 40)
        case 2:
            return "".join(chr(draw.choice((0x3041, 0x4E00, 0x30A1)) + draw.randrange(90)) for _ in range(9))
        case _:
            return "".join(map(chr, filter(_valid, (draw.randrange(0x110000) for _ in range(9)))))


def _valid(code: int) -> bool:
    return code not in _SURROGATES
