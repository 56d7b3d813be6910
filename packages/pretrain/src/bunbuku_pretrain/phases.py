"""The parts of a training that follow one another: what is read, in sequences of which length, at which rate.

A phase says what changes when it begins. What it leaves out stays as it was in the phase before, or as the run says;
the optimizer, the order of the text and the schedule go on through all of them unless a phase asks otherwise.
"""

from typing import Self

from bunbuku_contracts import Config
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from bunbuku_pretrain.schedule import AnySchedule


class Phase(Config):
    """A part of a training."""

    name: str = Field(default="training", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    tokens: PositiveInt | None = None
    """Tokens of the phase; it ends with the last step that fits into them. A blend may bring them."""
    mix: dict[str, PositiveFloat] = Field(default={})
    """Weight of each part of the tokens artifact that is read; weights need not sum to 1. If empty, `train` alone."""
    max_epochs: PositiveFloat | dict[str, PositiveFloat] | None = None
    """How often a part may have been read when the phase ends, for each part or by its name; any number if left out."""
    sequence_length: PositiveInt | None = None
    """Tokens of a sequence; as before if left out."""
    batch_tokens: PositiveInt | None = None
    """Tokens of a step; as before if left out."""
    rope_theta: PositiveFloat | None = None
    """Base of the rotary positions; as before if left out."""
    learning_rate: PositiveFloat | None = None
    """Peak of this phase's own schedule; the optimizer's if left out."""
    eps: PositiveFloat | None = None
    """Of AdamW; as before if left out."""
    clip: PositiveFloat | None = None
    """Largest norm of all gradients together; as before if left out."""
    schedule: AnySchedule | None = None
    """Over the tokens of this phase alone. If left out, the schedule of the run goes on."""
    reset_optimizer: bool = False
    """Begins with the optimizer's moments at zero."""

    def most_epochs(self, part: str) -> float | None:
        """The cap on a part."""
        return self.max_epochs.get(part) if isinstance(self.max_epochs, dict) else self.max_epochs

    @model_validator(mode="after")
    def _rate_has_a_schedule(self) -> Self:
        if self.learning_rate is not None and self.schedule is None:
            raise ValueError(
                f"phase {self.name!r} has a `learning_rate` {self.learning_rate:g} and no `schedule` for it to be the peak of"
            )
        return self


class RampUp(Config):
    """Smaller batches in the beginning: in equal steps from `batch_tokens` to those of the phase.

    >>> ramp = RampUp(batch_tokens=100, increment_tokens=100, over_tokens=3000)
    >>> [ramp.at(tokens, full=400) for tokens in (0, 999, 1000, 2000, 3000)]
    [100, 100, 200, 300, 400]
    """

    batch_tokens: PositiveInt
    """Tokens of the first step."""
    increment_tokens: PositiveInt
    """How many more there are each time."""
    over_tokens: PositiveInt
    """Tokens of the run after which batches are whole."""

    def at(self, tokens: int, full: int) -> int:
        """Tokens of a step that begins after so many of the run, where `full` is a whole batch."""
        if tokens >= self.over_tokens:
            return full
        level = tokens * self._levels(full) // self.over_tokens
        return min(full, self.batch_tokens + level * self.increment_tokens)

    def until(self, tokens: int, full: int) -> int:
        """Tokens of the run up to which the batch stays as it is after `tokens` of them; only before the ramp's end."""
        levels = self._levels(full)
        return -(-(tokens * levels // self.over_tokens + 1) * self.over_tokens // levels)

    def _levels(self, full: int) -> int:
        return max(1, -(-(full - self.batch_tokens) // self.increment_tokens))
