"""Workers in an event loop that take requests from one queue, and groups of what they finished for whoever waits.

What was taken and is not yet stored is never more than twice the workers: that is what a killed process has to ask again.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from bunbuku_inference.model import Finished, Groups, Halted
from bunbuku_inference.wire import Wire

_GATHER_SECONDS = 0.02
"""How long finished ones wait for others: storing many at once costs hardly more than storing one."""
_LARGEST_GROUP = 64


class Crew[R]:
    """One call's workers."""

    def __init__(
        self, wire: Wire, workers: int, waiting: Iterator[R], do: Callable[[R, asyncio.Event], Awaitable[Finished]]
    ) -> None:
        self._wire, self._workers, self._waiting, self._do = wire, workers, waiting, do
        self._room = 2 * workers
        self._halted = False
        self._go_on = asyncio.Event()
        """Set when there is room again, or no need of it."""
        self._ending = asyncio.Event()
        self._enough = min(workers, _LARGEST_GROUP)
        self._lock = threading.Lock()
        self._done: list[Finished] = []
        self._over = False
        self._some, self._many = threading.Event(), threading.Event()

    def groups(self, halted: Halted) -> Groups:
        """What is finished, as it comes. A group counts as stored when the next one is asked for.

        When one request shows that no other will be answered either, those that are answered by then are given out first: they
        may have been paid for.
        """
        if halted():
            return
        running = self._wire.start(self._run())
        try:
            while True:
                self._some.wait()
                self._many.wait(_GATHER_SECONDS)
                with self._lock:
                    done, self._done, over = self._done, [], self._over
                    self._many.clear()
                    if not over:
                        self._some.clear()
                if done:
                    yield done
                if over:
                    break
                self._wire.tell(partial(self._stored, len(done), halted=halted()))
            running.result()
        finally:
            running.cancel()

    def _stored(self, count: int, *, halted: bool) -> None:
        self._room += count
        self._halted = self._halted or halted
        self._go_on.set()

    async def _run(self) -> None:
        tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]
        try:
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            for error in ended:
                if error:
                    raise error
        finally:
            with self._lock:
                self._over = True
                self._some.set()
                self._many.set()

    async def _work(self) -> None:
        try:
            while (request := await self._next()) is not None:
                self._put(await self._do(request, self._ending))
        except BaseException:
            self._ending.set()
            self._go_on.set()
            raise

    async def _next(self) -> R | None:
        while self._room == 0 and not (self._halted or self._ending.is_set()):
            self._go_on.clear()
            await self._go_on.wait()
        if self._halted or self._ending.is_set():
            return None
        request = next(self._waiting, None)
        if request is not None:
            self._room -= 1
        return request

    def _put(self, finished: Finished) -> None:
        with self._lock:
            self._done.append(finished)
            self._some.set()
            if len(self._done) >= self._enough:
                self._many.set()
