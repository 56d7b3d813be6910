"""The ids that were given out, of which none may be given twice."""

import hashlib

import numpy as np
from numpy.typing import NDArray

_RECENT = 1 << 18


class Names:
    """Ids given so far. Holds eight bytes a document, not its id.

    Ids are remembered as 64 bits of a hash, in sorted arrays of which each is at least twice as long as the next, so that there
    are as many as the number of ids has binary digits. Two ids with the same 64 bits are taken for one: among a billion the
    chance that any two have is 3 %, and what comes of it is that a good document is refused as a repeated one, never that
    a repeated one is let in.
    """

    def __init__(self, recent: int = _RECENT) -> None:
        self._most = recent
        self._recent: set[int] = set()
        self._sorted: list[NDArray[np.uint64]] = []

    def claim(self, id: str) -> bool:
        """Take the id; false if it is taken.

        >>> names = Names()
        >>> names.claim("a"), names.claim("b"), names.claim("a")
        (True, True, False)
        """
        key = int.from_bytes(hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        if key in self._recent or any(_has(some, key) for some in self._sorted):
            return False
        self._recent.add(key)
        if len(self._recent) >= self._most:
            self._settle()
        return True

    @property
    def bytes_held(self) -> int:
        """How much memory the sorted arrays take."""
        return sum(some.nbytes for some in self._sorted)

    def _settle(self) -> None:
        some = np.sort(np.fromiter(self._recent, np.uint64, len(self._recent)))
        self._recent.clear()
        while self._sorted and len(self._sorted[-1]) < 2 * len(some):
            some = np.sort(np.concatenate((self._sorted.pop(), some)), kind="stable")
        self._sorted.append(some)


def _has(some: NDArray[np.uint64], key: int) -> bool:
    wanted = np.uint64(key)
    place = int(some.searchsorted(wanted))
    return place < len(some) and some[place] == wanted
