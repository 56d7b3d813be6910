"""The edge to TRL and PEFT: their trainers do the training, this module says on what, how far, and what is seen of it.

Where the trainers are mended: they prepare no data (rows arrive as ids), they report nothing to anyone, they write no
model card, the balancing loss of experts is `balance`'s, the head computes what `head` says, reference log-probabilities
are `reference`'s, and held-out rows are measured by `held_out` and not by their evaluation loop, whose means are over batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from bunbuku_contracts import Artifact, Checkpoint, Draft
from peft import PeftModel, get_peft_model_state_dict
from transformers import PrinterCallback
from trl.trainer.sft_config import SFTConfig as TrlSftConfig

from bunbuku_align.adapter import write_adapter
from bunbuku_align.balance import balance_as_pretrained
from bunbuku_align.batches import Packed, mixed_up, ordered, packed, paired
from bunbuku_align.examples import Example, Pair, Prepared
from bunbuku_align.head import scores_trained_tokens_only
from bunbuku_align.held_out import AnyModel, answer, answer_logprobs, bare, measure_dialogues, measure_preferences
from bunbuku_align.loading import lora_of, on_gpu, open_model, threads, write_model
from bunbuku_align.noise import add_noise
from bunbuku_align.objectives import needs_reference
from bunbuku_align.ranks import divided, first
from bunbuku_align.reference import ReferenceKey, cached, digest_of
from bunbuku_align.reporting import Point, Training
from bunbuku_align.run import AlignRun
from bunbuku_align.samples import Asked, Sampler
from bunbuku_align.template import ChatTokenizer
from bunbuku_align.trainers import AnyTrainer, SftTrainer, preference_trainer
from bunbuku_align.training import DpoConfig, Full, Kto, SftConfig, TrainingConfig
from bunbuku_align.watch import COMPLETE, Watch

_LOGGED_POINTS = 100
"""About so many points a curve."""
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class Place:
    """Where a training runs and what it starts from."""

    draft: Draft
    checkpoint: Artifact[Checkpoint]
    chat: ChatTokenizer
    run: AlignRun

    @property
    def pad_id(self) -> int:
        """Of the tokenizer, which was checked to have one."""
        return self.chat.tokenizer.pad_token_id


def train(place: Place, config: SftConfig | DpoConfig, prepared: Prepared[Any]) -> Training:
    """Train on dialogues or preferences, in this process, and write what came of it into the draft.

    As one of several ranks it does its share, and the first writes.
    """
    return train_sft(place, config, prepared) if isinstance(config, SftConfig) else train_dpo(place, config, prepared)


def train_sft(place: Place, config: SftConfig, prepared: Prepared[Example]) -> Training:
    """Train on dialogues and write what came of it into the draft."""
    rows = packed(prepared.train, config.max_tokens) if config.packing else prepared.train
    with threads(place.run.threads):
        trainer = SftTrainer(
            model=open_model(place.checkpoint.dir, config),
            args=TrlSftConfig(max_length=None, **_arguments(place, config, len(rows))),
            data_collator=Packed(place.pad_id) if config.packing else None,
            train_dataset=ordered(rows, config),
            processing_class=place.chat.tokenizer,
            peft_config=lora_of(config),
        )
        measure = partial(measure_dialogues, pad_id=place.pad_id, batch=trainer.args.per_device_train_batch_size)
        asked = [Asked(row.before, row.answer) for row in prepared.held_out[: config.samples]]
        return _fit(trainer, place, config, measure, prepared.held_out, asked)


def train_dpo(place: Place, config: DpoConfig, prepared: Prepared[Pair]) -> Training:
    """Train on preferences and write what came of it into the draft."""
    objective, pairs = config.objective, [*prepared.train, *prepared.held_out]
    keep = needs_reference(objective) and (place.run.reference == "cached" or isinstance(config.adapter, Full))
    with threads(place.run.threads):
        model = open_model(place.checkpoint.dir, config)
        logprobs: list[tuple[float, float]] | None = None
        if keep:
            found = _reference(place, config, model, [answer(*one) for pair in pairs for one in pair.answers])
            logprobs = list(zip(found[::2], found[1::2], strict=True))
        common = _arguments(place, config, len(prepared.train)) | {
            "max_length": None,
            "precompute_ref_log_probs": keep or not needs_reference(objective),
        }
        given: dict[str, Any] = {
            "model": model,
            "processing_class": place.chat.tokenizer,
            "peft_config": lora_of(config),
        }
        batch = common["per_device_train_batch_size"]
        if isinstance(objective, Kto):
            rows = mixed_up(prepared.train, logprobs, config, batch)
            if keep:
                strange = [answer(*one) for one in zip(rows["prompt_ids"], rows["KL_completion_ids"], strict=True)]
                rows = rows.add_column("ref_KL_logps", _reference(place, config, model, strange))
        else:
            rows = paired(prepared.train, logprobs, config)
        trainer = preference_trainer(objective, common, train_dataset=rows, **given)
        held = logprobs[len(prepared.train) :] if logprobs else None
        measure = partial(measure_preferences, pad_id=place.pad_id, batch=batch, objective=objective, reference=held)
        asked = [Asked(row.prompt_ids, row.chosen_ids) for row in prepared.held_out[: config.samples]]
        return _fit(trainer, place, config, measure, prepared.held_out, asked)


def _reference(
    place: Place, config: DpoConfig, model: AnyModel, answers: list[tuple[list[int], list[int]]]
) -> list[float]:
    """What the checkpoint says of the answers, from the cache if it is there."""
    batch = min(config.batch_examples, 16)
    key = ReferenceKey(place.checkpoint.content, place.chat.digest, digest_of(answers), config.precision)
    folder = place.run.reference_cache or place.draft.scratch

    def compute() -> list[float]:
        if on_gpu(place.run):
            cast(torch.nn.Module, model).to("cuda")
        return divided(answers, lambda some: answer_logprobs(model, some, pad_id=place.pad_id, batch=batch))

    return cached(Path(folder), key, len(answers), compute)


def _fit[T](
    trainer: AnyTrainer,
    place: Place,
    config: TrainingConfig,
    measure: Callable[[AnyModel, Sequence[T]], dict[str, float]],
    rows: Sequence[T],
    asked: Sequence[Asked],
) -> Training:
    """Run the trainer to its end, from the last whole state if there is one, and write what it made."""
    steps, model = trainer.args.max_steps, cast(AnyModel, trainer.model)
    if trainer.aux_loss_enabled:
        balance_as_pretrained(bare(model))
    if config.neftune_alpha:
        add_noise(bare(model), config.neftune_alpha)
    sampler = Sampler(model, place.chat, asked, config.sample_tokens, place.draft.scratch)
    watch = Watch(place.draft, config.measured_at(steps), lambda: _named(measure(model, rows)) if rows else {}, sampler)
    trainer.remove_callback(PrinterCallback)  # it prints to standard output, which is the published path's alone
    trainer.add_callback(watch)
    with scores_trained_tokens_only():
        trainer.train(resume_from_checkpoint=_last_state(Path(str(trainer.args.output_dir))))
    samples = watch.compare()
    weights = trainer.whole_weights()
    if first():
        _write(place, model, weights)
    points = [_numbers(entry) for entry in trainer.state.log_history]
    return Training(steps, watch.seconds, points, samples, watch.most_disk_bytes)


def _write(place: Place, model: AnyModel, weights: dict[str, torch.Tensor]) -> None:
    """Write what was trained, an adapter or all weights, into the draft."""
    if isinstance(model, PeftModel):
        state = get_peft_model_state_dict(model, state_dict=weights, save_embedding_layers=False)
        write_adapter(place.draft.dir, state, model.peft_config["default"].to_dict())
    else:
        write_model(place.draft, place.checkpoint, weights)


def _named(found: dict[str, float]) -> Point:
    return {f"held_out/{name}": value for name, value in found.items()}


def _arguments(place: Place, config: TrainingConfig, rows: int) -> dict[str, Any]:
    run, steps = place.run, config.steps(rows)
    accumulation = run.accumulation(config.batch_examples)
    return {
        "output_dir": str(place.draft.scratch / "trainer"),
        "max_steps": steps,
        "per_device_train_batch_size": config.batch_examples // (accumulation * run.ranks),
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
        "use_cpu": not on_gpu(run),
        "gradient_checkpointing": run.gradient_checkpointing,
        "dataloader_pin_memory": False,
        "logging_steps": max(1, steps // _LOGGED_POINTS),
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_steps": run.save_every_steps,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        **run.sharding.trainer,
    }


def _last_state(folder: Path) -> str | None:
    """The last state that was written whole, if a run was cut off here."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _numbers(entry: dict[str, Any]) -> Point:
    return {name: float(value) for name, value in entry.items() if isinstance(value, int | float)}
