"""Between the gradients of a step and its update: is it a good step, and what becomes of a bad one."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bunbuku_contracts import BunbukuError
from megatron.core.distributed import finalize_model_grads

from bunbuku_pretrain import observations
from bunbuku_pretrain.course import Step
from bunbuku_pretrain.detours import Detour, add_detour, add_skip, read_detours, why_passed
from bunbuku_pretrain.job import Job
from bunbuku_pretrain.mcore.finite import is_finite
from bunbuku_pretrain.mcore.runtime import Runtime
from bunbuku_pretrain.spikes import Act, Measured, Memory, RollBack


class Verdict(NamedTuple):
    """What becomes of a step, and why if it is a bad one."""

    act: Act
    reason: str


class Guard:
    """The policy of a run at work on one rank. All ranks are told the same numbers and decide alike."""

    def __init__(self, job: Job, runtime: Runtime, memory: Memory) -> None:
        self.job, self.runtime, self.memory = job, runtime, memory
        self.policy = job.config.spikes
        self.detours = read_detours(job.scratch)
        self.seen_here = False
        """Whether this rank had a gradient in the current step that is not finite."""
        self.broken = False
        """Whether any rank had."""
        self._searching = False

    def finalize(self, model: list[Any], *args: Any, **named: Any) -> None:
        """Add up the gradients of all ranks, unless one of them is not finite: it would be in all of them then."""
        if self._searching:
            return
        self.seen_here = not is_finite(model[0])
        flag = torch.tensor(float(self.seen_here), device=self.runtime.device)
        self.broken = self.runtime.total(flag).item() > 0
        if not self.broken:
            finalize_model_grads(model, *args, **named)

    def searching(self, on: bool) -> None:
        """Whether gradients stay where they are computed, while the source of a bad one is looked for."""
        self._searching = on

    def enter(self, step: Step) -> None:
        """Forget what was usual where a phase begins: other text has other losses, and that is no spike."""
        if step.first_of_phase == 0:
            self.memory = self.memory.model_copy(update={"losses": (), "gradient_norms": ()})

    def why_passed(self, step: int) -> str | None:
        return why_passed(step, self.job.config.skip_steps, self.detours)

    def rate(self, step: Step) -> float:
        """The learning rate of a step."""
        return step.learning_rate * self.policy.rate_share(self.memory, step.number)

    def decide(self, step: Step, *, loss: float | None, norm: float | None, trouble: str = "") -> Verdict:
        """What becomes of a step.

        Raises:
            BunbukuError: The run stops here.
        """
        numbers = torch.tensor([loss or 0.0, norm or 0.0], dtype=torch.float64, device=self.runtime.device)
        agreed = self.runtime.largest(numbers).tolist()
        measured = Measured(
            step.number,
            None if loss is None else agreed[0],
            None if norm is None else agreed[1],
            trouble,
        )
        decision = self.policy.decide(self.memory, measured)
        self.memory = decision.memory
        if decision.reason:
            self._note("nan" if trouble else "spike", decision.reason, step=step.number)
        if decision.act == "stop":
            raise BunbukuError(decision.reason, hint=self._remedy(trouble))
        return Verdict(decision.act, decision.reason)

    def pass_over(self, step: Step, reason: str) -> None:
        """Write down that a step was passed without an update."""
        if self.runtime.leads:
            add_skip(self.job.scratch, step.number, reason)
        before = self.why_passed(step.number - 1) if step.number > 1 else None
        if before != reason:
            self._note("skip", f"not trained on: {reason}", step=step.number)

    def turn_back(self, step: Step, reason: str) -> Detour:
        """Decide a detour around a bad step.

        Raises:
            BunbukuError: The run has turned back here too often.
        """
        assert isinstance(self.policy, RollBack)
        first, last = self.policy.skipped(step.number)
        near = [one for one in self.detours if one.at_step > step.number - self.policy.window_steps]
        if len(near) >= self.policy.most_in_a_row:
            raise BunbukuError(
                f"{reason}; the run went back {len(near)} times within {self.policy.window_steps} steps",
                hint=self._remedy(""),
            )
        detour = Detour(at_step=step.number, first_step=first, last_step=last, reason=reason)
        self.detours = (*self.detours, detour)
        if self.runtime.leads:
            add_detour(self.job.scratch, detour)
        self._note("rollback", f"back before step {first}, past step {last}: {reason}", step=step.number)
        return detour

    def batch_folder(self, step: Step) -> Path:
        return self.job.log / f"bad-step-{step.number:08d}"

    def _note(self, kind: str, text: str, *, step: int) -> None:
        if self.runtime.leads:
            observations.note(self.job.scratch, kind, text, step=step)

    def _remedy(self, trouble: str) -> str:
        kept = "the states before this step are kept"
        if trouble:
            return (
                f"lower `optimizer.learning_rate` or lengthen the warm-up, or choose another policy in `spikes`; {kept}"
            )
        return f"look at the text of these steps, lower `optimizer.learning_rate`, or choose another `spikes`; {kept}"


def finite(value: float) -> float | None:
    """The value, or `None` if it is no finite number."""
    return value if math.isfinite(value) else None
