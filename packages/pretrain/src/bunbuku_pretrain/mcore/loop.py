"""The training loop of a rank: the same on one laptop core and on a cluster.

Megatron's own data parallelism, optimizer and pipeline schedule do the work; this module says what they are fed, when
to look, and when to save.

Shapes: B sequences of a micro-batch, S tokens.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from bunbuku_contracts import BunbukuError
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.pipeline_parallel import get_forward_backward_func

from bunbuku_pretrain import job as files
from bunbuku_pretrain.course import Step
from bunbuku_pretrain.job import Job, Outcome, StepRecord, TrainState
from bunbuku_pretrain.mcore import checkpoint, shims
from bunbuku_pretrain.mcore.feeding import Batch, Feed
from bunbuku_pretrain.mcore.mixture import MixtureMeter
from bunbuku_pretrain.mcore.model import build
from bunbuku_pretrain.mcore.runtime import Runtime, started
from bunbuku_pretrain.mcore.statistics import StatisticsMeter
from bunbuku_pretrain.mcore.weights import fill
from bunbuku_pretrain.sources import HuggingFaceFolder, RandomWeights, Source


class Trainer:
    """A model, its optimizer and its data on one rank."""

    def __init__(self, job: Job, runtime: Runtime) -> None:
        self.job, self.runtime = job, runtime
        self.config, self.settings = job.config, job.settings
        self.course = job.course
        model = build(
            job.architecture,
            sequence_length=self.config.sequence_length,
            vocabulary=job.vocabulary,
            settings=job.settings,
            runtime=runtime,
            precision=self.config.precision,
            z_loss=self.config.z_loss,
        )
        if job.resume is None and (job.start is None or job.start.format == "hf"):
            fill(model, job.architecture, _source(job))
        self.model = self._parallel(model)
        self.optimizer: Any = get_megatron_optimizer(
            self._optimizer_config(), [self.model], use_gloo_process_groups=self.settings.distributed_optimizer
        )
        shims.fuse_adam(self.optimizer)
        model.config.finalize_model_grads_func = finalize_model_grads
        model.config.grad_scale_func = self.optimizer.scale_loss
        self.step = 0
        if job.resume is not None:
            self.step = files.read_state(job.resume).step
            checkpoint.load(job.resume, model=model, optimizer=self.optimizer)
        elif job.start is not None and job.start.format == "megatron":
            checkpoint.load(job.start.folder, model=model, optimizer=None)
        self.statistics = StatisticsMeter(model, self.optimizer, job, runtime)
        self.mixture = MixtureMeter.of(model, job.architecture, runtime)
        self.feed = Feed(job, runtime)
        self.forward_backward: Callable[..., list[dict[str, torch.Tensor]]] = get_forward_backward_func()

    @property
    def state(self) -> TrainState:
        shared = self.settings.distributed_optimizer
        return TrainState(step=self.step, tokens=self.course.tokens_after(self.step), shared_optimizer=shared)

    @property
    def weights(self) -> Any:
        """The model without its wrapper."""
        return self.model.module

    def train_step(self) -> StepRecord:
        """Take the next step.

        Raises:
            BunbukuError: The loss or the gradient is not a number, or infinite.
        """
        clock = time.perf_counter()
        self.step += 1
        step = self.course.step(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = step.learning_rate
        self.statistics.begin(self.step)
        self.model.train()
        self.model.zero_grad_buffer()
        self.optimizer.zero_grad()
        reports = self._run(self.feed.training(step), self.feed.micro_batches(step), forward_only=False)
        loss = self._mean(reports)
        _insist_on_finite(step, "loss", loss)
        _, norm, _ = self.optimizer.step()
        _insist_on_finite(step, "gradient norm", float(norm))
        self.statistics.write(self.step, step.tokens, float(norm))
        return StepRecord(
            step=self.step,
            tokens=step.tokens,
            batch_tokens=step.batch_tokens,
            loss=loss,
            gradient_norm=float(norm),
            learning_rate=step.learning_rate,
            seconds=time.perf_counter() - clock,
            mixture=self.mixture.read() if self.mixture else None,
        )

    @torch.no_grad()
    def validate(self) -> float | None:
        """Mean loss over the tokens of the validation part, in nats; `None` if there is none, or but one token."""
        if self.job.validation is None:
            return None
        self.model.eval()
        batches = self.feed.validation(self.job.validation)
        if not batches:
            return None
        return self._mean(self._run(iter(batches), len(batches), forward_only=True))

    def _run(self, batches: Iterator[Batch], count: int, *, forward_only: bool) -> list[dict[str, torch.Tensor]]:
        return self.forward_backward(
            forward_step_func=_forward,
            data_iterator=batches,
            model=[self.model],
            num_microbatches=count,
            seq_length=self.config.sequence_length,
            micro_batch_size=self.settings.micro_batch_sequences,
            forward_only=forward_only,
        )

    def _mean(self, reports: list[dict[str, torch.Tensor]]) -> float:
        """Mean over all counted tokens of all ranks; only the last pipeline stage has reports."""
        sums = torch.zeros(2, dtype=torch.float64, device=self.runtime.device)
        for report in reports:
            sums += torch.stack([report["sum"], report["count"]])
        total, count = self.runtime.total(sums).tolist()
        return total / count

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
    positions = torch.arange(length, device=batch.tokens_BS.device).expand_as(batch.tokens_BS)
    return model(batch.tokens_BS, positions, None, labels=batch.labels_BS), partial(_loss, batch.counted_BS)


def _loss(counted_BS: torch.Tensor, losses_BS: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss to differentiate, a mean over tokens, and what to report of it."""
    weighted = losses_BS.float() * counted_BS
    report = {"sum": weighted.detach().double().sum(), "count": counted_BS.double().sum()}
    return weighted.sum() / counted_BS.sum().clamp(min=1), report


