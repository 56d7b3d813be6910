"""TRL's trainers, mended: silent, fed with ids, and minimising what TRL 1.16 has not."""

from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from bunbuku_contracts import BunbukuError
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel, Trainer
from trl.trainer.dpo_config import DPOConfig as TrlDpoConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_config import KTOConfig as TrlKtoConfig
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from bunbuku_align.loading import no_bars
from bunbuku_align.objectives import Answers, Reference, judge, needs_reference
from bunbuku_align.training import AnyObjective, Dpo, Ipo, Kto


class _Mended(Trainer):
    """Tells nobody, by telemetry or a model card in the trainer's state, and goes on from the weights of that state."""

    def _send_telemetry(self) -> None: ...

    def create_model_card(self, *args: object, **kwargs: object) -> None: ...

    def create_accelerator_and_postprocess(self) -> None:
        """Accelerate 1.15 divides models on accelerators alone (state.py, `AcceleratorState`); PyTorch does on CPUs as well."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp and not self.is_fsdp_enabled:
            state: Any = self.accelerator.state
            asked: dict[str, Any] = self.args.fsdp_plugin_args or {}
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**asked)
            # Both: whoever asks for a state anew is told what the partial one says.
            state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
            self.is_fsdp_enabled = True

    def whole_weights(self) -> dict[str, torch.Tensor]:
        """All weights by their names in memory: put together, if ranks divide them, on the first alone."""
        model = cast(nn.Module, self.model)
        if isinstance(model, FSDPModule):
            whole: Any = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
            return whole
        return model.state_dict()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """All weights are read as they were written: experts one by one, under names that the model has not in memory.

        transformers 5 looks for the names in memory and passes over what it does not find (trainer.py, `load_state_dict(state_dict, False)`),
        so that a mixture went on from the experts that it began with.
        """
        own = model or self.model
        if not isinstance(own, PreTrainedModel) or self.is_fsdp_enabled:
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        with no_bars():
            read: Any = type(own).from_pretrained(
                resume_from_checkpoint, dtype=own.dtype, local_files_only=True, output_loading_info=True
            )
        saved, found = read
        if missing := sorted(found["missing_keys"]):
            raise BunbukuError(
                f"{resume_from_checkpoint} has no {missing[0]}, nor {len(missing) - 1} more of the model's weights",
                hint="remove that folder: the training then goes on from the state before, or begins anew",
            )
        own.load_state_dict(saved.state_dict())


class _Ready(_Mended):
    """Takes rows as ids, which TRL 1.16 does not foresee in its preference trainers (it does in its SFT trainer)."""

    def _prepare_dataset[D](self, dataset: D, *args: object, **kwargs: object) -> D:
        return dataset

    def _precompute_ref_logps[D](self, dataset: D, *args: object, **kwargs: object) -> D:
        """They are in the rows; TRL's own cache knows the data by where it lies, not by what it is (TRL issue 2423)."""
        return dataset


class SftTrainer(_Mended, SFTTrainer):
    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's; of rows without a mask, which are packed ones, it counts the tokens of the first alone."""
        before, ids = self._total_train_tokens, inputs["input_ids"]
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if cast(nn.Module, self.model).training and "attention_mask" not in inputs:
            tokens = cast(Any, self.accelerator.gather_for_metrics((ids != self._tokenizer.pad_token_id).sum()))
            self._total_train_tokens = before + int(tokens.sum())
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return loss


class KtoTrainer(_Ready, KTOTrainer): ...


class DpoTrainer(_Ready, DPOTrainer):
    """DPO and IPO are TRL's. For the others its forward passes and metrics are taken, and the loss is `objectives`'."""

    objective: AnyObjective = Dpo()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._said: list[Any] = []
        assert isinstance(self.model, nn.Module)
        self.model.register_forward_hook(lambda _module, _given, output: self._said.append(output))

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool) -> Any:
        self._said.clear()
        if not needs_reference(self.objective):
            nothing = torch.zeros(len(inputs["input_ids"]) // 2, device=inputs["input_ids"].device)
            inputs = inputs | {"ref_chosen_logps": nothing, "ref_rejected_logps": nothing}
        loss = super()._compute_loss(model, inputs, return_outputs)
        policy, *reference = self._said
        self._said = []  # activations are not held beyond the step
        if isinstance(self.objective, Dpo | Ipo):
            return loss
        judged = judge(self.objective, _answers(policy, inputs), _reference(reference, inputs))
        metrics = self._metrics["train" if cast(nn.Module, self.model).training else "eval"]
        chosen, rejected = judged.chosen_rewards_B.detach(), judged.rejected_rewards_B.detach()
        for name, values in (
            ("chosen", chosen),
            ("rejected", rejected),
            ("margins", chosen - rejected),
            ("accuracies", (chosen > rejected).float()),
        ):
            metrics[f"rewards/{name}"][-1] = cast(Any, self.accelerator.gather(values)).mean().item()
        loss = judged.loss_B.mean()
        return loss + self.router_aux_loss_coef * policy.aux_loss if self.aux_loss_enabled else loss


type AnyTrainer = SftTrainer | DpoTrainer | KtoTrainer


def preference_trainer(objective: AnyObjective, arguments: dict[str, Any], **given: Any) -> DpoTrainer | KtoTrainer:
    """The trainer of an objective. Of KTO the rows are answers, two a pair, and the batch counts pairs as elsewhere."""
    if isinstance(objective, Kto):
        weights = objective.model_dump(include={"beta", "desirable_weight", "undesirable_weight"})
        rows = {"per_device_train_batch_size": 2 * arguments["per_device_train_batch_size"]}
        return KtoTrainer(args=TrlKtoConfig(**arguments | weights | rows), **given)
    loss = {"loss_type": ["ipo" if isinstance(objective, Ipo) else "sigmoid"], "beta": getattr(objective, "beta", 1.0)}
    trainer = DpoTrainer(args=TrlDpoConfig(**arguments | loss), **given)
    trainer.objective = objective
    return trainer


def _answers(output: Any, inputs: dict[str, torch.Tensor]) -> Answers:
    tokens = inputs["completion_mask"][:, 1:].sum(1)
    return Answers(*output.log_probs.sum(1).chunk(2), *tokens.chunk(2))


def _reference(outputs: list[Any], inputs: dict[str, torch.Tensor]) -> Reference:
    if outputs:
        return Reference(*outputs[0].log_probs.sum(1).chunk(2))
    return Reference(inputs["ref_chosen_logps"], inputs["ref_rejected_logps"])
