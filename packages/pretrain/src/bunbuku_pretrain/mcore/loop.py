"""The training loop of a rank: the same on one laptop core and on a cluster.

Megatron's own data parallelism, optimizer and pipeline schedule do the work; this module says what they are fed, when
to look, and when to save.

Shapes: B sequences of a micro-batch, S tokens.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.pipeline_parallel import get_forward_backward_func

from bunbuku_pretrain import job as files
from bunbuku_pretrain import observations
from bunbuku_pretrain.course import Step
from bunbuku_pretrain.detours import Detour
from bunbuku_pretrain.job import Job, Measured, StepRecord, TrainState
from bunbuku_pretrain.mcore import checkpoint, shims, turning
from bunbuku_pretrain.mcore.feeding import Batch, Feed
from bunbuku_pretrain.mcore.finite import Search, search
from bunbuku_pretrain.mcore.guarding import Guard, finite
from bunbuku_pretrain.mcore.mixture import MixtureMeter
from bunbuku_pretrain.mcore.model import build
from bunbuku_pretrain.mcore.runtime import Runtime
from bunbuku_pretrain.mcore.statistics import StatisticsMeter
from bunbuku_pretrain.mcore.weights import fill
from bunbuku_pretrain.mcore.writing import Writer
from bunbuku_pretrain.reading import HeldOut, bits_per_byte
from bunbuku_pretrain.sources import HuggingFaceFolder, RandomWeights, Source
from bunbuku_pretrain.spikes import Act, Memory

type Beat = Callable[[], None]
"""Gives a sign of life of this rank."""

MEASURED_AT_ONCE = 16
"""Micro-batches of a held-out part, for every stage of a pipeline, between two looks at the time."""


class Update(NamedTuple):
    """What became of a step."""

    act: Act
    reason: str
    gradient_norm: float | None


class Trainer:
    """A model, its optimizer and its data on one rank."""

    def __init__(self, job: Job, runtime: Runtime) -> None:
        self.job, self.runtime = job, runtime
        self.config, self.settings = job.config, job.settings
        self.course = job.course
        model = build(
            job.architecture,
            sequence_length=self.course.longest,
            vocabulary=job.vocabulary,
            settings=job.settings,
            runtime=runtime,
            precision=self.config.precision,
            z_loss=self.config.z_loss,
            packed=self.config.packing == "best_fit",
        )
        if job.resume is None and (job.start is None or job.start.format == "hf"):
            fill(model, job.architecture, _source(job))
        self.model = self._parallel(model)
        shims.add_gradients_in_place(model)
        self.optimizer: Any = get_megatron_optimizer(
            self._optimizer_config(), [self.model], use_gloo_process_groups=self.settings.distributed_optimizer
        )
        model.config.grad_scale_func = self.optimizer.scale_loss
        self.step = 0
        self.guard = Guard(job, runtime, Memory())
        shims.fuse_adam(self.optimizer)
        model.config.finalize_model_grads_func = self.guard.finalize
        if job.resume is not None:
            self.go_to(job.resume)
        elif job.start is not None and job.start.format == "megatron":
            kept = self.optimizer if "optimizer" in self.config.keep else None
            checkpoint.load(job.start.folder, model=model, optimizer=kept)
        self.statistics = StatisticsMeter(model, self.optimizer, job, runtime)
        self.writer = Writer(job, runtime)
        self.mixture = MixtureMeter.of(model, job.architecture, runtime, self.config.adaptive_balance)
        self.feed = Feed(job, runtime)
        self.forward_backward: Callable[..., list[dict[str, torch.Tensor]]] = get_forward_backward_func()

    @property
    def state(self) -> TrainState:
        shared = self.settings.distributed_optimizer
        return TrainState(
            **self.job.standing(self.step),
            shared_optimizer=shared,
            memory=self.guard.memory,
            detours=len(self.guard.detours),
        )

    @property
    def weights(self) -> Any:
        """The model without its wrapper."""
        return self.model.module

    def go_to(self, folder: Path) -> None:
        """Be what was saved there: the weights, the optimizer, the step, what the policy for bad steps knows."""
        state = files.read_state(folder)
        checkpoint.load(folder, model=self.weights, optimizer=self.optimizer)
        self.step, self.guard.memory = state.step, state.memory

    def train_step(self) -> StepRecord | Detour:
        """Take the next step, or pass over it. A detour is returned instead if the run has to go back.

        Raises:
            BunbukuError: The step is a bad one, and the run stops at such.
        """
        clock = time.perf_counter()
        self.step += 1
        step = self.course.step(self.step)
        record = StepRecord(step=self.step, tokens=step.tokens, batch_tokens=step.batch_tokens)
        self._turn_to(step)
        self.guard.enter(step)
        if reason := self.guard.why_passed(self.step):
            self.guard.pass_over(step, reason)
            return record.model_copy(update={"skipped": reason})
        rate = self.guard.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.statistics.begin(self.step)
        if self.mixture:
            self.mixture.steer(self.step, self.job.scratch)
        self.model.train()
        self.model.zero_grad_buffer()
        self.optimizer.zero_grad()
        reports = self._run(
            self.feed.training(step), self.feed.micro_batches(step), step.sequence_length, forward_only=False
        )
        nats, counted = self._sums(reports)
        loss = nats / counted
        update = self._update(step, loss, rate)
        if update.act == "roll_back":
            return self.guard.turn_back(step, update.reason)
        if update.act == "take" and update.gradient_norm is not None:
            self.statistics.write(self.step, step.tokens, update.gradient_norm)
        found = {
            "loss": finite(loss),
            "counted_tokens": round(counted),
            "gradient_norm": update.gradient_norm,
            "learning_rate": rate,
            "seconds": time.perf_counter() - clock,
            "mixture": self.mixture.read() if self.mixture else None,
            "skipped": update.reason if update.act == "skip" else None,
        }
        return record.model_copy(update=found)

    def _update(self, step: Step, loss: float, rate: float) -> "Update":
        """Let the optimizer take its step if the policy for bad steps has nothing against it."""
        where = f"(sequences {step.first_sample} to {step.first_sample + step.sequences - 1}, learning rate {rate:.3g})"
        if self.guard.broken or not math.isfinite(loss):
            value = loss if not math.isfinite(loss) else "finite, and its gradient is not"
            trouble = f"the loss of step {step.number} is {value} {where}: {self._search(step)}"
            return self._decided(step, finite(loss), None, trouble)
        before = self.guard.policy.decides_before_updates
        if before:
            self.optimizer.prepare_grads()
            norm = float(self.optimizer.get_grad_norm())
        else:
            norm = float(self.optimizer.step()[1])
        trouble = "" if math.isfinite(norm) else f"the gradient norm of step {step.number} is {norm} {where}"
        update = self._decided(step, loss, finite(norm), trouble)
        if before and update.act == "take":
            self.optimizer.step()
        return update

    def _decided(self, step: Step, loss: float | None, norm: float | None, trouble: str) -> "Update":
        verdict = self.guard.decide(step, loss=loss, norm=norm, trouble=trouble)
        if verdict.act == "skip":
            self.guard.pass_over(step, verdict.reason)
        return Update(verdict.act, verdict.reason, norm)

    def _search(self, step: Step) -> Search:
        """Where in a step something is that is not finite."""
        batches = list(self.feed.training(step))
        self.guard.searching(True)
        try:
            return search(
                self.model,
                batches,
                lambda one: self._run(one, 1, step.sequence_length, forward_only=False),
                runtime=self.runtime,
                seen=self.guard.seen_here,
                folder=self.guard.batch_folder(step),
                known={
                    "step": step.number,
                    "texts": self.feed.reading.step(step),
                    "samples": [self.feed.samples(step, number) for number in range(len(batches))],
                },
            )
        finally:
            self.guard.searching(False)

    @torch.no_grad()
    def validate(self, beat: Beat) -> dict[str, Any]:
        """The loss on all that is held out, and on each part of it: fields of a `StepRecord`. Beats at every batch."""
        self._turn_to(self.course.step(max(1, self.step)), enter=False)
        self.writer.write(self.model, self.forward_backward, self.step, beat)
        self.model.eval()
        found: dict[str, Measured] = {}
        for one in self.job.held_out:
            if measured := self._measure(one, beat):
                found[one.part] = measured
        tokens = sum(part.tokens for part in found.values())
        mean = sum(part.loss * part.tokens for part in found.values()) / tokens if tokens else None
        bits = bits_per_byte((one, found[one.part].loss) for one in self.job.held_out if one.part in found)
        return {"validation_loss": mean, "bits_per_byte": bits, "validation": found}

    def _measure(self, held_out: HeldOut, beat: Beat) -> Measured | None:
        """The loss on a part, or on what of it was read until the time for it was up; `None` if there is nothing in it."""
        count, batches = self.feed.validation_batches(held_out), _beating(self.feed.validation(held_out), beat)
        began, limit = time.monotonic(), self.settings.validation_timeout_seconds
        reports: list[dict[str, torch.Tensor]] = []
        done, over = 0, not count
        while not over:
            some = min(MEASURED_AT_ONCE * self.settings.pipeline_parallel, count - done)
            reports += self._run(batches, some, self.config.sequence_length, forward_only=True)
            done += some
            late = torch.tensor(float(time.monotonic() - began > limit), device=self.runtime.device)
            over = done == count or self.runtime.total(late).item() > 0
        if 0 < done < count and self.runtime.leads:
            told = f"part {held_out.part!r} was measured on {done} of {count} batches, then its {limit:g} s were up"
            remedy = "`validation_tokens` in the config makes it shorter, `validation_timeout_seconds` gives it longer"
            observations.note(self.job.scratch, "validation", f"{told}: {remedy}", step=self.step)
        nats, counted = self._sums(reports)
        if not counted:
            return None
        loss = nats / counted
        return Measured(loss=loss, bits_per_byte=held_out.bits_per_byte(loss), tokens=round(counted))

    @torch.no_grad()
    def loss_of(self, step: Step, beat: Beat, *, training: bool) -> float:
        """The loss of a step's text under the present weights, computed as in training or as in validation."""
        self.model.train(training)
        count, batches = self.feed.micro_batches(step), _beating(self.feed.training(step), beat)
        nats, counted = self._sums(self._run(batches, count, step.sequence_length, forward_only=True))
        if self.mixture:
            self.mixture.forget()  # what the routers saw belongs to no step
        return nats / counted

    def _turn_to(self, step: Step, *, enter: bool = True) -> None:
        """Be as the phase of a step asks, and do what is done when it begins."""
        turning.set_rope_theta(self.weights, step.rope_theta or self.job.architecture.rope_theta)
        turning.set_bounds(self.optimizer, eps=step.eps, clip=step.clip)
        if enter and step.resets_optimizer:
            turning.forget_moments(self.optimizer)

    def _run(
        self, batches: Iterator[Batch], count: int, length: int, *, forward_only: bool
    ) -> list[dict[str, torch.Tensor]]:
        return self.forward_backward(
            forward_step_func=_forward,
            data_iterator=batches,
            model=[self.model],
            num_microbatches=count,
            seq_length=length,
            micro_batch_size=self.settings.micro_batch_sequences,
            forward_only=forward_only,
        )

    def _sums(self, reports: list[dict[str, torch.Tensor]]) -> tuple[float, float]:
        """Nats and counted tokens of all ranks; only the last pipeline stage has reports."""
        sums = torch.zeros(2, dtype=torch.float64, device=self.runtime.device)
        for report in reports:
            sums += torch.stack([report["sum"], report["count"]])
        copies = self.runtime.copies_of_loss // self.runtime.data_parallel
        nats, count = (self.runtime.total(sums) / copies).tolist()
        return nats, count

    def _parallel(self, model: Any) -> Any:
        sharing = DistributedDataParallelConfig(
            grad_reduce_in_fp32=True,
            overlap_grad_reduce=False,
            use_distributed_optimizer=self.settings.distributed_optimizer,
        )
        return DistributedDataParallel(model.config, sharing, model)

    def _optimizer_config(self) -> OptimizerConfig:
        adam = self.config.optimizer
        return OptimizerConfig(
            optimizer="adam",
            lr=adam.learning_rate,
            weight_decay=adam.weight_decay,
            adam_beta1=adam.beta1,
            adam_beta2=adam.beta2,
            adam_eps=adam.eps,
            clip_grad=adam.clip,
            params_dtype=next(self.weights.parameters()).dtype,
            bf16=self.config.precision != "fp32",
            use_distributed_optimizer=self.settings.distributed_optimizer,
        )


