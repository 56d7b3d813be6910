"""Step by step the losses of TRL used bare: what is mended at its edges changes nothing of what it computes.

Conservative DPO is in TRL where AOT is asked for pairs one by one, since sorting one changes nothing. What TRL 1.16 does not
have is D-DPO's penalty, and ORPO as the paper has it: TRL's takes the loss of the prompt too. Those are held to numbers
worked out by hand alone (`test_objectives`), and D-DPO without its penalty is conservative DPO here too.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bunbuku_align import AlignRun, Cdpo, Ddpo, Dpo, DpoConfig, Full, Ipo, Kto, Lora, SftConfig, Simpo, dpo, sft
from bunbuku_align.balance import balance_as_pretrained
from bunbuku_align.batches import ordered
from bunbuku_align.examples import prepare_dialogues, prepare_preferences
from bunbuku_align.held_out import bare
from bunbuku_align.loading import lora_of
from bunbuku_align.order import training_order
from bunbuku_align.parquet import read_dialogues, read_preferences
from bunbuku_align.template import ChatTokenizer
from bunbuku_contracts import read_sections
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl.experimental.cpo import CPOConfig as BareCpoConfig
from trl.experimental.cpo import CPOTrainer
from trl.trainer.dpo_config import DPOConfig as BareDpoConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_config import KTOConfig as BareKtoConfig
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_config import SFTConfig as BareSftConfig
from trl.trainer.sft_trainer import SFTTrainer

RATES = {"lora": 1e-2, "full": 1e-3}
HERE = AlignRun(device="cpu", threads=1)
STEPS = [3, pytest.param(20, marks=pytest.mark.long)]
KINDS = ["llama", "mixtral", pytest.param("balanced", marks=pytest.mark.long)]
ADAPTERS = [Lora(rank=4), pytest.param(Full(), marks=pytest.mark.long)]
OTHERS = (Ipo(), Kto(), Cdpo(label_smoothing=0.1), Ddpo(label_smoothing=0.1, penalty=0), Simpo())
OBJECTIVES = [Dpo(), *(pytest.param(one, marks=pytest.mark.long) for one in OTHERS)]
named: dict[str, Any] = {"ids": lambda given: getattr(given, "type", given)}
LIMITS: dict[str, Any] = {"max_tokens": 64, "batch_examples": 8, "epochs": 3, "samples": 0, "held_out_share": 0}


@pytest.fixture
def base(request, make, tmp_path: Path):
    """A model; the balancing loss of `mixtral` weighs nothing, that of `balanced` what the checkpoint says."""
    source = make.model("llama" if request.param == "llama" else "mixtral")
    if request.param == "balanced":
        return source
    folder = tmp_path / "base"
    shutil.copytree(source.dir, folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"router_aux_loss_coef": 0.02', '"router_aux_loss_coef": 0.0'))
    return type(source)(folder, source.manifest)


def bare_arguments(config: SftConfig | DpoConfig, steps: int, folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "max_steps": steps, "per_device_train_batch_size": config.batch_examples, "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine", "warmup_steps": config.warmup_steps(steps), "seed": 0, "use_cpu": True,
        "logging_steps": 1, "train_sampling_strategy": "sequential", "max_length": None, "report_to": "none",
        "gradient_checkpointing": False, "bf16": False,
    }  # fmt: skip


def losses(trainer) -> list[float]:
    """What bare TRL says; of a balancing loss that weighs something, only how it is counted is ours (see `balance`)."""
    if trainer.model.config.get_text_config().to_dict().get("router_aux_loss_coef"):
        balance_as_pretrained(bare(trainer.model))
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def ours(made) -> list[float]:
    return next(
        [y for _, y in curve.points] for curve in read_sections(made)[0].curves if curve.name == "training loss"
    )


def check_equal(found: list[float], told: list[float], steps: int, note: Callable[[str, object], None]) -> None:
    """Every step within 1e-5; the largest difference goes into pytest's record (`--junitxml`)."""
    assert len(found) == len(told) == steps
    note("largest difference", max(abs(mine - other) for mine, other in zip(found, told, strict=True)))
    assert found == pytest.approx(told, abs=1e-5, rel=0)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("adapter", ADAPTERS, **named)
