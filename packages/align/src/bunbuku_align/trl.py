"""The edge to TRL and PEFT: their trainers do the training, this module says on what, how far, and what is seen of it.

Where the trainers are mended: they prepare no data (rows arrive as ids), they report nothing to anyone, they write no
model card, the balancing loss of experts is `balance`'s, the head computes what `head` says, and held-out rows are measured by
`held_out` and not by their evaluation loop, whose means are over batches.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from bunbuku_contracts import ArtifactError, BunbukuError, Draft, register_hf_models
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from torch.utils.tensorboard import SummaryWriter
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging
from trl.trainer.dpo_config import DPOConfig as TrlDpoConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig as TrlSftConfig
from trl.trainer.sft_trainer import SFTTrainer

from bunbuku_align.adapter import write_adapter
from bunbuku_align.balance import balance_as_pretrained
from bunbuku_align.examples import Example, Pair, Prepared
from bunbuku_align.head import scores_trained_tokens_only
from bunbuku_align.held_out import measure_dialogues, measure_preferences
from bunbuku_align.order import training_order
from bunbuku_align.reporting import Point, Training
from bunbuku_align.run import AlignRun
from bunbuku_align.template import ChatTokenizer
from bunbuku_align.training import DpoConfig, Lora, SftConfig, TrainingConfig

_COMPLETE = "complete"
"""A file in a trainer's state that is written last: a state without it was cut off."""
_LOGGED_POINTS = 100
"""About so many points a curve."""
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}

type Measure = Callable[[], Point]


def train_sft(
    draft: Draft, config: SftConfig, checkpoint: Path, prepared: Prepared[Example], chat: ChatTokenizer, run: AlignRun
) -> Training:
    """Train an adapter on dialogues and write it into the draft."""
    pad_id = chat.tokenizer.pad_token_id
    with _threads(run.threads):
        trainer = _Sft(
            model=_load(checkpoint, config),
            args=TrlSftConfig(max_length=None, **_arguments(draft, config, run, len(prepared.train))),
            train_dataset=_dataset(prepared.train, config),
            processing_class=chat.tokenizer,
            peft_config=_lora(config.adapter),
        )
        measure = partial(measure_dialogues, pad_id=pad_id, batch=trainer.args.per_device_train_batch_size)
        return _fit(trainer, draft, config, measure, prepared.held_out)


def train_dpo(
    draft: Draft, config: DpoConfig, checkpoint: Path, prepared: Prepared[Pair], chat: ChatTokenizer, run: AlignRun
) -> Training:
    """Train an adapter on preferences and write it into the draft."""
    pad_id, beta = chat.tokenizer.pad_token_id, config.objective.beta
    with _threads(run.threads):
        trainer = _Dpo(
            model=_load(checkpoint, config),
            args=TrlDpoConfig(max_length=None, beta=beta, **_arguments(draft, config, run, len(prepared.train))),
            train_dataset=_dataset(prepared.train, config),
            processing_class=chat.tokenizer,
            peft_config=_lora(config.adapter),
        )
        batch = trainer.args.per_device_train_batch_size
        measure = partial(measure_preferences, pad_id=pad_id, batch=batch, beta=beta)
        return _fit(trainer, draft, config, measure, prepared.held_out)


class _Silent:
    """Tells nobody: no telemetry, no model card in the trainer's state."""

    def _send_telemetry(self) -> None: ...

    def create_model_card(self, *args: object, **kwargs: object) -> None: ...


class _Sft(_Silent, SFTTrainer): ...


class _Dpo(_Silent, DPOTrainer):
    def _prepare_dataset[D](self, dataset: D, *args: object, **kwargs: object) -> D:
        """Rows arrive as ids, which TRL 1.16 does not foresee here (it does in its SFT trainer)."""
        return dataset


class _Watch(TrainerCallback):
    """Shows progress, measures held-out rows on the way, keeps curves, and marks states that are whole."""

    def __init__(self, draft: Draft, measured_at: Collection[int], measure: Measure) -> None:
        self.draft = draft
        self.measure = measure
        self.measured_at = measured_at
        self.start = measure()
        self.seconds = 0.0
        self._clock = 0.0
        self._progress: Iterator[int] = iter(())
        self._writer: SummaryWriter | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        done = state.global_step
        self._writer = SummaryWriter(self.draft.log, purge_step=done + 1 if done else None)
        self._progress = self.draft.track(range(done, state.max_steps), unit="steps", total=state.max_steps - done)
        next(self._progress, None)
        if not done:
            self._keep(state, self.start)
        self._clock = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        next(self._progress, None)
        if state.global_step == state.max_steps:
            control.should_log = True
        if state.global_step in self.measured_at:
            self.seconds += time.perf_counter() - self._clock
            self._keep(state, self.measure())
            self._clock = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        found = logs or {}
        self._write(state.global_step, {f"train/{name}": value for name, value in found.items()})
        if not math.isfinite(found.get("loss", 0.0)):
            raise BunbukuError(
                f"training diverged: the loss is {found['loss']} at step {state.global_step} of {state.max_steps}",
                hint="take a lower `learning_rate`, or a longer warm-up",
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.seconds += time.perf_counter() - self._clock
        for _ in self._progress:
            pass
        if self._writer:
            self._writer.close()

    def _keep(self, state: TrainerState, values: Point) -> None:
        """Add a point to the history that is saved with the trainer's state."""
        if not values:
            return
        state.log_history.append({**values, "step": state.global_step})
        self._write(state.global_step, values)

    def _write(self, step: int, values: Point) -> None:
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)


