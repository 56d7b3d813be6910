"""Many conversations with one model: what waits is answered together, and each is told its own text as it grows."""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from bunbuku_contracts import BunbukuError
from bunbuku_inference import Answer, Model, Request

_TOGETHER = 16
"""Requests that are answered at once."""


class Piece(NamedTuple):
    """What a listener is told."""

    text: str
    """The whole answer so far."""
    finish: str | None = None
    """Why it ended: `stop`, `length` or `error` (then the text says what)."""


@dataclass
class _Waiting:
    request: Request
    pieces: "queue.SimpleQueue[Piece]" = field(default_factory=queue.SimpleQueue)


class Talker:
    """A model with a thread that answers; use it as a context manager."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self._model = model
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"talker-{name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer what waits, then give the model back."""
        self._waiting.put(None)
        self._thread.join()
        self._model.close()

    def ask(self, request: Request) -> Iterator[Piece]:
        """The answer as it grows; the last piece says why it ended."""
        mine = _Waiting(request)
        self._waiting.put(mine)
        while True:
            piece = mine.pieces.get()
            yield piece
            if piece.finish is not None:
                return

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, last = [first], False
            while len(batch) < _TOGETHER and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    last = True
                    break
                batch.append(more)
            self._answer(batch)
            if last:
                return

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        requests = [one.request for one in batch]
        try:
            outcomes = self._model.stream(requests, lambda index, text: batch[index].pieces.put(Piece(text)))
        except (BunbukuError, RuntimeError, ValueError) as error:
            for one in batch:
                one.pieces.put(Piece(str(error), "error"))
            return
        for one, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Answer):
                one.pieces.put(Piece(outcome.text, outcome.finish))
            else:
                one.pieces.put(Piece(f"{outcome.reason}: {outcome.detail}", "error"))