def _insist_on_finite(step: Step, what: str, value: float) -> None:
    if not math.isfinite(value):
        raise BunbukuError(
            f"the {what} of step {step.number} is {value} "
            f"(sequences {step.first_sample} to {step.first_sample + step.sequences - 1}, "
            f"learning rate {step.learning_rate:.3g})",
            hint="lower `optimizer.learning_rate` or lengthen the warm-up; the states before this step are kept",
        )


def _source(job: Job) -> Source:
    if job.start is not None:
        return HuggingFaceFolder(job.start.folder)
    assert job.config.model is not None
    return RandomWeights(
        job.architecture, vocabulary=job.vocabulary, std=job.config.model.initial_std, seed=job.config.seed
    )


def run(job: Job) -> None:
    """Train from where the run stands to its end, or to its time limit."""
    began = time.monotonic()
    with started(job.settings) as runtime:
        trainer = Trainer(job, runtime)
        if trainer.step == 0:
            _record(trainer, StepRecord(step=0, tokens=0, validation_loss=trainer.validate()))
        last_saved = trainer.step
        while trainer.step < trainer.course.steps:
            record = trainer.train_step()
            if trainer.step % job.config.validation_interval_steps == 0 or trainer.step == trainer.course.steps:
                record = record.model_copy(update={"validation_loss": trainer.validate()})
            _record(trainer, record)
            if trainer.step in job.milestone_steps:
                _save_milestone(trainer)
            out_of_time = _is_out_of_time(trainer, began)
            due = trainer.step % job.settings.checkpoint_interval_steps == 0
            if due or out_of_time or trainer.step == trainer.course.steps:
                _save_state(trainer)
                last_saved = trainer.step
            if out_of_time and trainer.step < trainer.course.steps:
                break
        _report(trainer, "done" if last_saved == trainer.course.steps else "stopped")


def _record(trainer: Trainer, record: StepRecord) -> None:
    if trainer.runtime.leads:
        with files.history_file(trainer.job.scratch).open("a", encoding="utf-8") as history:
            history.write(files.line_of(record) + "\n")


def _save_milestone(trainer: Trainer) -> None:
    folder = files.milestones(trainer.job.scratch)
    checkpoint.save(folder, trainer.state, model=trainer.weights, optimizer=None, runtime=trainer.runtime)


def _save_state(trainer: Trainer) -> None:
    folder = files.states(trainer.job.scratch)
    checkpoint.save(folder, trainer.state, model=trainer.weights, optimizer=trainer.optimizer, runtime=trainer.runtime)
    if trainer.runtime.leads:
        checkpoint.prune(folder, keep=trainer.settings.keep_checkpoints)


def _is_out_of_time(trainer: Trainer, began: float) -> bool:
    """Whether any rank has used up its time: all stop at the same step."""
    limit = trainer.settings.time_limit_seconds
    if limit is None:
        return False
    over = torch.tensor(float(time.monotonic() - began > limit), device=trainer.runtime.device)
    return trainer.runtime.total(over).item() > 0


def _report(trainer: Trainer, status: Any) -> None:
    if trainer.runtime.leads:
        outcome = Outcome(status=status, step=trainer.step)
        files.outcome_file(trainer.job.scratch).write_text(outcome.model_dump_json(), encoding="utf-8")