def _fit[T](
    trainer: _Sft | _Dpo,
    draft: Draft,
    config: TrainingConfig,
    measure: Callable[[PeftModel, Sequence[T]], dict[str, float]],
    rows: Sequence[T],
) -> Training:
    """Run the trainer to its end, from the last whole state if there is one, and write the adapter."""
    steps, model = trainer.args.max_steps, trainer.model
    assert isinstance(model, PeftModel)
    if trainer.aux_loss_enabled:
        balance_as_pretrained(cast(PreTrainedModel, model.get_base_model()))
    watch = _Watch(draft, config.measured_at(steps), lambda: _named(measure(model, rows)) if rows else {})
    trainer.remove_callback(PrinterCallback)  # it prints to standard output, which is the published path's alone
    trainer.add_callback(watch)
    with scores_trained_tokens_only():
        trainer.train(resume_from_checkpoint=_last_state(Path(str(trainer.args.output_dir))))
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    write_adapter(draft.dir, state, model.peft_config["default"].to_dict())
    return Training(steps, watch.seconds, [_numbers(entry) for entry in trainer.state.log_history])


def _named(found: dict[str, float]) -> Point:
    return {f"held_out/{name}": value for name, value in found.items()}


def _arguments(draft: Draft, config: TrainingConfig, run: AlignRun, rows: int) -> dict[str, Any]:
    steps = config.steps(rows)
    accumulation = run.accumulation(config.batch_examples)
    return {
        "output_dir": str(draft.scratch / "trainer"),
        "max_steps": steps,
        "per_device_train_batch_size": config.batch_examples // accumulation,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": _SCHEDULES[config.schedule],
        "warmup_steps": config.warmup_steps(steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.gradient_clip,
        "optim": "adamw_torch",
        "bf16": config.precision == "bfloat16",
        "seed": config.seed,
        "train_sampling_strategy": "sequential",  # over rows that are in their order: see `order`
        "use_cpu": not _on_gpu(run),
        "gradient_checkpointing": run.gradient_checkpointing,
        "dataloader_pin_memory": False,
        "logging_steps": max(1, steps // _LOGGED_POINTS),
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_steps": run.save_every_steps,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _load(checkpoint: Path, config: TrainingConfig) -> PreTrainedModel:
    register_hf_models()
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    try:
        with _no_bars():
            return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype, local_files_only=True)
    except (ValueError, OSError) as error:
        raise ArtifactError(
            f"{checkpoint} does not open as a model: {str(error).splitlines()[0]}",
            hint="a model of the project's own needs the package that declares it: install bunbuku-moe-upcycle[hf]",
        ) from error


def _lora(lora: Lora) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]  # a whole number is asked for, none is needed
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        task_type="CAUSAL_LM",
    )


def _dataset(rows: Sequence[Example] | Sequence[Pair], config: TrainingConfig) -> Dataset:
    """What is trained on, in the order in which it is: the trainer reads it once from the beginning to the end."""
    order = training_order(
        [row.length for row in rows],
        examples=config.examples(len(rows)),
        batch=config.batch_examples,
        seed=config.seed,
    )
    return Dataset.from_list([row._asdict() for row in rows]).select(order)


def _on_gpu(run: AlignRun) -> bool:
    if run.device == "cuda" and not torch.cuda.is_available():
        raise BunbukuError("`device` is 'cuda', but PyTorch sees no GPU here", hint="take `device` 'auto' or 'cpu'")
    return run.device != "cpu" and torch.cuda.is_available()


def _last_state(folder: Path) -> str | None:
    """The last state that was written whole, if a run was cut off here."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(count or before)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers' own progress bars off the terminal, where the draft's are."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _numbers(entry: dict[str, Any]) -> Point:
    return {name: float(value) for name, value in entry.items() if isinstance(value, int | float)}
