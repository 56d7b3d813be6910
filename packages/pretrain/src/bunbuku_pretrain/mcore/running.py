"""A run from where it stands to its end: steps, validation, states, and every way in which it can end before.

Between two steps all ranks agree on what none of them may decide alone: whether to stop, and whether the state that is
being written is on the disk everywhere.
"""

import signal
import time
from collections import deque
from functools import partial
from statistics import fmean
from types import FrameType
from typing import Literal

import torch
from bunbuku_contracts import BunbukuError

from bunbuku_pretrain import diagnosis, observations, states
from bunbuku_pretrain import job as files
from bunbuku_pretrain.detours import Detour, cut_skips, read_detours
from bunbuku_pretrain.job import Job, Outcome, StepRecord
from bunbuku_pretrain.mcore import bandwidth, checkpoint
from bunbuku_pretrain.mcore.checkpoint import Saver
from bunbuku_pretrain.mcore.loop import Trainer
from bunbuku_pretrain.mcore.runtime import Runtime, started
from bunbuku_pretrain.pulses import Heart, asked_to_stop
from bunbuku_pretrain.supervising import Pace


def run(job: Job) -> None:
    """Train from where the run stands to its end, or until it is asked to stop."""
    began = time.monotonic()
    signalled: list[str] = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, partial(_asked, signalled))
    with started(job.settings) as runtime:
        heart = Heart(job.scratch, runtime.rank)
        heart.beat("start", 0)
        if job.settings.expected_bandwidth_gb is not None and runtime.world > 1:
            found = bandwidth.insist(runtime, job.settings.expected_bandwidth_gb)
            if runtime.leads:
                observations.note(job.scratch, "network", f"ranks add up {found:.3g} GB a second", step=0)
        Run(_going_on(job, runtime), runtime, heart, began, signalled).to_the_end()


def _asked(signalled: list[str], number: int, _frame: FrameType | None) -> None:
    """Take a signal as the wish to save and end after this step. A second one of its kind has its usual effect."""
    signalled.append(signal.Signals(number).name)
    signal.signal(number, signal.SIG_DFL)


def _going_on(job: Job, runtime: Runtime) -> Job:
    """The job with the state that it goes on from; what was written about later steps is cut off."""
    detours = read_detours(job.scratch)
    newest = checkpoint.newest_whole(job.scratch, files.states(job.scratch), detours, runtime)
    if runtime.leads:
        states.drop_given_up(files.states(job.scratch), detours)
        step = files.read_state(newest).step if newest else None
        _forget_after(job, step)
        where = "from the beginning" if step is None else f"from the state after step {step}"
        observations.note(
            job.scratch, "start" if step is None else "restart", f"{runtime.world} rank(s), {where}", step=step or 0
        )
    runtime.wait()
    return job.model_copy(update={"resume": newest})


def _forget_after(job: Job, step: int | None) -> None:
    files.cut_history(job.scratch, after_step=step)
    cut_skips(job.scratch, after_step=step or 0)


