"""What step n of a run is: how many sequences of which length, at which rate, and what lies before it.

A `Course` is a function of the config alone. Whoever asks (a rank that reads a batch, the publisher that shows progress,
a run that goes on) gets the same answer, so nothing about it is saved.

Steps are counted from 1. Sequences are counted from 0: step n reads `sequences` of them from `first_sample` on.
"""

from dataclasses import dataclass

from bunbuku_pretrain.training import TrainConfig


@dataclass(frozen=True)
class Step:
    """One step of a run."""

    number: int
    tokens_before: int
    """Tokens of this run that the steps before it read."""
    tokens: int
    """Tokens behind the run when the step is done."""
    first_sample: int
    """Number of its first sequence, of all that the run reads."""
    sequences: int
    sequence_length: int
    learning_rate: float

    @property
    def batch_tokens(self) -> int:
        return self.tokens - self.tokens_before


class Course:
    """The steps of a run."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    @property
    def steps(self) -> int:
        """Number of the last step."""
        return self.config.steps

    @property
    def tokens(self) -> int:
        """Tokens behind the run at its end."""
        return self.tokens_after(self.steps)

    def step(self, number: int) -> Step:
        """Step `number`, from 1 on."""
        config = self.config
        return Step(
            number=number,
            tokens_before=self.tokens_after(number - 1),
            tokens=self.tokens_after(number),
            first_sample=(number - 1) * config.sequences_per_step,
            sequences=config.sequences_per_step,
            sequence_length=config.sequence_length,
            learning_rate=config.learning_rate(number),
        )

    def tokens_after(self, number: int) -> int:
        """Tokens behind the run after step `number`, 0 before the first."""
        return number * self.config.batch_tokens
