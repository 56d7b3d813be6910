"""What step n of a run is: its phase, how many sequences of which length, at which rate, and what lies before it.

A `Course` is a function of the config, and of how far a schedule had come that the run goes on with. Whoever asks (a rank
that reads a batch, the publisher that shows progress, a run that goes on) gets the same answer, so nothing about it is
saved.

Steps are counted from 1. Sequences are counted from 0: step n reads `sequences` of them from `first_sample` on. Tokens
are those of whole sequences, with what packing fills them up with.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from bunbuku_contracts import ConfigError

from bunbuku_pretrain.phases import Phase
from bunbuku_pretrain.training import TrainConfig


@dataclass(frozen=True)
class Step:
    """One step of a run."""

    number: int
    phase: int
    """Number of its phase, from 0."""
    tokens_before: int
    """Tokens of this run that the steps before it read."""
    tokens: int
    """Tokens behind the run when the step is done."""
    first_sample: int
    """Number of its first sequence, of all that the run reads."""
    first_of_phase: int
    """The same, of all that its phase reads."""
    sequences: int
    sequence_length: int
    learning_rate: float
    rope_theta: float | None
    """As some phase up to this one asks, `None` where none does: the model's own."""
    eps: float
    clip: float
    resets_optimizer: bool
    """Whether the optimizer's moments are set to zero before this step."""

    @property
    def batch_tokens(self) -> int:
        return self.tokens - self.tokens_before


@dataclass(frozen=True)
class Stretch:
    """Neighbouring steps that differ in nothing but their number."""

    phase: int
    first_step: int
    steps: int
    tokens_before: int
    first_sample: int
    first_of_phase: int
    sequences: int
    sequence_length: int

    @property
    def batch_tokens(self) -> int:
        return self.sequences * self.sequence_length

    @property
    def tokens(self) -> int:
        """Tokens behind the run at its end."""
        return self.tokens_before + self.steps * self.batch_tokens


