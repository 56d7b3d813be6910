"""One model asked by many at once: what waits is asked together, and each asker is told its own text as it grows.

A `Talker` has a thread, which alone speaks to the model. Whatever goes wrong there comes back as a `Failure` of the requests
it went wrong for, and the thread goes on: nobody waits for ever.
"""

import logging
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from bunbuku_contracts.errors import BunbukuError

from bunbuku_inference.errors import EngineError
from bunbuku_inference.meter import Meter
from bunbuku_inference.model import DROPPED, Model
from bunbuku_inference.request import Answer, Failure, Request

logger = logging.getLogger(__name__)
_TOGETHER = 16
"""Requests that are asked at once."""


class Piece(NamedTuple):
    """What a listener is told."""

    text: str
    """The whole answer so far; of an error, what it is."""
    finish: Literal["stop", "length", "error"] | None = None
    """Why it ended, of the last piece."""
    reason: str | None = None
    """Of an error, the failure's reason."""


@dataclass(eq=False)
class Asked:
    """A request that waits or is being answered."""

    request: Request
    told: Callable[[str], object]
    done: Callable[[Answer | Failure], object]
    dropped: bool = False

    def drop(self) -> None:
        """Say that nobody waits for the answer any more: the model stops writing it at its next token."""
        self.dropped = True


class Talker:
    """A model with a thread that answers; use it as a context manager."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self._model = model
        self._waiting: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._entrance = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"talker-{name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def meter(self) -> Meter:
        """What the model was asked and wrote."""
        return self._model.meter

    def close(self) -> None:
        """Answer what waits, then give the model back."""
        with self._entrance:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(None)
        self._thread.join()
        self._model.close()

    def begin(
        self, request: Request, *, told: Callable[[str], object], done: Callable[[Answer | Failure], object]
    ) -> Asked:
        """Have a request answered: `told` gets the whole text so far, again and again, and `done` the outcome, once.

        Both are called from the talker's thread.
        """
        asked = Asked(request, told, done)
        with self._entrance:
            if not self._closed:
                self._waiting.put(asked)
                return asked
        done(Failure(reason="exhausted", detail=f"{self.name!r} takes no more questions: it is being closed"))
        return asked

    def ask(self, request: Request) -> Generator[Piece]:
        """The answer as it grows; the last piece says why it ended. Closing the iterator drops the request."""
        pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
        asked = self.begin(request, told=lambda text: pieces.put(Piece(text)), done=lambda end: pieces.put(last(end)))
        try:
            while True:
                piece = pieces.get()
                yield piece
                if piece.finish is not None:
                    return
        finally:
            asked.drop()

    def _work(self) -> None:
        ended = False
        while not ended:
            found = [self._waiting.get()]
            while len(found) < _TOGETHER and not self._waiting.empty():
                found.append(self._waiting.get())
            batch = [one for one in found if one is not None]
            ended = len(batch) < len(found)  # nothing enters after the end
            wanted = [one for one in batch if not one.dropped]
            for one, outcome in zip(wanted, self._outcomes(wanted), strict=True):
                self._settle(one, outcome)
            for one in batch:
                if one not in wanted:
                    self._settle(one, DROPPED)

    def _outcomes(self, batch: Sequence[Asked]) -> Sequence[Answer | Failure]:
        """An outcome for each; if all together fail, each is asked by itself, so that none pays for another's fault."""
        if not batch:
            return []
        try:
            return self._model.stream(
                [one.request for one in batch],
                lambda at, text: batch[at].told(text),
                dropped=lambda at: batch[at].dropped,
            )
        except BunbukuError as error:
            failure = Failure(reason="exhausted", detail=f"{error} {error.hint}".strip())
            hopeless = isinstance(error, EngineError)
        except Exception as error:  # whatever it is, those who wait are told
            logger.exception("%r broke off", self.name)
            first = (str(error).splitlines() or [""])[0]
            failure = Failure(reason="exhausted", detail=f"{self.name!r} broke off: {type(error).__name__}: {first}")
            hopeless = False
        if len(batch) == 1 or hopeless:
            return [failure] * len(batch)
        return [self._outcomes([one])[0] for one in batch]

    def _settle(self, asked: Asked, outcome: Answer | Failure) -> None:
        try:
            asked.done(outcome)
        except Exception:  # an asker's own fault is no reason to leave the others waiting
            logger.exception("an answer of %r could not be given back", self.name)


def last(outcome: Answer | Failure) -> Piece:
    """The piece that ends an answer."""
    if isinstance(outcome, Answer):
        return Piece(outcome.text, outcome.finish)
    return Piece(outcome.detail, "error", outcome.reason)
