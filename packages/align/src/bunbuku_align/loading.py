"""A checkpoint as a model in memory, and what of it may change."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Checkpoint, ConfigError, Draft, register_hf_models
from peft import LoraConfig
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from bunbuku_align.adapter import FUSED, ROUTER
from bunbuku_align.fused import place
from bunbuku_align.run import AlignRun
from bunbuku_align.training import Full, Lora, TrainingConfig
from bunbuku_align.weights import copied, rewrite


def open_model(checkpoint: Path, config: TrainingConfig) -> PreTrainedModel:
    """The checkpoint's model, its weights in float32 where they are trained themselves."""
    register_hf_models()
    half = config.precision == "bfloat16" and isinstance(config.adapter, Lora)
    try:
        with no_bars():
            model = AutoModelForCausalLM.from_pretrained(
                checkpoint, dtype=torch.bfloat16 if half else torch.float32, local_files_only=True
            )
    except (ValueError, OSError) as error:
        raise ArtifactError(
            f"{checkpoint} does not open as a model: {str(error).splitlines()[0]}",
            hint="a model of the project's own needs the package that declares it: install bunbuku-moe-upcycle[hf]",
        ) from error
    if isinstance(config.adapter, Full) and not config.adapter.router:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.endswith(ROUTER))
    return model


def lora_of(config: TrainingConfig) -> LoraConfig | None:
    """What PEFT is asked for; nothing if all weights are trained.

    Experts and router are bare parameters in transformers 5, which module names do not find (TRL issue 5222 is of a
    crash with them); the trainer is given this config and not a model with an adapter, so that the reference is the model
    with its adapter switched off.
    """
    lora = config.adapter
    if isinstance(lora, Full):
        return None
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]  # a whole number is asked for, none is needed
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        target_parameters=[*(FUSED if lora.experts else ()), *([ROUTER] if lora.router else [])] or None,
        task_type="CAUSAL_LM",
    )


def check_adapter(checkpoint: Artifact[Checkpoint], config: TrainingConfig) -> None:
    """Raise if the model has not what the adapter is to change."""
    mixture = checkpoint.spec.architecture.experts is not None
    if isinstance(config.adapter, Lora) and (missing := config.adapter.misses(mixture=mixture)):
        kind = "a mixture of experts" if mixture else "a dense model"
        raise ConfigError(
            f"the adapter asks for {missing!r}, but {checkpoint.dir} is {kind}",
            hint="take `experts = true`" if mixture else "leave `experts` and `router` out",
        )


def write_model(draft: Draft, checkpoint: Artifact[Checkpoint], state: Mapping[str, torch.Tensor]) -> None:
    """Write trained weights, by their names in memory, into the draft, in the layout, names and types of the checkpoint."""
    for file, target in copied(draft, checkpoint):
        rewrite(
            checkpoint.path(file),
            target,
            _InMemory(state),
            lambda name, weight: (
                place(name).of(state[place(name).parameter]).detach().to(device="cpu", dtype=weight.dtype)
            ),
        )


class _InMemory:
    """The names on disk of weights that are in memory."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        self._state = state

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and place(name).parameter in self._state


def on_gpu(run: AlignRun) -> bool:
    """Whether it is to run on a GPU."""
    if run.device == "cuda" and not torch.cuda.is_available():
        raise BunbukuError("`device` is 'cuda', but PyTorch sees no GPU here", hint="take `device` 'auto' or 'cpu'")
    return run.device != "cpu" and torch.cuda.is_available()


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """PyTorch with so many threads."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(count or before)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers' own progress bars off the terminal, where the draft's are."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
