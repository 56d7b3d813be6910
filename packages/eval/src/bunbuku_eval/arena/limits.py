"""How many requests a voter may make."""

import threading
import time
from collections.abc import Callable

MOST = 10_000
"""Buckets kept at once; full ones are forgotten first, since a new one is full as well."""


class Limit:
    """A bucket a voter: `burst` requests at once, refilled at `per_second`."""

    def __init__(self, *, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, voter: str) -> bool:
        """Take one from the voter's bucket, if there is one.

        >>> limit = Limit(per_second=1.0, burst=2, clock=lambda: 0.0)
        >>> [limit.allows("猫田") for _ in range(3)], limit.allows("犬山")
        ([True, True, False], True)
        """
        with self._lock:
            now = self._clock()
            if len(self._left) >= MOST and voter not in self._left:
                self._left = {name: one for name, one in self._left.items() if self._filled(one, now) < self._burst}
            left = self._filled(self._left.get(voter, (float(self._burst), now)), now)
            self._left[voter] = (left - 1 if left >= 1 else left, now)
            return left >= 1

    def _filled(self, bucket: tuple[float, float], now: float) -> float:
        left, since = bucket
        return min(float(self._burst), left + (now - since) * self._per_second)
