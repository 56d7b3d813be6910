"""When a step is bad, and what becomes of it. A policy is its config.

A step is bad if its loss or gradient is not a finite number, or if the loss or the norm of the gradient lies further
from the mean of the last steps than so many of their standard deviations. Everything here is a function of numbers that
all ranks have in common, and what a policy remembers is saved with the training state: every rank, and a run that goes
on, decides alike.

The rule is that of OLMo-core, `src/olmo_core/optim/skip_step_optimizer.py` in allenai/OLMo-core at 067267c: a step is
skipped if its loss or its gradient norm is beyond 6 sigma of 128 steps. Exactly theirs is `sides = "both"` with
`remember_bad = true`. Departs otherwise: only what lies above is bad, and bad steps do not enter the window, where a few
of them would raise sigma until the next ones pass.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Annotated, Literal, NamedTuple

from bunbuku_contracts import Config
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

LEAST_STEPS = 20
"""Fewer steps than this, or than half a window, say nothing about what is usual."""

Quantity = Literal["loss", "gradient_norm"]
type Act = Literal["take", "skip", "roll_back", "stop"]


class Memory(Config):
    """What a policy knows of the steps behind it."""

    losses: tuple[float, ...] = ()
    gradient_norms: tuple[float, ...] = ()
    bad: tuple[NonNegativeInt, ...] = ()
    """The latest bad steps."""
    in_a_row: NonNegativeInt = 0
    """How many steps up to now were bad without a good one between."""


class Measured(NamedTuple):
    """A step before its update. What is not a finite number has no value."""

    step: int
    loss: float | None
    gradient_norm: float | None
    trouble: str = ""
    """What was found that is not a number, and where."""


class Decision(NamedTuple):
    """What becomes of a step, why, and what is remembered of it."""

    act: Act
    reason: str
    """Empty for a good step."""
    memory: Memory


class SpikePolicy(Config):
    """What all policies have: the rule by which a step is bad."""

    window_steps: PositiveInt = 128
    """Steps whose mean and standard deviation say what is usual; nothing is bad before half of them, and 20, were seen."""
    sigmas: PositiveFloat = 6.0
    """Standard deviations from the mean beyond which a step is bad."""
    watches: tuple[Quantity, ...] = ("loss", "gradient_norm")
    """What is looked at. One that is beyond is enough."""
    sides: Literal["above", "both"] = "above"
    """Whether a value can be too low as well."""
    remember_bad: bool = False
    """Whether bad steps enter the window."""
    most_in_a_row: PositiveInt = 20
    """After so many bad steps without a good one the run stops: then it is not the text."""

    def decide(self, memory: Memory, measured: Measured) -> Decision:
        """What becomes of a step."""
        reason = measured.trouble or self._spike(memory, measured)
        remembered = self._remember(memory, measured, bad=bool(reason))
        if not reason:
            return Decision("take", "", remembered)
        if remembered.in_a_row > self.most_in_a_row:
            return Decision("stop", f"{reason}; the {self.most_in_a_row} steps before it were bad too", remembered)
        return Decision(self._act(broken=bool(measured.trouble)), reason, remembered)

    def rate_share(self, memory: Memory, step: int) -> float:
        """Share of the schedule's learning rate that a step gets."""
        del memory, step
        return 1.0

    @property
    def decides_before_updates(self) -> bool:
        """Whether the norm of the gradient must be known before the update."""
        return True

    @property
    def reach(self) -> int:
        """How many steps back a state must be kept for."""
        return 0

    def _act(self, *, broken: bool) -> Act:
        raise NotImplementedError

    def _spike(self, memory: Memory, measured: Measured) -> str:
        found = {
            "loss": (measured.loss, memory.losses),
            "gradient_norm": (measured.gradient_norm, memory.gradient_norms),
        }
        for name in self.watches:
            value, window = found[name]
            if value is not None and (far := self._distance(window, value)) > self.sigmas:
                what = name.replace("_", " ")
                return f"the {what} {value:.4g} is {far:.1f} sigma from {fmean(window):.4g}, the mean of {len(window)}"
        return ""

    def _distance(self, window: Sequence[float], value: float) -> float:
        if len(window) + 1 < max(LEAST_STEPS, self.window_steps // 2):
            return 0.0
        away = value - fmean(window)
        if away == 0 or (away < 0 and self.sides == "above"):
            return 0.0
        spread = stdev(window)
        return abs(away) / spread if spread else math.inf

    def _remember(self, memory: Memory, measured: Measured, *, bad: bool) -> Memory:
        losses, norms = memory.losses, memory.gradient_norms
        if self.remember_bad or not bad:
            losses = self._longer(losses, measured.loss)
            norms = self._longer(norms, measured.gradient_norm)
        latest = (*memory.bad, measured.step) if bad else memory.bad
        return Memory(
            losses=losses,
            gradient_norms=norms,
            bad=latest[-self.most_in_a_row :],
            in_a_row=memory.in_a_row + 1 if bad else 0,
        )

    def _longer(self, window: tuple[float, ...], value: float | None) -> tuple[float, ...]:
        return window if value is None else (*window, value)[-self.window_steps :]


class Warn(SpikePolicy):
    """A spike is noted and the step taken; what is not a number stops the run."""

    type: Literal["warn"] = "warn"

    @property
    def decides_before_updates(self) -> bool:
        return False

    def _act(self, *, broken: bool) -> Act:
        return "stop" if broken else "take"


class Stop(SpikePolicy):
    """A spike stops the run, as does what is not a number. The states before it are kept."""

    type: Literal["stop"] = "stop"

    def _act(self, *, broken: bool) -> Act:
        del broken
        return "stop"


class Skip(SpikePolicy):
    """A bad step updates nothing; the text of it is left behind."""

    type: Literal["skip"] = "skip"

    def _act(self, *, broken: bool) -> Act:
        del broken
        return "skip"


class RollBack(SpikePolicy):
    """Goes back some steps before a bad one, and past them without training on them.

    The states between are dropped, the steps up to the range are taken again to the same bits.
    """

    type: Literal["roll_back"] = "roll_back"
    back_steps: PositiveInt = 10
    """Steps that are skipped together with the bad one, which is the last of them."""
    ahead_steps: NonNegativeInt = 0
    """Steps after the bad one that are skipped too."""

    @property
    def reach(self) -> int:
        return self.back_steps

    def skipped(self, step: int) -> tuple[int, int]:
        """First and last step that a bad `step` takes along.

        >>> RollBack(back_steps=10).skipped(25), RollBack(back_steps=10, ahead_steps=2).skipped(4)
        ((16, 25), (1, 6))
        """
        return max(1, step - self.back_steps + 1), step + self.ahead_steps

    def _act(self, *, broken: bool) -> Act:
        del broken
        return "roll_back"


class LowerRate(SpikePolicy):
    """A bad step updates nothing, and the learning rate of those after it is lowered, then rises back in a line."""

    type: Literal["lower_rate"] = "lower_rate"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What the rate is multiplied by, once for each bad step."""
    recovery_steps: PositiveInt = 100
    """Steps after which the rate is that of the schedule again."""

    def rate_share(self, memory: Memory, step: int) -> float:
        """Share of the schedule's learning rate that a step gets.

        >>> LowerRate(factor=0.5, recovery_steps=10).rate_share(Memory(bad=(7,)), 8)
        0.5
        """
        share = 1.0
        for bad in memory.bad:
            risen = min(1.0, max(0, step - bad - 1) / self.recovery_steps)
            share *= self.factor + (1 - self.factor) * risen
        return share

    def _act(self, *, broken: bool) -> Act:
        del broken
        return "skip"


AnySpikePolicy = Annotated[Warn | Stop | Skip | RollBack | LowerRate, Field(discriminator="type")]
