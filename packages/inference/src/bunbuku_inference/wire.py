"""Connections to one server, in an event loop on a thread of its own. The only module that knows aiohttp.

The proxy is the environment's. A request is sent as bytes that were made once, and a reply is given back as
bytes: what they mean is the caller's.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

_SUCCESS = range(200, 300)


class Unanswered(Exception):
    """There is no whole reply to a request."""

    def __init__(self, detail: str, *, slow: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.slow = slow
        """Whether the server was there and took too long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server sent."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_good(self) -> bool:
        """Whether it is what was asked for."""
        return self.status in _SUCCESS


class Wire:
    """Up to `connections` of them at once; each attempt may take `timeout_seconds`."""

    def __init__(self, base_url: str, *, connections: int, timeout_seconds: float, key: str) -> None:
        self._timeout_seconds = timeout_seconds
        self._proxy = _proxy_of(base_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ask", daemon=True)
        self._thread.start()
        self._session = self.start(self._opened(connections, key)).result()

    def start[T](self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something done in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def tell(self, call: partial[None]) -> None:
        """Have something called in the loop, from another thread."""
        self._loop.call_soon_threadsafe(call)

    def close(self) -> None:
        """Close the connections, and end the thread."""
        if not self._loop.is_closed():
            self.start(self._session.close()).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def post(self, url: str, body: bytes) -> Reply:
        """The reply to one attempt.

        Raises:
            Unanswered: There is none, or half of one.
        """
        try:
            async with self._session.post(url, data=body) as response:
                return Reply(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
            raise self._unanswered(error) from error

    async def lines(self, url: str, body: bytes) -> AsyncGenerator[Reply | bytes]:
        """The reply's lines as they come; or, as the only thing, the whole reply if it is no stream of events.

        Raises:
            Unanswered: There is none, or it ended in the middle.
        """
        pauses = aiohttp.ClientTimeout(sock_connect=self._timeout_seconds, sock_read=self._timeout_seconds)
        try:
            async with self._session.post(url, data=body, timeout=pauses) as response:
                if response.status not in _SUCCESS or response.content_type != "text/event-stream":
                    yield Reply(response.status, response.headers, await response.read())
                    return
                async for line in response.content:
                    yield line
        except (aiohttp.ClientError, OSError) as error:
            raise self._unanswered(error) from error

    async def _opened(self, connections: int, key: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._proxy,
        )

    def _unanswered(self, error: Exception) -> Unanswered:
        slow = isinstance(error, TimeoutError)
        detail = f"no reply within {self._timeout_seconds:g} s" if slow else str(error) or type(error).__name__
        return Unanswered(detail, slow=slow)


def _proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a server. Found out once: aiohttp would read the environment at every request."""
    where = urlsplit(url)
    if not where.hostname or proxy_bypass(where.netloc):
        return None
    return getproxies().get(where.scheme)
