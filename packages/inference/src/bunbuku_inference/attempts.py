"""How often a request is tried, and how long is waited between two tries."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import tenacity

from bunbuku_inference.engine import OpenAIEngine
from bunbuku_inference.request import Failure

_LONGEST_WAIT_SECONDS = 60.0
_LONGEST_RETRY_AFTER_SECONDS = 600.0


class Again(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, failure: Failure, *, after: float | None = None, unreachable: bool = False) -> None:
        super().__init__(failure.detail)
        self.failure = failure
        self.after = after
        self.unreachable = unreachable


class Refused(Exception):
    """The server will not take this request, now or later."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class Attempts:
    """The patience left for one request."""

    def __init__(self, engine: OpenAIEngine, ending: asyncio.Event) -> None:
        self.retries = 0
        self._engine = engine
        self._ending = ending

    async def until[T](self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The outcome of the first attempt that succeeds.

        Raises:
            Again: The last attempt failed as well.
        """
        try:
            return await attempt()
        except Again as error:
            failed = [error]

        async def another() -> T:
            if failed:  # the first one counts, and is waited after
                raise failed.pop()
            return await attempt()

        return await self._retrying()(another)

    def _retrying(self) -> tenacity.AsyncRetrying:
        """Made only where something went wrong: most requests are answered at once."""
        first = self._engine.first_wait_seconds
        growing = tenacity.wait_exponential(multiplier=first, max=_LONGEST_WAIT_SECONDS)
        pause = growing + tenacity.wait_random(0, first / 2)

        def stop(state: tenacity.RetryCallState) -> bool:
            return state.attempt_number >= self._engine.attempts or self._ending.is_set()

        def wait(state: tenacity.RetryCallState) -> float:
            failed = state.outcome.exception() if state.outcome else None
            if isinstance(failed, Again) and failed.after is not None:
                return min(failed.after, _LONGEST_RETRY_AFTER_SECONDS)
            return pause(state)

        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Again),
            stop=stop,
            wait=wait,
            sleep=self._sleep,
            before_sleep=self._count,
            reraise=True,
        )

    async def _sleep(self, seconds: float) -> None:
        """Until then, or until all is to end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _count(self, _: tenacity.RetryCallState) -> None:
        self.retries += 1


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait; a date instead of a number counts as nothing said."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None
