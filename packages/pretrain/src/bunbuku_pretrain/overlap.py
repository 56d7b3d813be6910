"""Documents that are in two token files, to the last token.

Of every document whose length occurs in the other file a few tokens are looked at first, so that a large file is not
read as a whole.
"""

import numpy as np
from numpy.typing import NDArray

from bunbuku_pretrain.reading import TokenFile, lengths_of

LOOKED_AT = 16
_AT_ONCE = 1 << 20


def common_documents(large: TokenFile, small: TokenFile, *, dtype: str) -> int:
    """How many documents of `small` are in `large` too."""
    there, wanted = _Documents(large, dtype), _Documents(small, dtype)
    if not len(wanted.lengths) or not len(there.lengths):
        return 0
    keys = wanted.keys(np.arange(len(wanted.lengths)))
    candidates: list[NDArray[np.int64]] = []
    of_length = np.flatnonzero(np.isin(there.lengths, wanted.lengths))
    for begin in range(0, len(of_length), _AT_ONCE):
        some = of_length[begin : begin + _AT_ONCE]
        candidates.append(some[np.isin(there.keys(some), keys)])
    found = {there.text(number) for number in np.concatenate([np.zeros(0, np.int64), *candidates]).tolist()}
    return sum(wanted.text(number) in found for number in range(len(wanted.lengths)))


class _Documents:
    def __init__(self, file: TokenFile, dtype: str) -> None:
        self.lengths = lengths_of(file).astype(np.int64)
        self._begins = np.cumsum(self.lengths) - self.lengths
        self._tokens: NDArray[np.integer] = np.memmap(file.bin, dtype=np.dtype(dtype), mode="r")

    def keys(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        """A number for each, equal for equal documents."""
        lengths = self.lengths[numbers]
        places = self._begins[numbers, None] + np.arange(LOOKED_AT) * lengths[:, None] // LOOKED_AT
        seen = self._tokens[places].astype(np.uint64)
        factors = np.random.Generator(np.random.Philox(key=1)).integers(1, 2**63, LOOKED_AT + 1, dtype=np.uint64)
        return seen @ factors[:-1] + lengths.astype(np.uint64) * factors[-1]

    def text(self, number: int) -> bytes:
        begin = int(self._begins[number])
        return self._tokens[begin : begin + int(self.lengths[number])].tobytes()