@pytest.mark.parametrize("base", KINDS, indirect=True)
def test_fine_tuning_is_that_of_trl(base, adapter, steps, make, numerals, record_property, tmp_path: Path) -> None:
    data = make.dialogues(numerals)
    config = SftConfig(**LIMITS, max_steps=steps, learning_rate=RATES[adapter.type], adapter=adapter)
    chat = ChatTokenizer(base.dir)
    rows = prepare_dialogues(read_dialogues(data), chat.render, chat.encode, max_tokens=64, held_out_share=0).train
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base.dir),
        args=BareSftConfig(**bare_arguments(config, steps, tmp_path / "bare")),
        train_dataset=ordered(rows, config),
        processing_class=chat.tokenizer,
        peft_config=lora_of(config),
    )
    told = losses(trainer)
    check_equal(ours(sft(tmp_path / "sft", config, base, data, run=HERE)), told, steps, record_property)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("objective", OBJECTIVES, **named)
@pytest.mark.parametrize("adapter", ADAPTERS, **named)
@pytest.mark.parametrize("base", KINDS, indirect=True)
def test_preferences_are_those_of_trl_which_tokenises_by_itself(
    base, adapter, objective, steps, make, numerals, record_property, tmp_path: Path
) -> None:
    data = make.preferences({id: (turns[:1], turns[1][1], "ひと") for id, turns in numerals.items()})
    batch = 1 if isinstance(objective, Cdpo) else 8
    limits: dict[str, Any] = LIMITS | {"batch_examples": batch, "max_steps": steps}
    config = DpoConfig(**limits, learning_rate=RATES[adapter.type], adapter=adapter, objective=objective)
    chat = ChatTokenizer(base.dir)
    pairs = prepare_preferences(read_preferences(data), chat.render, chat.encode, max_tokens=64, held_out_share=0).train
    order = training_order([pair.length for pair in pairs], examples=config.examples(len(pairs)), batch=batch, seed=0)
    rows = [
        {
            "prompt": [message._asdict() for message in row.prompt],
            "chosen": [{"role": "assistant", "content": row.chosen}],
            "rejected": [{"role": "assistant", "content": row.rejected}],
        }
        for row in read_preferences(data)
    ]
    arguments: dict[str, Any] = bare_arguments(config, steps, tmp_path / "bare") | {"beta": objective.beta}
    given: dict[str, Any] = {
        "model": AutoModelForCausalLM.from_pretrained(base.dir),
        "processing_class": chat.tokenizer,
        "peft_config": lora_of(config),
    }
    if isinstance(adapter, Full) and not isinstance(objective, Simpo):
        given["ref_model"] = AutoModelForCausalLM.from_pretrained(base.dir)
    if isinstance(objective, Kto):
        arguments["per_device_train_batch_size"] *= 2
        data_of = Dataset.from_list(
            [row for start in range(0, len(order), 8) for row in halves(rows, order[start : start + 8])]
        )
        trainer = KTOTrainer(args=BareKtoConfig(**arguments), train_dataset=data_of, **given)
    elif isinstance(objective, Simpo):
        given["model"].config.output_router_logits = bool(given["model"].config.to_dict().get("router_aux_loss_coef"))
        loss: dict[str, Any] = {"loss_type": "simpo", "simpo_gamma": objective.margin, "cpo_alpha": 0.0}
        data_of = Dataset.from_list(rows).select(order)
        trainer = CPOTrainer(args=BareCpoConfig(**arguments, **loss), train_dataset=data_of, **given)
    else:
        loss = {"loss_type": ["ipo" if isinstance(objective, Ipo) else "aot" if batch == 1 else "sigmoid"]}
        loss |= {"label_smoothing": objective.label_smoothing} if isinstance(objective, Cdpo) else {}
        data_of = Dataset.from_list(rows).select(order)
        trainer = DPOTrainer(args=BareDpoConfig(**arguments, **loss), train_dataset=data_of, **given)
    told = losses(trainer)
    check_equal(ours(dpo(tmp_path / "dpo", config, base, data, run=HERE)), told, steps, record_property)


def halves(rows: list[dict[str, Any]], numbers: list[int]) -> list[dict[str, Any]]:
    """The good answers of a batch of pairs, then the bad ones, as KTO is given them."""
    return [
        {"prompt": rows[number]["prompt"], "completion": rows[number][side], "label": side == "chosen"}
        for side in ("chosen", "rejected")
        for number in numbers
    ]
