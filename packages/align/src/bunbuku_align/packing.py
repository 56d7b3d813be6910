"""Several dialogues in one row of a batch, so that nothing is padded; where one ends and the next begins is kept."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Numbers of the rows that go together, at most `max_tokens` a pack, by best fit of the longest first.

    The pack with the least room that still suffices takes a row (Ding et al. 2024, arXiv:2404.10830 §3, whole rows only:
    nothing is cut). Packs come in the order of their first row's number.

    >>> pack([5, 3, 4, 2, 6], max_tokens=8)
    [[0, 1], [2], [3, 4]]
    """
    packs: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if lengths[row] > max_tokens:
            raise ValueError(f"row {row} of {lengths[row]} tokens does not fit into {max_tokens}")
        at = bisect_left(rooms, (lengths[row], -1))
        if at < len(rooms):
            room, number = rooms.pop(at)
            packs[number].append(row)
        else:
            room, number = max_tokens, len(packs)
            packs.append([row])
        insort(rooms, (room - lengths[row], number))
    return sorted(sorted(rows) for rows in packs)
