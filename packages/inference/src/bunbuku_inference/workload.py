"""Requests as the token sequences that an engine in this process computes, and what becomes of them.

A request for text is one sequence. A text to score is one sequence a window; `Tally` puts the windows' sums together again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from bunbuku_inference.encoding import Encoder
from bunbuku_inference.model import Finished
from bunbuku_inference.request import Failure, Request, Score, ScoreRequest
from bunbuku_inference.span import windows


@dataclass(frozen=True)
class Job:
    """A request for text, as tokens."""

    index: int
    request: Request
    ids: list[int]


@dataclass(frozen=True)
class Piece:
    """One window of a text to score."""

    index: int
    number: int
    """Which of the text's windows it is."""
    ids: list[int]
    first: int
    """Position in `ids` of the first token to score."""


@dataclass
class Workload[T]:
    """What is to be computed, and what is settled without computing."""

    todo: list[T] = field(default_factory=list)
    settled: list[Finished] = field(default_factory=list)


def jobs(requests: Sequence[Request], encoder: Encoder, context: int) -> Workload[Job]:
    """Every request as tokens; those that leave no room to write are settled as failures."""
    work: Workload[Job] = Workload()
    for index, request in enumerate(requests):
        ids = encoder.prompt(request.prompt)
        if isinstance(ids, Failure):
            work.settled.append(Finished(index, ids))
        elif len(ids) >= context:
            detail = f"the prompt has {len(ids)} tokens, the model's context {context}"
            work.settled.append(Finished(index, Failure(reason="too_long", detail=detail)))
        else:
            work.todo.append(Job(index, request, ids))
    return work


class Tally:
    """Scores under way: hands out the pieces of all texts, and takes their sums."""

    def __init__(self, requests: Sequence[ScoreRequest], encoder: Encoder, context: int) -> None:
        self.work: Workload[Piece] = Workload()
        self._sums: dict[int, dict[int, float]] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        for index, request in enumerate(requests):
            scored = encoder.scored(request)
            if isinstance(scored, Failure):
                self.work.settled.append(Finished(index, scored))
                continue
            # vLLM must leave room for one more token in the context: every engine scores in the same windows.
            found = list(windows(len(scored.ids), scored.first, context - 1))
            if not found:
                self.work.settled.append(Finished(index, Score(logprob=0.0, tokens=0)))
                continue
            self._sums[index] = {}
            self._sizes[index] = len(found), len(scored.ids) - scored.first
            self.work.todo += [
                Piece(index, number, scored.ids[window.begin : window.end], window.first - window.begin)
                for number, window in enumerate(found)
            ]

    def take(self, piece: Piece, logprob: float) -> list[Finished]:
        """Note a piece's sum. Gives the text's score if this was its last piece."""
        sums = self._sums[piece.index]
        sums[piece.number] = logprob
        windows_there_are, tokens = self._sizes[piece.index]
        if len(sums) < windows_there_are:
            return []
        # `fsum` is exact, so the order in which the pieces came does not show.
        return [Finished(piece.index, Score(logprob=math.fsum(sums.values()), tokens=tokens))]