class Course:
    """The steps of a run.

    Args:
        config: Of the run; its phases have their tokens.
        schedule_before: Tokens that the schedule had behind it when the run began.

    Raises:
        ConfigError: A phase is too short for a step, or its batch no whole number of sequences.
    """

    def __init__(self, config: TrainConfig, *, schedule_before: int = 0) -> None:
        self.config = config
        self.schedule_before = schedule_before
        self.phases: tuple[Phase, ...] = tuple(_filled(config))
        self.stretches: tuple[Stretch, ...] = tuple(self._stretches())
        self._first_steps = [stretch.first_step for stretch in self.stretches]

    @property
    def steps(self) -> int:
        """Number of the last step."""
        last = self.stretches[-1]
        return last.first_step + last.steps - 1

    @property
    def tokens(self) -> int:
        """Tokens behind the run at its end."""
        return self.stretches[-1].tokens

    @property
    def longest(self) -> int:
        """Tokens of its longest sequence."""
        return max(stretch.sequence_length for stretch in self.stretches)

    def step(self, number: int) -> Step:
        """Step `number`, from 1 on."""
        stretch = self._stretch(number)
        passed = number - stretch.first_step
        before = stretch.tokens_before + passed * stretch.batch_tokens
        begins = self.phase_steps[stretch.phase][0] == number
        phase, adam = self.phases[stretch.phase], self.config.optimizer
        return Step(
            number=number,
            phase=stretch.phase,
            tokens_before=before,
            tokens=before + stretch.batch_tokens,
            first_sample=stretch.first_sample + passed * stretch.sequences,
            first_of_phase=stretch.first_of_phase + passed * stretch.sequences,
            sequences=stretch.sequences,
            sequence_length=stretch.sequence_length,
            learning_rate=self._learning_rate(stretch.phase, before + stretch.batch_tokens),
            rope_theta=phase.rope_theta,
            eps=phase.eps or adam.eps,
            clip=phase.clip or adam.clip,
            resets_optimizer=begins and phase.reset_optimizer,
        )

    def tokens_after(self, number: int) -> int:
        """Tokens behind the run after step `number`, 0 before the first."""
        return self.step(number).tokens if number else 0

    def rope_theta_after(self, number: int, own: float) -> float:
        """Base of the rotary positions of a model saved after step `number`, where the run began with `own`."""
        return (self.step(number).rope_theta if number else None) or own

    def longest_until(self, number: int) -> int:
        """Tokens of the longest sequence up to step `number`, 0 before the first."""
        return max((s.sequence_length for s in self.stretches if s.first_step <= number), default=0)

    @cached_property
    def phase_steps(self) -> tuple[tuple[int, int], ...]:
        """First and last step of every phase."""
        own = [[s for s in self.stretches if s.phase == phase] for phase in range(len(self.phases))]
        return tuple((some[0].first_step, some[-1].first_step + some[-1].steps - 1) for some in own)

    @cached_property
    def phase_samples(self) -> tuple[int, ...]:
        """Sequences that every phase reads."""
        counts = [0] * len(self.phases)
        for stretch in self.stretches:
            counts[stretch.phase] += stretch.steps * stretch.sequences
        return tuple(counts)

    @cached_property
    def milestone_steps(self) -> tuple[int, ...]:
        """Steps after which a milestone is published; the last step is not one, since it ends in the output itself."""
        config = self.config
        marks = set(config.milestone_tokens)
        if config.milestone_interval_tokens is not None:
            marks |= set(range(config.milestone_interval_tokens, self.tokens, config.milestone_interval_tokens))
        ends = [stretch.tokens for stretch in self.stretches]
        steps: set[int] = set()
        for mark in marks:
            place = bisect_left(ends, mark)
            if place < len(ends):
                stretch = self.stretches[place]
                passed = -(-(mark - stretch.tokens_before) // stretch.batch_tokens)
                steps.add(stretch.first_step + passed - 1)
        return tuple(sorted(step for step in steps if step < self.steps))

    def _stretch(self, number: int) -> Stretch:
        if not 1 <= number <= self.steps:
            raise ValueError(f"there is no step {number}: they are 1 to {self.steps}")
        return self.stretches[bisect_right(self._first_steps, number) - 1]

    def _learning_rate(self, phase: int, tokens: int) -> float:
        """The rate of a step that ends after so many tokens of the run."""
        own, config = self.phases[phase], self.config
        if own.schedule is None:
            total = config.schedule_tokens or self.schedule_before + self.tokens
            return config.optimizer.learning_rate * config.schedule.share(self.schedule_before + tokens, total)
        begin = self.step_tokens_before(phase)
        peak = own.learning_rate or config.optimizer.learning_rate
        return peak * own.schedule.share(tokens - begin, self._phase_end(phase) - begin)

    def step_tokens_before(self, phase: int) -> int:
        """Tokens behind the run when a phase begins."""
        return next(stretch.tokens_before for stretch in self.stretches if stretch.phase == phase)

    def _phase_end(self, phase: int) -> int:
        return max(stretch.tokens for stretch in self.stretches if stretch.phase == phase)

    def _stretches(self) -> Iterator[Stretch]:
        at = Stretch(0, first_step=1, steps=0, tokens_before=0, first_sample=0, first_of_phase=0, sequences=0,
                     sequence_length=1)  # fmt: skip
        for number, phase in enumerate(self.phases):
            assert phase.tokens is not None and phase.batch_tokens is not None and phase.sequence_length is not None
            at = replace(at, phase=number, first_of_phase=0, sequence_length=phase.sequence_length)
            left, before = phase.tokens, at.first_step
            while True:
                batch, steps = self._batch(at.tokens_before, phase.batch_tokens, left)
                if not steps:
                    break
                if batch % phase.sequence_length:
                    raise ConfigError(
                        f"a step of phase {phase.name!r} has {batch} tokens, which is not a multiple of its "
                        f"`sequence_length` {phase.sequence_length}",
                        hint="choose `batch_tokens` and `increment_tokens` that are multiples",
                    )
                found = replace(at, steps=steps, sequences=batch // phase.sequence_length)
                yield found
                read = found.steps * found.sequences
                at = replace(
                    at,
                    first_step=at.first_step + steps,
                    tokens_before=found.tokens,
                    first_sample=at.first_sample + read,
                    first_of_phase=at.first_of_phase + read,
                )
                left -= steps * batch
            if at.first_step == before:
                raise ConfigError(
                    f"phase {phase.name!r} has {phase.tokens:,} tokens, less than its one step of {batch:,}",
                    hint="give it more `tokens` or a smaller `batch_tokens`",
                )

    def _batch(self, tokens: int, full: int, left: int) -> tuple[int, int]:
        """Tokens of the next step, and how many such steps come, of the `left` tokens of a phase."""
        ramp, tokens = self.config.ramp_up, tokens + self.schedule_before
        if ramp is None or tokens >= ramp.over_tokens:
            return full, left // full
        batch = ramp.at(tokens, full)
        return batch, min(left // batch, -(-(ramp.until(tokens, full) - tokens) // batch))


def _filled(config: TrainConfig) -> Iterator[Phase]:
    """The phases with what they leave out."""
    before = Phase(sequence_length=config.sequence_length, batch_tokens=config.batch_tokens)
    for phase in config.phases or (Phase(tokens=config.total_tokens),):
        if phase.tokens is None:
            raise ConfigError(f"phase {phase.name!r} has no `tokens`", hint="give it some, or a --blend that does")
        before = phase.model_copy(
            update={
                name: getattr(phase, name) or getattr(before, name)
                for name in ("sequence_length", "batch_tokens", "rope_theta", "eps", "clip")
            }
        )
        yield before
