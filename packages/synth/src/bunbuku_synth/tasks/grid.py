"""Grids of which cells are drawn without replacement, and without ever being made."""

from collections.abc import Iterator, Mapping, Sequence

from bunbuku_synth.keys import pick


def cells(axes: Mapping[str, Sequence[str]], count: int, *, label: str, seed: int) -> Iterator[dict[str, str]]:
    """`count` cells of a grid, each at most once, in an order drawn for `label`; all of them if there are fewer.

    The grid is never made: its cells are numbered, and a permutation of the numbers is walked. So a draw of fewer is the
    beginning of a draw of more.

    >>> found = list(cells({"a": "いろは", "b": "にほ"}, 99, label="x", seed=1))
    >>> len(found), len({(cell["a"], cell["b"]) for cell in found})
    (6, 6)
    """
    size = 1
    for values in axes.values():
        size *= len(values)
    for number in range(min(count, size)):
        at = _permuted(number, size, f"{label}\n{seed}")
        cell: dict[str, str] = {}
        for name, values in axes.items():
            at, place = divmod(at, len(values))
            cell[name] = values[place]
        yield cell


def _permuted(number: int, size: int, salt: str) -> int:
    """Where a number goes in a permutation of those below `size`: a Feistel network of four rounds, walked until inside."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = number >> half, number & mask
        for round_ in range(4):
            seed = int.from_bytes(f"{salt}\n{round_}".encode())
            left, right = right, left ^ pick(seed, str(right), mask + 1)
        number = left << half | right
        if number < size:
            return number
