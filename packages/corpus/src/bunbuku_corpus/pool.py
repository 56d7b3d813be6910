"""The same work on many items in several processes, its results in the items' order."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from bunbuku_contracts import BunbukuError


def in_order[T, R](work: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """What `work` makes of each item, in their order, with at most three items a worker handed out: memory stays bounded.

    Raises:
        BunbukuError: A worker was killed.
    """
    if workers == 1:
        yield from map(work, items)
        return
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[R]] = deque()
    try:
        with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except BrokenProcessPool as error:
        hint = "was memory short? Fewer `workers` take less; nothing was published, run it again"
        raise BunbukuError("a worker process was killed", hint=hint) from error


def _end_with_parent() -> None:
    """A killed parent would leave its workers waiting for ever: end when it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
