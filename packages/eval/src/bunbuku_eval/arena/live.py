"""Two models that answer while a voter watches. Each has a thread, which asks it what waits together.

What an answer is worth is decided by what is in the store: an answer is kept there when it is whole, whether or not
anybody is still watching, and only then can its duel be decided.
"""

import hashlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bunbuku_contracts import BunbukuError
from bunbuku_inference import Answer, Failure, Message, Model, Request, Sampling

from bunbuku_eval.arena.store import Store
from bunbuku_eval.arena.tables import SIDES, Duel, Side, Turn

_TOGETHER = 16
"""Requests that one model is asked at once."""


@dataclass
class Running:
    """What has been written so far of the two answers of a turn."""

    texts: dict[Side, str] = field(default_factory=lambda: {"left": "", "right": ""})
    whole: set[Side] = field(default_factory=set[Side])


@dataclass
class _Asked:
    request: Request
    told: Callable[[str], None]
    done: Callable[[Answer | Failure], None]


class _Contestant:
    """A model with its thread."""

    def __init__(self, name: str, model: Model) -> None:
        self._model = model
        self._waiting: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"contestant-{name}", daemon=True)
        self._thread.start()

    def ask(self, asked: _Asked) -> None:
        self._waiting.put(asked)

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()
        self._model.close()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, last = [first], False
            while len(batch) < _TOGETHER and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    last = True
                    break
                batch.append(more)
            for one, outcome in zip(batch, self._outcomes(batch), strict=True):
                one.done(outcome)
            if last:
                return

    def _outcomes(self, batch: Sequence[_Asked]) -> Sequence[Answer | Failure]:
        try:
            return self._model.stream([one.request for one in batch], lambda at, text: batch[at].told(text))
        except (BunbukuError, RuntimeError, ValueError, OSError) as error:
            return [Failure(reason="exhausted", detail=str(error))] * len(batch)


class Live:
    """The models of a live arena."""

    def __init__(self, models: Mapping[str, Model], store: Store, sampling: Sampling) -> None:
        self.names = sorted(models)
        self.starting = threading.Lock()
        """Held from a turn's entry in the store until its answers are begun, and by who asks whether they are lost."""
        self._contestants = {name: _Contestant(name, model) for name, model in models.items()}
        self._store, self._sampling = store, sampling
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}

    def close(self) -> None:
        """Answer what waits, then give the models back."""
        for contestant in self._contestants.values():
            contestant.close()

    def running(self, duel: str) -> Running | None:
        """What is being written for a duel, if anything is."""
        with self._lock:
            return self._running.get(duel)

    def ask(self, duel: Duel, turns: Sequence[Turn]) -> None:
        """Have both models answer the last turn."""
        running = Running()
        with self._lock:
            self._running[duel.id] = running
        number = len(turns) - 1
        for side, model in zip(SIDES, (duel.left, duel.right), strict=True):
            # The seed is the duel's own: nobody gets another's answer, and both models draw alike.
            request = Request(prompt=_history(turns, side), sampling=self._sampling, seed=_seed(duel.id, number))
            self._contestants[model].ask(self._asked(request, duel.id, number, side, running))

    def _asked(self, request: Request, duel: str, turn: int, side: Side, running: Running) -> _Asked:
        def told(text: str) -> None:
            running.texts[side] = text

        def done(outcome: Answer | Failure) -> None:
            if isinstance(outcome, Answer):
                running.texts[side] = outcome.text
                self._store.answer(duel, turn, side, outcome.text)
            else:
                self._store.fail(duel, f"{side}: {outcome.reason}: {outcome.detail}")
            running.whole.add(side)
            if len(running.whole) == len(SIDES):
                with self._lock:
                    self._running.pop(duel, None)

        return _Asked(request, told, done)


def _history(turns: Sequence[Turn], side: Side) -> tuple[Message, ...]:
    found: list[Message] = []
    for turn in turns:
        found.append(Message(role="user", content=turn.prompt))
        said = getattr(turn, side)
        if said is not None:
            found.append(Message(role="assistant", content=said))
    return tuple(found)


def _seed(duel: str, turn: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{duel}\0{turn}".encode()).digest()[:4])
