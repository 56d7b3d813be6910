"""The same work on many items in several processes, its results in the items' order."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Protocol

from bunbuku_contracts import BunbukuError


class Map(Protocol):
    """What `map` does with one iterable."""

    def __call__[T, R](self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


@contextmanager
def open_pool(workers: int) -> Generator[Map]:
    """A `map` in order by so many processes, with at most three items a worker handed out: memory stays bounded.

    With one worker it is this process.

    Raises:
        BunbukuError: A worker was killed.
    """
    if workers == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        try:
            yield _Ordered(pool, ahead=3 * workers)
        except BrokenProcessPool as error:
            raise BunbukuError(
                f"one of {workers} worker processes was killed, as happens when memory runs out",
                hint="run the same command again, with fewer `workers` if memory is short; nothing published is lost",
            ) from error


@dataclass(frozen=True)
class _Ordered:
    """Results in the items' order, with at most `ahead` items handed out."""

    pool: ProcessPoolExecutor
    ahead: int

    def __call__[T, R](self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(self.pool.submit(work, item))
                if len(waiting) >= self.ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _end_with_parent() -> None:
    """A killed parent would leave its workers waiting for ever: end when it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