class Run:
    """A trainer with a history, states on the disk, and an eye on the clock."""

    def __init__(self, job: Job, runtime: Runtime, heart: Heart, began: float, signalled: list[str]) -> None:
        self.job, self.runtime, self.heart = job, runtime, heart
        self._began, self._signalled = began, signalled
        self.trainer = Trainer(job, runtime)
        self.saver = Saver(
            files.states(job.scratch), model=self.trainer.weights, optimizer=self.trainer.optimizer, runtime=runtime
        )
        self._pace = Pace(job.settings.slow_step_factor)
        self._losses: deque[float | None] = deque(maxlen=diagnosis.LAST_STEPS)
        self._diagnosed = False

    def to_the_end(self) -> None:
        trainer, steps = self.trainer, self.trainer.course.steps
        if trainer.step == 0:
            self._begin()
        while trainer.step < steps:
            self.heart.beat("step", trainer.step)
            record = trainer.train_step()
            if isinstance(record, Detour):
                self._turn_back(record)
                continue
            self._after(record)
            reason = self._agree()
            if self._is_due() or reason or trainer.step == steps:
                self._save(wait=reason is not None or trainer.step == steps)
            if reason and trainer.step < steps:
                self._report("stopped", reason)
                return
        self.saver.finish()
        self._report("done")

    def _begin(self) -> None:
        self._beat()
        self._record(StepRecord(step=0, tokens=0).model_copy(update=self.trainer.validate(self._beat)))
        if self.job.config.spikes.reach:
            self._save(wait=False)  # a bad step among the first ones must find a state before it

    def _after(self, record: StepRecord) -> None:
        trainer = self.trainer
        if trainer.step % self.job.config.validation_interval_steps == 0 or trainer.step == trainer.course.steps:
            self._beat()
            record = record.model_copy(update=trainer.validate(self._beat))
        self._losses.append(record.loss)
        self._diagnose(record)
        self._record(record)
        if trainer.step in self.job.milestone_steps and not self._has_milestone():
            self.heart.beat("save", trainer.step)
            folder = files.milestones(self.job.scratch)
            checkpoint.save(folder, trainer.state, model=trainer.weights, optimizer=None, runtime=self.runtime)

    def _beat(self) -> None:
        self.heart.beat("validate", self.trainer.step)

    def _diagnose(self, record: StepRecord) -> None:
        """Say once why validation is below training, if it is. All ranks have the same numbers."""
        losses = [loss for loss in self._losses if loss is not None]
        if self._diagnosed or not diagnosis.is_odd(record.validation_loss, losses):
            return
        job, step = self.job, self.trainer.course.step(record.step)
        facts = diagnosis.Facts(
            validation=record.validation_loss or 0.0,
            training=fmean(losses),
            as_training=self.trainer.loss_of(step, self._beat, training=True),
            as_validation=self.trainer.loss_of(step, self._beat, training=False),
            common=None
            if None in (counts := [one.common for one in job.held_out])
            else sum(count or 0 for count in counts),
            documents=sum(one.file.documents for one in job.held_out),
            training_length=step.sequence_length,
            validation_length=job.config.sequence_length,
        )
        if told := diagnosis.cause(facts):
            self._diagnosed = True
            if self.runtime.leads:
                observations.note(job.scratch, "diagnosis", told, step=record.step)

    def _has_milestone(self) -> bool:
        """Whether the milestone of this step was saved before the run went back: it may be about to be published."""
        folder, name = files.milestones(self.job.scratch), files.state_name(self.trainer.step)
        there = self.runtime.leads and ((folder / name).exists() or (folder / f"{name}.done").exists())
        return self.runtime.total(torch.tensor(float(there), device=self.runtime.device)).item() > 0

    def _is_due(self) -> bool:
        return self.trainer.step % self.job.settings.checkpoint_interval_steps == 0

    def _agree(self) -> str | None:
        """Commit a state that is on the disk on all ranks; why the run is to stop, if any rank has a reason."""
        over = self._reason()
        pending, failed = self.saver.progress
        flags = torch.tensor([over is not None, pending, failed], dtype=torch.float64, device=self.runtime.device)
        stop, pending, failed = self.runtime.total(flags).tolist()
        if self.saver.busy and (failed or not pending):
            self._commit()
        return (over or "another rank was asked to") if stop else None

    def _reason(self) -> str | None:
        limit = self.job.settings.time_limit_seconds
        if limit is not None and time.monotonic() - self._began > limit:
            return f"`time_limit_seconds` {limit:g}"
        if self._signalled:
            return self._signalled[0]
        return asked_to_stop(self.job.scratch) if self.runtime.leads else None

    def _save(self, *, wait: bool) -> None:
        self.heart.beat("save", self.trainer.step)
        if self.saver.busy:
            self._commit()
        self.saver.begin(self.trainer.state)
        if wait or not self.job.settings.background_saving:
            self._commit()

    def _commit(self) -> None:
        self.saver.commit()
        if self.runtime.leads:
            settings, reach = self.job.settings, self.job.config.spikes.reach
            states.prune(
                files.states(self.job.scratch),
                keep=settings.keep_checkpoints,
                every=settings.keep_every_steps,
                reach=reach,
            )

    def _turn_back(self, detour: Detour) -> None:
        """Go back to the newest state before a detour.

        Raises:
            BunbukuError: There is none.
        """
        if self.saver.busy:
            self._commit()
        scratch = self.job.scratch
        newest = checkpoint.newest_whole(scratch, files.states(scratch), self.trainer.guard.detours, self.runtime)
        if newest is None:
            raise BunbukuError(
                f"{detour.reason}, and there is no state before step {detour.first_step} to go back to",
                hint="raise `keep_checkpoints`; the same command begins anew and passes those steps",
            )
        self.trainer.go_to(newest)
        if self.runtime.leads:
            states.drop_given_up(files.states(scratch), self.trainer.guard.detours)
            _forget_after(self.job, self.trainer.step)
        self.runtime.wait()

    def _record(self, record: StepRecord) -> None:
        if self.runtime.leads:
            with files.history_file(self.job.scratch).open("a", encoding="utf-8") as history:
                history.write(files.line_of(record) + "\n")
            if slow := self._pace.look(record):
                observations.note(self.job.scratch, "slow", slow, step=record.step)

    def _report(self, status: Literal["done", "stopped"], reason: str = "") -> None:
        if self.runtime.leads:
            outcome = Outcome(status=status, step=self.trainer.step, problem=reason)
            files.outcome_file(self.job.scratch).write_text(outcome.model_dump_json(), encoding="utf-8")
