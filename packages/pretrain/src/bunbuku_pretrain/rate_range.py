"""Where a rising learning rate becomes too high, read off a run that raised it stair by stair.

After Smith 2017 (arXiv:1506.01186) §3.3, the learning rate range test. Departs: the rate stays on a stair for some
steps, whose mean is compared, since one batch says little; and besides the loss the norm of the gradient and the size of
the updates are looked at, which turn before the loss does.
"""

from collections.abc import Callable, Sequence
from statistics import fmean, median, stdev
from typing import Annotated, NamedTuple

from bunbuku_contracts import Config
from pydantic import Field, PositiveFloat

from bunbuku_pretrain.job import StepRecord
from bunbuku_pretrain.observations import Statistics


class TurnRule(Config):
    """What counts as a turn."""

    loss_sigmas: PositiveFloat = 3.0
    """The loss turns on the stair whose mean lies above the lowest before it by so many standard errors of both."""
    gradient_norm_factor: Annotated[float, Field(gt=1)] = 2.0
    """The norm of the gradient turns where its mean is so many times the median of the stairs before."""
    update_ratio: PositiveFloat = 0.05
    """The updates turn where a step moves the weights of a layer by more than this share of their norm."""


class Stair(NamedTuple):
    """Steps at one learning rate; their first fifth, while the optimizer gets used to it, is left out of the means."""

    rate: float
    loss: float | None
    """`None` if no step of it had a loss that is a number."""
    loss_error: float
    """Standard error of the mean."""
    gradient_norm: float | None
    update_ratio: float | None
    """The largest of any layer."""
    steep_share: float | None
    """Share of weights with |m| > sqrt(v), the mean over layers."""
    broken: int
    """Steps whose loss or gradient was not a number."""


class Turn(NamedTuple):
    """The first stair on which something turned."""

    what: str
    rate: float
    why: str


def stairs(
    history: Sequence[StepRecord], statistics: Sequence[Statistics], rates: Sequence[float], *, steps: int
) -> list[Stair]:
    """The stairs of a run that took `steps` steps at each of `rates`."""
    found: list[Stair] = []
    for number, rate in enumerate(rates):
        first, last = number * steps + 1, (number + 1) * steps
        on_it = [record for record in history if first <= record.step <= last]
        if not on_it:
            break
        settled = [record for record in on_it if record.step >= first + steps // 5]
        losses = [record.loss for record in settled if record.loss is not None]
        seen = [one for one in statistics if first <= one.step <= last]
        found.append(
            Stair(
                rate=rate,
                loss=fmean(losses) if losses else None,
                loss_error=stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else 0.0,
                gradient_norm=_mean([record.gradient_norm for record in settled]),
                update_ratio=_mean([max(one.update_ratio) for one in seen]),
                steep_share=_mean([fmean(one.steep_share) for one in seen]),
                broken=sum(record.skipped is not None for record in on_it),
            )
        )
    return found


def turns(found: Sequence[Stair], rule: TurnRule) -> list[Turn]:
    """What turned, in the order of the stairs."""
    looks: tuple[Callable[[Sequence[Stair], Stair, TurnRule], Turn | None], ...] = (_broken, _loss, _gradient, _updates)
    first: list[tuple[int, Turn]] = []
    for look in looks:
        for at, stair in enumerate(found):
            if turn := look(found[:at], stair, rule):
                first.append((at, turn))
                break
    return [turn for _, turn in sorted(first, key=lambda pair: pair[0])]


def recommended(found: Sequence[Stair], turned: Sequence[Turn], *, margin: float) -> float:
    """A rate to train with: so much below the first turn, or below the highest rate if nothing turned."""
    return (turned[0].rate if turned else found[-1].rate) / margin


def _broken(before: Sequence[Stair], stair: Stair, rule: TurnRule) -> Turn | None:
    del before, rule
    if not stair.broken:
        return None
    return Turn("numbers", stair.rate, f"{stair.broken} steps had a loss or a gradient that is not a number")


def _loss(before: Sequence[Stair], stair: Stair, rule: TurnRule) -> Turn | None:
    known = [one for one in before if one.loss is not None]
    if not known or stair.loss is None:
        return None
    lowest = min(known, key=lambda one: one.loss or 0.0)
    assert lowest.loss is not None
    room = rule.loss_sigmas * (stair.loss_error**2 + lowest.loss_error**2) ** 0.5
    if stair.loss <= lowest.loss + room:
        return None
    return Turn("loss", stair.rate, f"{stair.loss:.4f}, above {lowest.loss:.4f} at {lowest.rate:.2e}")


def _gradient(before: Sequence[Stair], stair: Stair, rule: TurnRule) -> Turn | None:
    norms = [one.gradient_norm for one in before if one.gradient_norm is not None]
    if not norms or stair.gradient_norm is None or stair.gradient_norm <= rule.gradient_norm_factor * median(norms):
        return None
    times = stair.gradient_norm / median(norms)
    return Turn("gradient norm", stair.rate, f"{stair.gradient_norm:.3g}, {times:.1f} times the median before")


def _updates(before: Sequence[Stair], stair: Stair, rule: TurnRule) -> Turn | None:
    del before
    if stair.update_ratio is None or stair.update_ratio <= rule.update_ratio:
        return None
    return Turn("updates", stair.rate, f"a step moves a layer by {stair.update_ratio:.2%} of its weights' norm")


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
