"""A watchdog over a model in this process: where nothing moves for too long, the process ends, and the same command goes on.

A computation that hangs (a lost GPU, a deadlock of threads, a child that died) cannot be ended from within. The process can: what was
finished is stored, and exit status 75 says that the same command is to be given again.
"""

import faulthandler
import os
import sys
import threading
from time import monotonic
from typing import Self

STATUS = 75
"""That of work which is not finished and can go on."""


class Watchdog:
    """Watches what is done inside its `with` blocks. `alive` is called with every step that shows that something moves."""

    def __init__(self, patience_seconds: float | None, *, name: str) -> None:
        self._patience = patience_seconds
        self._name = name
        self._last: float | None = None
        """When it last moved; `None` while nobody waits for it."""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.alive()
        if self._patience is not None and self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._last = None

    def alive(self) -> None:
        """Something moved."""
        self._last = monotonic()

    def close(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def _watch(self) -> None:
        assert self._patience is not None
        while not self._ended.wait(self._patience / 10):
            last = self._last
            if last is not None and monotonic() - last > self._patience:
                self._end()

    def _end(self) -> None:
        sys.stderr.write(
            f"error: {self._name!r} has not written a token for {self._patience:g} s, and hangs. Where each thread is:\n"
        )
        sys.stderr.flush()
        faulthandler.dump_traceback(all_threads=True)
        sys.stderr.write(
            "hint:  the same command goes on from what is stored; where tokens take this long, raise `hangs_after_seconds`\n"
        )
        sys.stderr.flush()
        os._exit(STATUS)