def _forward(batches: Iterator[Batch], model: Any) -> tuple[torch.Tensor, Callable[[torch.Tensor], Any]]:
    """One micro-batch through this rank's part of the model, as Megatron's schedule wants it."""
    batch = next(batches)
    length = batch.tokens_BS.shape[1]
    # Pieces that do not see one another need no positions of their own: rotary ones are relative.
    positions = torch.arange(length, device=batch.tokens_BS.device).expand_as(batch.tokens_BS)
    # A mixture balances its experts over text, not over what a sequence is filled up with.
    filling = None if batch.pieces_BS is None else batch.counted_BS == 0
    losses_BS = model(batch.tokens_BS, positions, batch.mask, labels=batch.labels_BS, padding_mask=filling)
    return losses_BS, partial(_loss, batch.counted_BS)


def _loss(
    counted_BS: torch.Tensor, losses_BS: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """The loss to differentiate, how many tokens it is of, and what to report of it.

    It is a sum: Megatron divides the gradients of a step by the tokens of all its micro-batches and ranks together
    (`calculate_per_token_loss`), so that every token counts alike, however many a micro-batch has.
    """
    weighted = losses_BS.float() * counted_BS
    report = {"sum": weighted.detach().double().sum(), "count": counted_BS.double().sum()}
    return weighted.sum(), counted_BS.sum().to(torch.int), report


def _beating(batches: Iterator[Batch], beat: Beat) -> Iterator[Batch]:
    """The same batches; whoever takes one gives a sign of life."""
    for batch in batches:
        beat()
        yield batch


def _source(job: Job) -> Source:
    if job.start is not None:
        return HuggingFaceFolder(job.start.folder)
    assert job.config.model is not None
    return RandomWeights(
        job.architecture, vocabulary=job.vocabulary, std=job.config.model.initial_std, seed=job.config.seed
    )
