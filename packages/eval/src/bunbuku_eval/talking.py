"""Prompts and open questions answered turn by turn: every model says its own, and hears it again in the next turn."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bunbuku_inference import Answer, Failure, Message, Model, Request, Sampling

from bunbuku_eval.degenerate import Flag, flags
from bunbuku_eval.models import outcomes
from bunbuku_eval.prompting import talked, transcript
from bunbuku_eval.tasks.talks import Talk


@dataclass(frozen=True)
class Asked:
    """One question as it is put to every model."""

    task: str
    """Of which open task it is; nothing for a prompt of the config."""
    talk: Talk
    style: str
    sampling: Sampling
    japanese: bool
    system: str = ""
    raw: bool = False
    """Whether a plain prompt is gone on with as it is, without a conversation around it."""

    @property
    def name(self) -> str:
        return f"{self.task}/{self.talk.id}" if self.task else self.talk.id

    def prompt(self, history: Sequence[tuple[str, str]]) -> str | tuple[Message, ...]:
        """What the model sees in the turn after that history."""
        said = self.talk.turns[len(history)]
        if self.style == "chat":
            return talked(history, said, system=self.system)
        return said if self.raw else transcript(history, said, system=self.system)


@dataclass
class Line:
    """One question to one model, in one draw: its turns so far."""

    model: str
    tokens_seen: int
    asked: Asked
    sample: int
    replies: list[tuple[str | tuple[Message, ...], int, Answer | Failure]] = field(
        default_factory=list[tuple[str | tuple[Message, ...], int, Answer | Failure]]
    )
    """What was sent, with which seed, and what came back, a turn each."""

    @property
    def answers(self) -> list[Answer]:
        return [one for _, _, one in self.replies if isinstance(one, Answer)]

    @property
    def history(self) -> list[tuple[str, str]]:
        """The turns that were answered."""
        said = zip(self.asked.talk.turns, self.replies, strict=False)
        return [(turn, one.text) for turn, (_, _, one) in said if isinstance(one, Answer)]

    @property
    def open(self) -> bool:
        """Whether there is a turn left, and nothing has failed."""
        return len(self.answers) == len(self.replies) < len(self.asked.talk.turns)

    def flags(self, answer: Answer) -> tuple[Flag, ...]:
        return flags(answer.text, japanese=self.asked.japanese)

    def seed(self, base: int) -> int:
        """Of the prompt, the draw and the turn, and the same for every model."""
        turn = f"\0{len(self.replies)}" if self.replies else ""
        text = f"{base}\0{self.asked.name}\0{self.sample}{turn}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def talk(
    model: Model, lines: Sequence[Line], *, seed: int, begun: bool, chunks: Callable[[list[Line]], Iterable[list[Line]]]
) -> None:
    """Fill in what the model says, a turn of all lines after another; a turn that fails ends its line."""
    while waiting := [line for line in lines if line.open]:
        for some in chunks(waiting):
            prompts = [line.asked.prompt(line.history) for line in some]
            seeds = [line.seed(seed) for line in some]
            requests = [
                Request(prompt=prompt, sampling=_sampling(line), seed=one)
                for line, prompt, one in zip(some, prompts, seeds, strict=True)
            ]
            found = outcomes(model.try_generate, requests, begun=begun or any(line.answers for line in lines))
            for line, prompt, one, outcome in zip(some, prompts, seeds, found, strict=True):
                line.replies.append((prompt, one, outcome))


def _sampling(line: Line) -> Sampling:
    chosen = line.asked.sampling
    if line.asked.style == "plain" and not line.asked.raw and not chosen.stop:
        return chosen.model_copy(update={"stop": ("### ",)})
    return chosen
