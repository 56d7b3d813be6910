"""How many requests a voter may make."""

import threading
import time
from collections.abc import Callable


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
            left, since = self._left.get(voter, (float(self._burst), now))
            left = min(float(self._burst), left + (now - since) * self._per_second)
            self._left[voter] = (left - 1 if left >= 1 else left, now)
            return left >= 1
