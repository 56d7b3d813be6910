"""Two models that answer while a voter watches, each asked by a talker of its own.

What an answer is worth is decided by what is in the store: an answer is kept there when it is whole, whether or not
anybody is still watching, and only then can its duel be decided.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bunbuku_inference import Answer, Failure, Message, Model, Request, Sampling, Talker

from bunbuku_eval.arena.store import Store
from bunbuku_eval.arena.tables import SIDES, Duel, Side, Turn


@dataclass
class Running:
    """What has been written so far of the two answers of a turn."""

    texts: dict[Side, str] = field(default_factory=lambda: {"left": "", "right": ""})
    whole: set[Side] = field(default_factory=set[Side])


class Live:
    """The models of a live arena."""

    def __init__(self, models: Mapping[str, Model], store: Store, sampling: Sampling) -> None:
        self.names = sorted(models)
        self.starting = threading.Lock()
        """Held from a turn's entry in the store until its answers are begun, and by who asks whether they are lost."""
        self._talkers = {name: Talker(name, model) for name, model in models.items()}
        self._store, self._sampling = store, sampling
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}

    def close(self) -> None:
        """Answer what waits, then give the models back."""
        for talker in self._talkers.values():
            talker.close()

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
            told, done = self._listeners(duel.id, number, side, running)
            self._talkers[model].begin(request, told=told, done=done)

    def _listeners(
        self, duel: str, turn: int, side: Side, running: Running
    ) -> tuple[Callable[[str], None], Callable[[Answer | Failure], None]]:
        """What is done with an answer as it grows and when it is whole."""

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

        return told, done


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
